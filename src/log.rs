//! One channel's log: a bounded run of encoded events in lanes, and what is remembered of those it forgot.
//!
//! History, replay, live delivery and lag are the same question to it: what is after this cursor? It has no clock, no
//! lock and no reader's state; whoever owns it gives it the time and the offsets.
//!
//! A channel has a broadcast lane and a lane for each client that has targeted events or a reader. Events are evicted in
//! the order they came in, whatever their lane, so that what is held always lies after what was evicted. Each lane
//! remembers the highest offset it evicted: a reader of it whose cursor lies below has a gap, and no other reader has.

mod batch;
mod clients;
mod lane;
mod read;
mod retention;
mod run;
mod runs;

use std::time::Instant;

pub(crate) use self::clients::Marks;
pub(crate) use self::{
    batch::{Batch, Limit},
    read::View,
};
use self::{clients::Clients, lane::Lane, retention::EVENT_OVERHEAD};
use crate::wire::{
    cursor::Offset,
    encode::EncodedEvent,
    name::{ClientId, CustomId},
};

pub use self::retention::Retention;

/// A lane's place in its log. It stays the same as long as the lane has a reader or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LaneId(u32);

impl LaneId {
    /// Small: at most the number of clients that there were at once.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The lane that everybody reads.
pub(crate) const BROADCAST: LaneId = LaneId(0);

/// The channel has as many lanes as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyLanes;

/// What eviction gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Evicted {
    pub(crate) events: u64,
    /// Of memory, by the [`cost`] of the events that it was for: those of now, or others that went before them.
    pub(crate) bytes: usize,
}

pub(crate) struct Log {
    retention: Retention,
    /// Ages are counted from here.
    began: Instant,
    broadcast: Lane,
    /// None as long as there is nothing to say of any client.
    clients: Option<Box<Clients>>,
    /// How many events are held.
    events: usize,
    /// What they cost.
    bytes: usize,
    /// None of them is older: in the log's milliseconds.
    oldest_at: u64,
    /// No event will follow.
    finished: bool,
}

/// What remains of a log that was dropped: enough to know later whether a reader has missed something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) broadcast: Offset,
    pub(crate) marks: Marks,
    pub(crate) finished: bool,
}

impl Tombstone {
    /// Remembers no more than that nothing up to `offset` is held for anybody.
    pub(crate) fn of_watermark(offset: Offset) -> Self {
        // What is gone of the broadcasts is gone for everybody.
        Self { broadcast: offset, ..Self::default() }
    }

    /// How many numbers it holds.
    pub(crate) fn len(&self) -> usize {
        1 + self.marks.len()
    }

    /// The highest offset that it says is gone.
    pub(crate) fn highest(&self) -> Offset {
        self.marks.highest().max(self.broadcast)
    }
}

impl Log {
    pub(crate) fn new(retention: Retention, before: Tombstone, now: Instant) -> Self {
        let Tombstone { broadcast, marks, finished } = before;
        let clients = (marks != Marks::default()).then(|| Box::new(Clients::new(0, marks)));
        Self {
            retention,
            began: now,
            broadcast: Lane::new(broadcast),
            clients,
            events: 0,
            bytes: 0,
            oldest_at: 0,
            finished,
        }
    }

    /// Holds this much from now on. An empty log may have its time begin anew.
    pub(crate) fn retain(&mut self, retention: Retention, began: Option<Instant>) {
        self.retention = retention;
        self.began = began.filter(|_| self.is_empty()).unwrap_or(self.began);
    }

    /// Takes an event in. Its offset is above every one that the log has seen.
    pub(crate) fn append(
        &mut self,
        lane: LaneId,
        event: &EncodedEvent,
        custom: Option<CustomId>,
        now: Instant,
    ) -> Evicted {
        self.events += 1;
        self.bytes += cost(event);
        if let Some(clients) = &mut self.clients {
            clients.order.push_back(lane);
        }
        let at = self.millis(now);
        self.oldest_at = self.oldest_at.min(at);
        self.lane_mut(lane).push(event, custom, at);
        self.enforce(now)
    }

    /// Keeps the event that came last as it was published, until the next one comes: for readers that wait for it.
    pub(crate) fn keep(&mut self, lane: LaneId, event: EncodedEvent) {
        self.lane_mut(lane).keep(event);
    }

