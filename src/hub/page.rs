//! Reading what a channel holds, without a subscription.

use super::engine::{Hub, now};
use crate::{
    log::{self, Known, Log, View},
    wire::{
        cursor::{Cursor, EventId, Id, Offset},
        encode::Sealed,
        encoded::EncodedEvent,
        name::{ChannelName, ClientId},
        notice::{Gap, GapReason},
    },
};

/// What a channel holds after some event, from [`Channel::read`](crate::Channel::read).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The events, oldest first.
    pub events: Vec<EncodedEvent>,
    /// The cursor from which to read the next page or to open a subscription. Nothing that was for the reader up to
    /// here is missing, except what the gap reports.
    pub next: Cursor,
    /// Whether nothing else was held when the page was read.
    pub caught_up: bool,
    /// Whether the channel is finished. If the page is caught up too, nothing more will come.
    pub finished: bool,
    /// Whether events before the first one may be missing. Without a gap, none are.
    pub gap: Option<Gap>,
}

impl Page {
    /// Returns the page of a channel that does not exist.
    pub(crate) fn empty(next: Cursor) -> Self {
        Self { events: Vec::new(), next, caught_up: true, finished: false, gap: None }
    }
}

/// A page that is being read.
pub(crate) struct Reading {
    /// Everything up to here has been read, or is gone and was reported.
    at: Offset,
    /// What was missing when the read began. It is reported, or never belonged to the channel.
    told: Offset,
    gap: Option<GapReason>,
    /// The first event held after the gap.
    first: Option<Offset>,
    events: Vec<Sealed>,
    caught_up: bool,
    finished: bool,
}

impl Reading {
    /// Begins after the id, or with the first event of all. `last` is the hub's last cursor, and everything held up to
    /// `upto` is in the log. `translate` returns the place of a cursor of the previous epoch.
    pub(crate) fn begin(
        log: &Log,
        view: View<'_>,
        after: Option<&EventId>,
        last: Cursor,
        upto: Offset,
        translate: impl FnOnce(Cursor) -> Option<Offset>,
    ) -> Self {
        let known = Known { missed: log.missed_by_newcomers(view), since: log.since(), finished: log.is_finished() };
        let found: Vec<_> = match after.map(EventId::kind) {
            Some(Id::Custom(id)) => log.find(view, id).collect(),
            _ => Vec::new(),
        };
        let mut reading = Self::at(known, after, last, &found, translate);
        // Events held up to there are only for connected readers.
        reading.at = reading.at.max(log.before_history());
        reading.first = log.first_after(view, reading.at);
        // What is missing is told now, or never belonged to the channel. A page that follows must not tell it again, even
        // if this one has no events.
        reading.skip_to(reading.told.min(reading.first.map_or(upto, Offset::before)));
        reading
    }

    /// Like [`begin`](Self::begin), for a log of which only `known` is known. `found` has the events with the custom
    /// id, if `after` is one.
    fn at(
        known: Known,
        after: Option<&EventId>,
        last: Cursor,
        found: &[Offset],
        translate: impl FnOnce(Cursor) -> Option<Offset>,
    ) -> Self {
        let missed_after = |offset| (known.missed > offset).then_some(GapReason::Evicted);
        let (at, gap) = match after.map(EventId::kind) {
            None => (Offset::START, missed_after(known.since)),
            Some(Id::Cursor(cursor) | Id::Goodbye(cursor)) if cursor.epoch != last.epoch => {
                (translate(*cursor).unwrap_or_default(), Some(GapReason::OtherEpoch))
            }
            Some(Id::Cursor(cursor) | Id::Goodbye(cursor)) if cursor.offset <= last.offset => {
                (cursor.offset, missed_after(cursor.offset))
            }
            Some(Id::Custom(_)) if found.len() == 1 => (found[0], missed_after(found[0])),
            Some(_) => (Offset::START, Some(GapReason::UnknownId)),
        };
        let Known { missed: told, finished, .. } = known;
        Self { at, told, gap, first: None, events: Vec::new(), caught_up: true, finished }
    }

