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
