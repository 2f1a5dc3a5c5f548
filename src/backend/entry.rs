//! What a backend returns: events with their positions, and marks of the events that are gone.

use std::{collections::HashMap, fmt, time::Duration};

use bytes::Bytes;

use super::append::{NewEvent, cost};
use crate::{
    log::{Retention, Tombstone},
    wire::{
        cursor::{Cursor, Epoch, Offset},
        encode::{Draft, Sealed, is_whole},
        except::Except,
        name::{ClientId, CustomId},
    },
};

/// An event in the log, as it was [appended](NewEvent).
#[derive(Clone)]
#[non_exhaustive]
pub struct Entry {
    /// The event's position in the log.
    pub offset: Offset,
    /// The offset of the previous event in its channel, whether or not that event is still held; [`Offset::START`] if
    /// the store knows of none.
    pub previous: Offset,
    /// The client that the event is for, if it is for one client only.
    pub client: Option<ClientId>,
    /// The application's own id.
    pub id: Option<CustomId>,
    /// The readers that the event is not for, if there are any.
    pub except: Option<Except>,
    /// The event's bytes on the wire, without the id.
    pub bytes: Bytes,
    /// How long the event has been in the log.
    pub age: Duration,
    /// Whether the event is the channel's last.
    pub last: bool,
    /// Whether the event belongs to an earlier epoch. What came right after it may be lost, so a reader can't resume by
    /// its custom id.
    of_before: bool,
}

impl Entry {
    /// Creates an entry for an event that was just appended, and is not the channel's last event.
    pub fn new(event: NewEvent, offset: Offset, previous: Offset) -> Self {
        let NewEvent { client, bytes, id, except, .. } = event;
        Self { client, id, except, ..Self::of_bytes(bytes, offset, previous) }
    }

    /// Creates an entry from these bytes: a broadcast without a custom id, and not the channel's last event.
    pub fn of_bytes(bytes: Bytes, offset: Offset, previous: Offset) -> Self {
        let (age, last, of_before) = (Duration::ZERO, false, false);
        Self { offset, previous, client: None, id: None, except: None, bytes, age, last, of_before }
    }

    /// Sets how long the event has been in the log.
    pub fn aged(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// Returns what the event counts against [`Retention::max_bytes`](crate::Retention::max_bytes).
    pub fn cost(&self, epoch: Epoch) -> usize {
        cost(self.bytes.len(), self.id.as_ref(), Cursor { epoch, offset: self.offset })
    }

    /// Returns whether the bytes are those of an event, and whether another event can follow it. A store can't promise
    /// that for data that another program has put there.
    pub(crate) fn is_whole(&self) -> bool {
        self.offset < Offset::new(u64::MAX) && is_whole(&self.bytes)
    }

    /// Seals the event with its id, as it goes on the wire, and returns its custom id if a reader can resume by it.
    /// This makes the only copy of its bytes.
    pub(crate) fn seal(self, epoch: Epoch) -> (Sealed, Option<CustomId>) {
        let (cursor, of_before) = (Cursor { epoch, offset: self.offset }, self.of_before);
        let (event, id) = Draft::stored(&self.bytes, self.id, self.offset).seal(cursor);
        (event, id.filter(|_| !of_before))
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("offset", &self.offset)
            .field("previous", &self.previous)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// What a channel holds, and what it no longer holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Held {
    /// The epoch of all these offsets.
    pub epoch: Epoch,
    /// The last offset that the hub, on any channel, had assigned when this was read.
    pub level: Offset,
    /// The last offset that the channel has assigned; [`Offset::START`] if the store knows of none.
    pub head: Offset,
    /// The events held after the requested offset, in order.
    pub entries: Vec<Entry>,
    /// What was evicted. If the channel was read after an offset, only the highest of the marks counts: if it is above
    /// that offset, the node reads everything, and the entries may be left out.
    pub marks: Marks,
    /// Whether the channel is finished, and takes no more events.
    pub finished: bool,
    /// The offset after which the channel began, as far as the store knows. Marks up to this offset are about events
    /// from before the channel was last [closed](super::Backend::close), or about a channel that the store has
    /// forgotten and that may never have existed. A store that does not know the offset leaves it at [`Offset::START`].
    /// A reader that wants the [whole](crate::Start::Whole) channel then gets a gap wherever there are marks.
    pub since: Offset,
    /// How often the channel was [closed](super::Backend::close), as far as the store knows. A node that missed a close
    /// notices it by this number.
    pub closed: u64,
    /// Whether more events are held after these, which were left out because [fewer](super::Backend::read_some) were
    /// asked for.
    pub more: bool,
    /// The retention that the store uses for the channel, if it may differ from the node's setting. The node's mirror
    /// of the channel then follows it.
    pub retention: Option<Retention>,
    /// The previous epoch, if its offsets continue in this one. The events held up to this cursor's offset belong to
    /// the previous epoch, and the events that followed them in it may be lost.
    ///
    /// The events of the previous epoch are everything there was of the channel up to some moment. Once another event
    /// follows them in this epoch, they count as evicted, with everything up to this offset. `None` in a store in which
    /// nothing outlives an epoch.
    pub before: Option<Cursor>,
}

impl Held {
    /// Keeps no more than the oldest `limit` events.
    pub(super) fn cut(&mut self, limit: usize) {
        self.more |= self.entries.len() > limit;
        self.entries.truncate(limit);
    }

    /// Creates the answer for a channel about which nothing is known.
    pub fn new(epoch: Epoch, level: Offset) -> Self {
        let (entries, marks) = (Vec::new(), Marks::default());
        Self {
            epoch,
            level,
            head: Offset::START,
            entries,
            marks,
            finished: false,
            since: Offset::START,
            more: false,
            closed: 0,
            retention: None,
            before: None,
        }
    }

    /// Removes every entry that is not an event or is out of order, and all entries before it. They count as evicted,
    /// because readers expect the events that are held to follow those that are not.
    pub(crate) fn without_damage(mut self) -> Self {
        let (mut last, mut damaged) = (Offset::START, None);
        for entry in &mut self.entries {
            entry.of_before = self.before.is_some_and(|before| entry.offset <= before.offset);
            let in_order = entry.offset > last;
            last = last.max(entry.offset);
            if !in_order || !entry.is_whole() {
                damaged = Some(last);
            }
        }
        if let Some(offset) = damaged {
            self.lose(offset);
        }
        self
    }

    /// Marks everything up to `offset` as no longer held, for all readers.
    pub(super) fn lose(&mut self, offset: Offset) {
        self.entries.retain(|entry| entry.offset > offset);
        self.head = self.head.max(offset);
        let Marks { broadcast, clients, others } = &mut self.marks;
        clients.values_mut().chain([broadcast, others]).for_each(|mark| *mark = offset.max(*mark));
    }
}

/// The highest offsets of a channel that are no longer held. A reader that resumes from a lower cursor has missed
/// something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marks {
    /// The mark of the broadcasts.
    pub broadcast: Offset,
    /// The mark of the events for each client.
    pub clients: HashMap<ClientId, Offset>,
    /// The mark of the events for all clients that are not listed, because there are too many or their events were too
    /// long ago.
    pub others: Offset,
}

impl Marks {
    /// Creates marks which say that nothing up to `offset` is held for anybody.
    pub fn of_everybody(offset: Offset) -> Self {
        Self { broadcast: offset, clients: HashMap::new(), others: offset }
    }

