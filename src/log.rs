//! One channel's log: a bounded run of encoded events in lanes, and what is remembered of those it forgot.
//!
//! History, replay, live delivery and lag are the same question to it: what is after this cursor? It has no clock, no
//! lock and no reader's state; whoever owns it gives it the time and the offsets.
//!
//! A channel has a broadcast lane and a lane for each client that has targeted events or a reader. Events are evicted in
//! the order they came in, whatever their lane, so that what is held always lies after what was evicted. Each lane
//! remembers the highest offset it evicted: a reader of it whose cursor lies below has a gap, and no other reader has.

mod lane;
mod read;
mod retention;

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

pub(crate) use self::read::{Batch, Limit, View};
use self::{lane::Lane, read::Chunks, retention::EVENT_OVERHEAD};
use crate::{
    cursor::Offset,
    encode::EncodedEvent,
    name::{ClientId, CustomId},
};

pub use self::retention::Retention;

/// A lane's place in its log. It stays the same as long as the lane has a reader or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LaneId(u32);

/// The lane that everybody reads.
pub(crate) const BROADCAST: LaneId = LaneId(0);

/// The channel has as many lanes as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyLanes;

/// What eviction gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Evicted {
    pub(crate) events: u64,
    pub(crate) bytes: usize,
}

pub(crate) struct Log {
    retention: Retention,
    /// By `LaneId`; the first is the broadcast lane. A freed place is empty until it is used again.
    lanes: Vec<Lane>,
    free: Vec<LaneId>,
    by_client: HashMap<ClientId, LaneId>,
    /// The lane of every held event, oldest first.
    order: VecDeque<LaneId>,
    /// What the held events cost.
    bytes: usize,
    /// The evicted offsets of lanes that are gone.
    marks: Marks,
    /// No event will follow.
    finished: bool,
    chunks: Chunks,
}

/// The highest evicted offsets of lanes that no longer exist, bounded: when there are too many, they become one number
/// that stands for every client without a mark of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    by_client: HashMap<ClientId, Offset>,
    others: Offset,
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
        Self { broadcast: offset, marks: Marks { others: offset, ..Marks::default() }, finished: false }
    }

    /// How many numbers it holds.
    pub(crate) fn len(&self) -> usize {
        1 + self.marks.by_client.len()
    }

    /// The highest offset that it says is gone.
    pub(crate) fn highest(&self) -> Offset {
        self.marks.by_client.values().copied().fold(self.broadcast.max(self.marks.others), Offset::max)
    }
}

impl Log {
    pub(crate) fn new(retention: Retention, before: Tombstone) -> Self {
        Self {
            retention,
            lanes: vec![Lane::new(None, before.broadcast)],
            free: Vec::new(),
            by_client: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            marks: before.marks,
            finished: before.finished,
            chunks: Chunks::default(),
        }
    }

    /// Takes an event in. Its offset is above every one that the log has seen.
    pub(crate) fn append(&mut self, lane: LaneId, event: EncodedEvent, now: Instant) -> Evicted {
        self.bytes += cost(&event);
        self.order.push_back(lane);
        self.lane_mut(lane).push(event, now);
        self.enforce(now)
    }

    /// Evicts what the retention no longer allows.
    pub(crate) fn enforce(&mut self, now: Instant) -> Evicted {
        let Retention { events, bytes, age } = self.retention;
        let mut evicted = self.expire(now, age);
        while self.order.len() > 1 && (self.order.len() > events || self.bytes > bytes) {
            evicted.add(self.evict());
        }
        evicted
    }

    fn expire(&mut self, now: Instant, age: std::time::Duration) -> Evicted {
        let mut evicted = Evicted::default();
        while self.oldest_at().is_some_and(|at| now.saturating_duration_since(at) > age) {
            evicted.add(self.evict());
        }
        evicted
    }

    /// Forgets the oldest event.
    pub(crate) fn evict(&mut self) -> Evicted {
        let Some(lane) = self.order.pop_front() else { return Evicted::default() };
        let Some(event) = self.lane_mut(lane).evict() else { return Evicted::default() };
        let bytes = cost(&event);
        self.bytes -= bytes;
        self.drop_if_idle(lane);
        if self.order.is_empty() {
            self.order = VecDeque::new();
        }
        Evicted { events: 1, bytes }
    }

    /// Takes no more events.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The offset of the oldest event that is held.
    pub(crate) fn oldest(&self) -> Option<Offset> {
        let lane = self.order.front()?;
        self.lane(*lane).after(Offset::START).next().map(EncodedEvent::offset)
    }

    fn oldest_at(&self) -> Option<Instant> {
        self.lane(*self.order.front()?).oldest_at()
    }

    /// The highest offset in `view` that is no longer held.
    pub(crate) fn missed(&self, view: View) -> Offset {
        let own = view.client.map_or(Offset::START, |lane| self.lane(lane).evicted());
        self.lane(BROADCAST).evicted().max(own)
    }