    /// Reads on, up to `limit` events in total and up to `most` events now. Returns whether there may be more to take.
    pub(crate) fn take(&mut self, log: &Log, view: View<'_>, limit: usize, most: usize) -> bool {
        let more = (limit - self.events.len()).min(most);
        let (events, upto) = log.oldest_after(view, self.at, more);
        self.events.extend(events);
        self.at = upto;
        (self.caught_up, self.finished) = (log.first_after(view, upto).is_none(), log.is_finished());
        !self.caught_up && self.events.len() < limit
    }

    /// Goes on after `offset`: nothing that is still to be read is held up to there.
    pub(crate) fn skip_to(&mut self, offset: Offset) {
        self.at = self.at.max(offset);
    }

    /// Returns whether the page tells of a change of epoch.
    pub(crate) fn tells_of_an_epoch(&self) -> bool {
        self.gap == Some(GapReason::OtherEpoch)
    }

    /// Returns whether an event that was not read yet is gone.
    pub(crate) fn has_lagged(&self, log: &Log, view: View<'_>) -> bool {
        log.missed(view) > self.at.max(self.told)
    }

    /// Returns how many events were read.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns the page. Everything published up to `last` was in the log at the last read. `more` says whether more
    /// is held after it.
    pub(crate) fn into_page(self, name: &ChannelName, after: Option<&EventId>, last: Cursor, more: bool) -> Page {
        let Self { at, gap, first, events, caught_up, finished, .. } = self;
        let caught_up = caught_up && !more;
        let cursor = |offset| Cursor { epoch: last.epoch, offset };
        let next = cursor(if caught_up { at.max(last.offset) } else { at });
        let requested = after.map(|id| id.to_string());
        // Right before the first event that is left, as in a subscription.
        let begin = cursor(first.map_or(next.offset, Offset::before));
        Page {
            events: events.into_iter().map(|sealed| EncodedEvent::new(name.clone(), last.epoch, sealed)).collect(),
            next,
            caught_up,
            finished,
            gap: gap.map(|reason| Gap::new(reason, requested.as_deref().map(str::as_bytes), first, begin)),
        }
    }
}

impl Hub {
    /// Reads up to `limit` events of a channel whose log is here, for a client, or for everybody if `client` is
    /// `None`.
    pub(crate) fn read(
        &self,
        name: &ChannelName,
        client: Option<&ClientId>,
        after: Option<&EventId>,
        limit: usize,
    ) -> Page {
        let (mut reading, mut last) = (None, self.cursor(self.memory.last()));
        // Read a slice under each lock.
        loop {
            let more = self.with_existing(name, |state| {
                let now = now();
                let view = state.log.view_for(client);
                state.log.expire(view, now);
                let at = self.cursor(self.memory.last());
                let begin = || Reading::begin(&state.log, view, after, at, at.offset, |_| None);
                let reading: &mut Reading = reading.get_or_insert_with(begin);
                if reading.has_lagged(&state.log, view) {
                    // The next page continues with a gap.
                    return false;
                }
                last = at;
                let more = reading.take(&state.log, view, limit, log::SLICE);
                self.counters.evicted.add(state.log.enforce(now, log::SLICE));
                more
            });
            match (more, reading.take()) {
                (Some(true), begun) => reading = begun,
                // The channel was dropped after some of it had been read, or there is no more to read.
                (_, Some(reading)) => return reading.into_page(name, after, last, false),
                (_, None) => {
                    last = self.cursor(self.memory.last());
                    let peek = || {
                        let known = self.memory.peek(name, client).known();
                        reading = Some(Reading::at(known, after, last, &[], |_| None));
                    };
                    self.registry.if_absent(name, peek);
                    if let Some(reading) = reading.take() {
                        return reading.into_page(name, after, last, false);
                    }
                }
            }
        }
    }
}