    /// Marks an event for `client`, or a broadcast if `None`, as evicted.
    pub fn evict(&mut self, client: Option<&ClientId>, offset: Offset) {
        match client {
            None => self.broadcast = self.broadcast.max(offset),
            Some(client) => {
                let mark = self.clients.entry(client.clone()).or_default();
                *mark = offset.max(*mark);
            }
        }
    }

    /// Returns the highest of all marks.
    pub(crate) fn highest(&self) -> Offset {
        self.clients.values().copied().fold(self.broadcast.max(self.others), Offset::max)
    }

    /// Returns what is remembered of a log that began after `since`.
    pub(crate) fn into_tombstone(self, finished: bool, since: Offset) -> Tombstone {
        let marks = crate::log::Marks::of(self.clients, self.others);
        Tombstone { broadcast: self.broadcast, marks: marks.into_box(), finished, since, ..Tombstone::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(entries: &[(u64, &'static str)]) -> Held {
        let mut held = Held::new(Epoch::from_bits(1), Offset::new(9));
        let entry = |(at, bytes): &(u64, &'static str)| {
            Entry::of_bytes(Bytes::from_static(bytes.as_bytes()), Offset::new(*at), Offset::START)
        };
        held.entries = entries.iter().map(entry).collect();
        held.marks.clients.insert(ClientId::from_static("ana"), Offset::new(8));
        held.marks.broadcast = Offset::new(1);
        held.without_damage()
    }

    fn offsets(held: &Held) -> Vec<u64> {
        held.entries.iter().map(|entry| entry.offset.get()).collect()
    }

    #[test]
    fn a_damaged_event_is_lost_with_all_before_it() {
        let whole = held(&[(3, "data: x\n"), (5, "data: x\n")]);
        assert_eq!(
            (offsets(&whole), whole.marks.broadcast, whole.marks.others),
            (vec![3, 5], Offset::new(1), Offset::START)
        );
        let damaged = held(&[(3, "data: x\n"), (5, "data: x"), (6, "data: x\n")]);
        assert_eq!((offsets(&damaged), damaged.head), (vec![6], Offset::new(5)));
        let Marks { broadcast, clients, others } = damaged.marks;
        assert_eq!((broadcast, others, clients["ana"]), (Offset::new(5), Offset::new(5), Offset::new(8)));
        assert!(held(&[(3, "data: x\n"), (5, "")]).entries.is_empty());
    }

    #[test]
    fn an_event_out_of_order_is_lost_with_all_before_it() {
        let event = "data: x\n";
        assert_eq!(offsets(&held(&[(7, event), (3, event), (5, event), (8, event), (9, event)])), [8, 9]);
        assert_eq!(offsets(&held(&[(3, event), (3, event), (4, event)])), [4]);
        assert_eq!(offsets(&held(&[(0, event), (1, event)])), [1], "offset 0 comes before every event");
        assert!(held(&[(1, event), (u64::MAX, event), (2, event)]).entries.is_empty());
        assert!(held(&[(1, event), (u64::MAX, event)]).entries.is_empty(), "no event can follow the highest offset");
    }
}