    /// The offsets of the held events in `view` with this custom id: at most one for each of its lanes.
    pub(crate) fn find(&self, view: View, id: &CustomId) -> impl Iterator<Item = Offset> {
        let own = view.client.and_then(|lane| self.lane(lane).find(id));
        self.lane(BROADCAST).find(id).into_iter().chain(own)
    }

    pub(crate) fn holds(&self, lane: LaneId, id: &CustomId) -> bool {
        self.lane(lane).find(id).is_some()
    }

    /// The lane of a client, if it has one.
    pub(crate) fn lane_of(&self, client: &ClientId) -> Option<LaneId> {
        self.by_client.get(client).copied()
    }

    /// Whose lane it is.
    pub(crate) fn client_of(&self, lane: LaneId) -> Option<&ClientId> {
        self.lane(lane).client.as_ref()
    }

    /// The lane of a client, made if need be.
    ///
    /// One that gets neither an event nor a reader afterwards has to be given back with [`Log::drop_if_idle`].
    pub(crate) fn lane_for(&mut self, client: &ClientId, max: usize) -> Result<LaneId, TooManyLanes> {
        if let Some(lane) = self.lane_of(client) {
            return Ok(lane);
        }
        if self.by_client.len() >= max {
            return Err(TooManyLanes);
        }
        let lane = Lane::new(Some(client.clone()), self.marks.take(client));
        let id = match self.free.pop() {
            Some(id) => {
                *self.lane_mut(id) = lane;
                id
            }
            None => {
                let id = u32::try_from(self.lanes.len()).map_err(|_| TooManyLanes)?;
                self.lanes.push(lane);
                LaneId(id)
            }
        };
        self.by_client.insert(client.clone(), id);
        Ok(id)
    }

    /// A reader of this lane has come.
    pub(crate) fn enter(&mut self, lane: LaneId) {
        self.lane_mut(lane).readers += 1;
    }

    /// A reader of this lane is gone.
    pub(crate) fn leave(&mut self, lane: LaneId) {
        self.lane_mut(lane).readers -= 1;
        self.drop_if_idle(lane);
    }

    /// Drops a client's lane that has neither event nor reader, and keeps the mark of what it evicted.
    pub(crate) fn drop_if_idle(&mut self, lane: LaneId) {
        if lane == BROADCAST || self.lane(lane).readers > 0 || !self.lane(lane).is_empty() {
            return;
        }
        let Some(client) = self.lane_mut(lane).client.take() else { return };
        self.by_client.remove(&client);
        self.marks.put(client, self.lane(lane).evicted());
        self.free.push(lane);
        if self.by_client.is_empty() {
            self.lanes.truncate(1);
            self.lanes.shrink_to_fit();
            self.free = Vec::new();
            self.by_client = HashMap::new();
        }
    }

    /// Forgets everything, and says what was forgotten.
    pub(crate) fn bury(&mut self) -> (Tombstone, Evicted) {
        let mut evicted = Evicted::default();
        while !self.is_empty() {
            evicted.add(self.evict());
        }
        let mut marks = self.marks.clone();
        for (client, lane) in &self.by_client {
            marks.put(client.clone(), self.lane(*lane).evicted());
        }
        (Tombstone { broadcast: self.lane(BROADCAST).evicted(), marks, finished: self.finished }, evicted)
    }

    fn lane(&self, id: LaneId) -> &Lane {
        &self.lanes[id.0 as usize]
    }

    fn lane_mut(&mut self, id: LaneId) -> &mut Lane {
        &mut self.lanes[id.0 as usize]
    }
}

impl Marks {
    /// More than this become one. A mark is some forty bytes and the client's name.
    const MAX: usize = 10_000;

    fn take(&mut self, client: &ClientId) -> Offset {
        self.by_client.remove(client).unwrap_or(self.others)
    }