    /// Evicts what the retention no longer allows.
    pub(crate) fn enforce(&mut self, now: Instant) -> Evicted {
        let Retention { events, bytes, age_millis: age } = self.retention;
        let now = self.millis(now);
        let mut evicted = Evicted::default();
        while now.saturating_sub(self.oldest_at) > age {
            // It was that of an event that is gone, perhaps.
            self.oldest_at = self.oldest_lane().oldest_at().unwrap_or(now);
            if now.saturating_sub(self.oldest_at) > age {
                evicted.add(self.evict());
            }
        }
        while self.events > 1 && (self.events > events || self.bytes > bytes) {
            evicted.add(self.evict());
        }
        evicted
    }

    /// Forgets the oldest event.
    pub(crate) fn evict(&mut self) -> Evicted {
        let oldest = match &mut self.clients {
            Some(clients) => clients.order.pop_front().unwrap_or(BROADCAST),
            None => BROADCAST,
        };
        let Some(gone) = self.lane_mut(oldest).evict() else { return Evicted::default() };
        self.events -= 1;
        self.bytes -= gone.cost;
        self.drop_if_idle(oldest);
        Evicted { events: 1, bytes: gone.released }
    }

    /// Gives back the memory of evicted events that has not been yet, because others lie behind it. It is no more than
    /// that of the events of the same run, of a chunk at most.
    pub(crate) fn compact(&mut self) -> Evicted {
        let of_clients = self.clients.as_mut().map_or(0, |clients| clients.compact());
        Evicted { events: 0, bytes: self.broadcast.compact() + of_clients }
    }

    /// Takes no more events.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// What the held events cost.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The offset of the oldest event that is held.
    pub(crate) fn oldest(&self) -> Option<Offset> {
        self.oldest_lane().first_after(Offset::START)
    }