    fn put(&mut self, client: ClientId, evicted: Offset) {
        if evicted <= self.others {
            return;
        }
        if self.by_client.len() >= Self::MAX {
            self.others = self.by_client.drain().map(|(_, offset)| offset).fold(self.others, Offset::max);
        }
        self.by_client.insert(client, evicted);
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
    use crate::{
        cursor::{Cursor, Epoch},
        encode::Draft,
        event::Event,
    };

    const EVERYBODY: View = View { client: None };

    fn append(log: &mut Log, lane: LaneId, offset: u64, now: Instant) -> Evicted {
        let cursor = Cursor { epoch: Epoch::from_bits(1), offset: Offset::new(offset) };
        log.append(lane, Draft::new(Event::text("x")).seal(cursor), now)
    }

    fn client(n: usize) -> ClientId {
        ClientId::try_from(format!("client{n}")).unwrap()
    }

    fn view(log: &mut Log, n: usize) -> View {
        View { client: log.lane_for(&client(n), usize::MAX).ok() }
    }

    #[test]
    fn events_are_evicted_in_order_whatever_their_lane() {
        let (mut log, now) = (Log::new(Retention::new().events(3), Tombstone::default()), Instant::now());
        for offset in 1..=6 {
            let lane = if offset % 2 == 0 { log.lane_for(&client(0), 9).unwrap() } else { BROADCAST };
            let evicted = append(&mut log, lane, offset, now);
            assert_eq!(evicted.events, u64::from(offset > 3));
            assert_eq!(log.oldest(), Some(Offset::new(offset.saturating_sub(2).max(1))));
        }
        let zero = view(&mut log, 0);
        assert_eq!((log.missed(zero), log.missed(EVERYBODY)), (Offset::new(3), Offset::new(3)));
        assert_eq!(log.bytes, log.order.len() * (cost(log.after(EVERYBODY, Offset::START).next().unwrap())));
    }

    #[test]
    fn events_expire_when_they_are_older_than_the_age() {
        let (mut log, now) =
            (Log::new(Retention::new().age(Duration::from_secs(5)), Tombstone::default()), Instant::now());
        append(&mut log, BROADCAST, 1, now);
        append(&mut log, BROADCAST, 2, now + Duration::from_secs(2));
        assert_eq!(log.enforce(now + Duration::from_secs(5)).events, 0);
        assert_eq!(log.enforce(now + Duration::from_secs(6)).events, 1);
        assert_eq!(log.enforce(now).events, 0, "a clock that goes back evicts nothing");
        assert_eq!(log.enforce(now + Duration::from_secs(8)).events, 1);
        assert!(log.is_empty() && log.bytes == 0);
    }

    #[test]
    fn a_lane_that_is_gone_leaves_a_mark_for_its_client_only() {
        let (mut log, now) = (Log::new(Retention::new().events(1), Tombstone::default()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        append(&mut log, lane, 1, now);
        append(&mut log, BROADCAST, 2, now);
        assert_eq!(log.lane_of(&client(0)), None);
        let (zero, one) = (view(&mut log, 0), view(&mut log, 1));
        assert_eq!((log.missed(zero), log.missed(one)), (Offset::new(1), Offset::START));
        for lane in [zero, one].map(|view| view.client.unwrap()) {
            log.drop_if_idle(lane);
        }
        assert_eq!((log.lanes.len(), log.marks.by_client.len()), (1, 1));
    }

    #[test]
    fn a_lane_with_a_reader_keeps_its_place() {
        let (mut log, now) = (Log::new(Retention::new().events(1), Tombstone::default()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        log.enter(lane);
        append(&mut log, lane, 1, now);
        append(&mut log, BROADCAST, 2, now);
        assert_eq!(log.lane_of(&client(0)), Some(lane));
        assert_eq!(log.lane_for(&client(1), 1), Err(TooManyLanes));
        log.leave(lane);
        assert_eq!(log.lane_of(&client(0)), None);
        assert!(log.lane_for(&client(1), 1).is_ok());
    }

    #[test]
    fn too_many_marks_become_one_that_hides_no_loss() {
        let mut marks = Marks::default();
        for n in 0..=Marks::MAX {
            marks.put(client(n), Offset::new(n as u64 + 1));
            assert!(marks.by_client.len() <= Marks::MAX);
        }
        assert_eq!(marks.by_client.len(), 1);
        assert_eq!(marks.take(&client(Marks::MAX)), Offset::new(Marks::MAX as u64 + 1));
        // For all others the mark is at least their own.
        assert_eq!(marks.take(&client(0)), Offset::new(Marks::MAX as u64));
        assert_eq!(marks.take(&client(Marks::MAX - 1)), Offset::new(Marks::MAX as u64));
        marks.put(client(3), Offset::new(5));
        assert!(marks.by_client.is_empty(), "the common mark says it already");
    }

    #[test]
    fn what_is_buried_is_known_again() {
        let (mut log, now) = (Log::new(Retention::new(), Tombstone::default()), Instant::now());
        let lane = log.lane_for(&client(0), 9).unwrap();
        append(&mut log, BROADCAST, 1, now);
        append(&mut log, lane, 2, now);
        log.finish();
        let (tombstone, evicted) = log.bury();
        assert_eq!((evicted.events, log.bytes), (2, 0));
        assert_eq!((tombstone.highest(), tombstone.len(), tombstone.finished), (Offset::new(2), 2, true));
        let mut again = Log::new(Retention::new(), tombstone);
        let (zero, one) = (view(&mut again, 0), view(&mut again, 1));
        assert_eq!((again.missed(zero), again.missed(one)), (Offset::new(2), Offset::new(1)));
        assert!(again.is_finished());
    }
}