    /// The lane of the oldest event that is held, if any is.
    fn oldest_lane(&self) -> &Lane {
        let oldest = self.clients.as_ref().and_then(|clients| clients.order.front());
        self.lane(oldest.copied().unwrap_or(BROADCAST))
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// The highest offset in `view` that is no longer held.
    pub(crate) fn missed(&self, view: View) -> Offset {
        let own = view.client.map_or(Offset::START, |lane| self.lane(lane).evicted());
        self.broadcast.evicted().max(own)
    }

    /// The offsets of the held events in `view` with this custom id: at most one for each of its lanes.
    pub(crate) fn find(&self, view: View, id: &CustomId) -> impl Iterator<Item = Offset> {
        let own = view.client.and_then(|lane| self.lane(lane).find(id));
        self.broadcast.find(id).into_iter().chain(own)
    }

    pub(crate) fn holds(&self, lane: LaneId, id: &CustomId) -> bool {
        self.lane(lane).find(id).is_some()
    }

    /// The lane of a client, if it has one.
    pub(crate) fn lane_of(&self, client: &ClientId) -> Option<LaneId> {
        self.clients.as_ref()?.lane_of(client)
    }

    /// Whose lane it is.
    pub(crate) fn client_of(&self, lane: LaneId) -> Option<&ClientId> {
        self.clients.as_ref()?.lane(lane).client.as_ref()
    }

    /// The lane of a client, made if need be.
    ///
    /// One that gets neither an event nor a reader afterwards has to be given back with [`Log::drop_if_idle`].
    pub(crate) fn lane_for(&mut self, client: &ClientId, max: usize) -> Result<LaneId, TooManyLanes> {
        // Without clients they are all broadcasts.
        let broadcasts = self.events;
        let clients = self.clients.get_or_insert_with(|| Box::new(Clients::new(broadcasts, Marks::default())));
        clients.lane_for(client, max)
    }

    /// A reader of this lane has come.
    pub(crate) fn enter(&mut self, lane: LaneId) {
        if let Some(clients) = &mut self.clients {
            clients.lane_mut(lane).readers += 1;
        }
    }

    /// A reader of this lane is gone.
    pub(crate) fn leave(&mut self, lane: LaneId) {
        if let Some(clients) = &mut self.clients {
            clients.lane_mut(lane).readers -= 1;
        }
        self.drop_if_idle(lane);
    }

    /// Drops a client's lane that has neither event nor reader, and keeps the mark of what it evicted.
    pub(crate) fn drop_if_idle(&mut self, lane: LaneId) {
        if lane == BROADCAST {
            return;
        }
        if let Some(clients) = &mut self.clients {
            clients.drop_if_idle(lane);
            if clients.is_void() {
                self.clients = None;
            }
        }
    }

    /// Forgets everything, and says what was forgotten. The log is of no use any more.
    pub(crate) fn bury(&mut self) -> (Tombstone, Evicted) {
        let mut evicted = Evicted::default();
        while !self.is_empty() {
            evicted.add(self.evict());
        }
        let marks = self.clients.as_mut().map_or_else(Marks::default, |clients| clients.take_marks());
        (Tombstone { broadcast: self.broadcast.evicted(), marks, finished: self.finished }, evicted)
    }

    /// Empty again, with what is known of `before`; lanes that have readers keep their places.
    pub(crate) fn restart(&mut self, before: Tombstone) -> Evicted {
        let mut evicted = Evicted::default();
        while !self.is_empty() {
            evicted.add(self.evict());
        }
        evicted.add(self.compact());
        let Tombstone { broadcast, marks, finished } = before;
        self.broadcast = Lane::new(broadcast);
        if self.clients.is_some() || marks != Marks::default() {
            self.clients.get_or_insert_with(|| Box::new(Clients::new(0, Marks::default()))).restart(marks);
        }
        // What comes may be older than what was there.
        (self.finished, self.oldest_at) = (finished, 0);
        evicted
    }

    fn lane(&self, id: LaneId) -> &Lane {
        match &self.clients {
            Some(clients) if id != BROADCAST => &clients.lane(id).lane,
            _ => &self.broadcast,
        }
    }

    fn lane_mut(&mut self, id: LaneId) -> &mut Lane {
        match &mut self.clients {
            Some(clients) if id != BROADCAST => &mut clients.lane_mut(id).lane,
            _ => &mut self.broadcast,
        }
    }
}

impl Evicted {
    pub(crate) fn add(&mut self, more: Evicted) {
        self.events += more.events;
        self.bytes += more.bytes;
    }
}

/// What an event counts against limits in bytes.
pub(crate) fn cost(event: &EncodedEvent) -> usize {
    event.as_bytes().len() + EVENT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{
        cursor::{Cursor, Epoch},
        encode::Draft,
        event::Event,
    };

    const EVERYBODY: View = View { client: None };

    fn append(log: &mut Log, lane: LaneId, offset: u64, now: Instant) -> Evicted {
        let cursor = Cursor { epoch: Epoch::from_bits(1), offset: Offset::new(offset) };
        let (event, custom) = Draft::new(Event::text("x"), cursor.offset).seal(cursor);
        log.append(lane, &event, custom, now)
    }

    fn client(n: usize) -> ClientId {
        ClientId::try_from(format!("client{n}")).unwrap()
    }

    fn view(log: &mut Log, n: usize) -> View {
        View { client: log.lane_for(&client(n), usize::MAX).ok() }
    }

    #[test]
    fn events_are_evicted_in_order_whatever_their_lane() {
        let (mut log, now) =
            (Log::new(Retention::new().events(3), Tombstone::default(), Instant::now()), Instant::now());
        for offset in 1..=6 {
            let lane = if offset % 2 == 0 { log.lane_for(&client(0), 9).unwrap() } else { BROADCAST };
            let evicted = append(&mut log, lane, offset, now);
            assert_eq!(evicted.events, u64::from(offset > 3));
            assert_eq!(log.oldest(), Some(Offset::new(offset.saturating_sub(2).max(1))));
        }
        let zero = view(&mut log, 0);
        assert_eq!((log.missed(zero), log.missed(EVERYBODY)), (Offset::new(3), Offset::new(3)));
        assert_eq!(log.bytes, 3 * cost(&log.newest(EVERYBODY, 1)[0]));
    }

    #[test]
    fn events_expire_when_they_are_older_than_the_age() {
        let (mut log, now) = (
            Log::new(Retention::new().age(Duration::from_secs(5)), Tombstone::default(), Instant::now()),
            Instant::now(),
        );
        append(&mut log, BROADCAST, 1, now);
        append(&mut log, BROADCAST, 2, now + Duration::from_secs(2));
        assert_eq!(log.enforce(now + Duration::from_secs(5)).events, 0);
        assert_eq!(log.enforce(now + Duration::from_secs(6)).events, 1);
        assert_eq!(log.enforce(now).events, 0, "a clock that goes back evicts nothing");
        assert_eq!(log.enforce(now + Duration::from_secs(8)).events, 1);
        assert!(log.is_empty() && log.bytes == 0);
    }

    #[test]
    fn a_log_holds_as_much_as_it_may() {
        let (mut log, now) = (Log::new(Retention::new(), Tombstone::default(), Instant::now()), Instant::now());
        append(&mut log, BROADCAST, 1, now);
        log.retention = Retention::new().bytes(3 * log.bytes());
        assert_eq!([2, 3, 4].map(|offset| append(&mut log, BROADCAST, offset, now).events), [0, 0, 1]);
    }

    #[test]
    fn a_lane_that_is_gone_leaves_a_mark_for_its_client_only() {
        let (mut log, now) =
            (Log::new(Retention::new().events(1), Tombstone::default(), Instant::now()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        append(&mut log, lane, 1, now);
        append(&mut log, BROADCAST, 2, now);
        assert_eq!(log.lane_of(&client(0)), None);
        let (zero, one) = (view(&mut log, 0), view(&mut log, 1));
        assert_eq!((log.missed(zero), log.missed(one)), (Offset::new(1), Offset::START));
        for lane in [zero, one].map(|view| view.client.unwrap()) {
            log.drop_if_idle(lane);
        }
        assert_eq!(log.clients.map(|clients| clients.marks.len()), Some(1));
    }

    #[test]
    fn a_lane_with_a_reader_keeps_its_place() {
        let (mut log, now) =
            (Log::new(Retention::new().events(1), Tombstone::default(), Instant::now()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        log.enter(lane);
        append(&mut log, lane, 1, now);
        append(&mut log, BROADCAST, 2, now);
        assert_eq!((log.lane_of(&client(0)), log.client_of(lane)), (Some(lane), Some(&client(0))));
        assert_eq!(log.lane_for(&client(1), 1), Err(TooManyLanes));
        log.leave(lane);
        assert_eq!(log.lane_of(&client(0)), None);
        assert!(log.lane_for(&client(1), 1).is_ok());
    }

    #[test]
    fn a_client_that_got_nothing_leaves_nothing() {
        let mut log = Log::new(Retention::new(), Tombstone::default(), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        log.enter(lane);
        assert!(log.clients.is_some());
        log.leave(lane);
        assert!(log.clients.is_none());
    }

    #[test]
    fn a_log_that_begins_anew_knows_what_it_is_told_and_keeps_the_places_of_its_readers() {
        let (mut log, now) = (Log::new(Retention::new(), Tombstone::default(), Instant::now()), Instant::now());
        let of = |n: u64| (0..n).map(|n| (client(n as usize), Offset::new(10 + n))).collect();
        let told = |n, others| Tombstone {
            broadcast: Offset::new(5),
            marks: Marks::of(of(n), Offset::new(others)),
            finished: false,
        };
        append(&mut log, BROADCAST, 1, now);
        let bytes = log.bytes();
        assert_eq!(log.restart(told(0, 0)), Evicted { events: 1, bytes });
        assert!(log.is_empty() && log.clients.is_none());
        log.restart(told(3, 7));
        let views: Vec<_> = (0..4).map(|n| view(&mut log, n)).collect();
        let missed = |log: &Log| views.iter().map(|view| log.missed(*view).get()).collect::<Vec<_>>();
        assert_eq!(missed(&log), [10, 11, 12, 7]);
        views.iter().for_each(|view| log.enter(view.client.unwrap()));
        append(&mut log, views[1].client.unwrap(), 20, now);
        assert_eq!(log.restart(told(2, 0)).events, 1);
        assert_eq!((missed(&log), log.missed(EVERYBODY)), (vec![10, 11, 5, 5], Offset::new(5)));
        append(&mut log, views[1].client.unwrap(), 21, now);
        assert_eq!(log.oldest(), Some(Offset::new(21)));
    }

    #[test]
    fn what_is_buried_is_known_again() {
        let (mut log, now) = (Log::new(Retention::new(), Tombstone::default(), Instant::now()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        append(&mut log, BROADCAST, 1, now);
        append(&mut log, lane, 2, now);
        log.finish();
        let (tombstone, evicted) = log.bury();
        assert_eq!((evicted.events, log.bytes), (2, 0));
        assert_eq!((tombstone.highest(), tombstone.len(), tombstone.finished), (Offset::new(2), 2, true));
        let mut again = Log::new(Retention::new(), tombstone, now);
        let (zero, one) = (view(&mut again, 0), view(&mut again, 1));
        assert_eq!((again.missed(zero), again.missed(one)), (Offset::new(2), Offset::new(1)));
        assert!(again.is_finished());
    }

    #[test]
    fn a_watermark_stands_for_everybody() {
        let mut log = Log::new(Retention::new(), Tombstone::of_watermark(Offset::new(7)), Instant::now());
        assert!(log.clients.is_none(), "and costs a new channel nothing");
        let zero = view(&mut log, 0);
        assert_eq!((log.missed(EVERYBODY), log.missed(zero)), (Offset::new(7), Offset::new(7)));
    }
}
