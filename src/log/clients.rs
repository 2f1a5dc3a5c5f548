//! The lanes of a log's clients, which most channels do without.

use std::collections::{HashMap, VecDeque};

use super::{BROADCAST, LaneId, TooManyLanes, lane::Lane};
use crate::wire::{cursor::Offset, name::ClientId};

/// The lanes of clients, the order of events over all lanes, and what is remembered of lanes that are gone.
pub(super) struct Clients {
    /// By `LaneId`, whose 0 is the broadcast lane and not here. A freed place is empty until it is used again.
    lanes: Vec<ClientLane>,
    free: Vec<LaneId>,
    by_client: HashMap<ClientId, LaneId>,
    /// The lane of every held event, oldest first.
    pub(super) order: VecDeque<LaneId>,
    pub(super) marks: Marks,
}

/// A client's lane, or a free place.
#[derive(Default)]
pub(super) struct ClientLane {
    pub(super) lane: Lane,
    /// Whose it is; nobody's is a free place.
    pub(super) client: Option<ClientId>,
    /// How many readers have it open. A lane with a reader keeps its place.
    pub(super) readers: u32,
}

/// The highest evicted offsets of lanes that no longer exist, bounded: when there are too many, they become one number
/// that stands for every client without a mark of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    by_client: HashMap<ClientId, Offset>,
    others: Offset,
}

impl Clients {
    /// For a log that holds `broadcasts` events.
    pub(super) fn new(broadcasts: usize, marks: Marks) -> Self {
        Self {
            lanes: Vec::new(),
            free: Vec::new(),
            by_client: HashMap::new(),
            order: std::iter::repeat_n(BROADCAST, broadcasts).collect(),
            marks,
        }
    }

    /// It says no more than that there are no clients.
    pub(super) fn is_void(&self) -> bool {
        self.by_client.is_empty() && self.marks == Marks::default()
    }

    pub(super) fn lane_of(&self, client: &ClientId) -> Option<LaneId> {
        self.by_client.get(client).copied()
    }

    /// Never asked for the broadcast lane, which is the log's.
    pub(super) fn lane(&self, id: LaneId) -> &ClientLane {
        &self.lanes[id.index() - 1]
    }

    pub(super) fn lane_mut(&mut self, id: LaneId) -> &mut ClientLane {
        &mut self.lanes[id.index() - 1]
    }

    /// A client's lane, made if need be.
    pub(super) fn lane_for(&mut self, client: &ClientId, max: usize) -> Result<LaneId, TooManyLanes> {
        if let Some(lane) = self.lane_of(client) {
            return Ok(lane);
        }
        if self.by_client.len() >= max {
            return Err(TooManyLanes);
        }
        let lane = ClientLane { lane: Lane::new(self.marks.take(client)), client: Some(client.clone()), readers: 0 };
        let id = match self.free.pop() {
            Some(id) => {
                *self.lane_mut(id) = lane;
                id
            }
            None => {
                self.lanes.push(lane);
                LaneId(u32::try_from(self.lanes.len()).map_err(|_| TooManyLanes)?)
            }
        };
        self.by_client.insert(client.clone(), id);
        Ok(id)
    }

    /// Drops a lane that has neither event nor reader, and keeps the mark of what it evicted.
    pub(super) fn drop_if_idle(&mut self, id: LaneId) {
        let lane = self.lane_mut(id);
        if lane.readers > 0 || !lane.lane.is_empty() {
            return;
        }
        let (evicted, Some(client)) = (lane.lane.evicted(), lane.client.take()) else { return };
        self.by_client.remove(&client);
        self.marks.put(client, evicted);
        self.free.push(id);
        if self.by_client.is_empty() {
            self.lanes = Vec::new();
            self.free = Vec::new();
            self.by_client = HashMap::new();
        }
    }

    /// Gives back the memory of evicted events, and says what they cost.
    pub(super) fn compact(&mut self) -> usize {
        self.lanes.iter_mut().map(|lane| lane.lane.compact()).sum()
    }

    /// Every lane is empty, and has evicted what these marks say.
    pub(super) fn restart(&mut self, mut marks: Marks) {
        for (client, lane) in &self.by_client {
            self.lanes[lane.index() - 1].lane = Lane::new(marks.take(client));
        }
        self.marks = marks;
    }

    /// Takes out the marks of all lanes, those that there are too.
    pub(super) fn take_marks(&mut self) -> Marks {
        let mut marks = std::mem::take(&mut self.marks);
        for (client, lane) in &self.by_client {
            marks.put(client.clone(), self.lane(*lane).lane.evicted());
        }
        marks
    }
}

impl Marks {
    /// More than this become one. A mark is some forty bytes and the client's name.
    const MAX: usize = if cfg!(miri) { 100 } else { 10_000 };

    pub(crate) fn of(by_client: HashMap<ClientId, Offset>, others: Offset) -> Self {
        Self { by_client, others }
    }

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

    /// How many numbers it holds of clients by name.
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    pub(super) fn highest(&self) -> Offset {
        self.by_client.values().copied().fold(self.others, Offset::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: usize) -> ClientId {
        ClientId::try_from(format!("client{n}")).unwrap()
    }

    #[test]
    fn too_many_marks_become_one_that_hides_no_loss() {
        let mut marks = Marks::default();
        for n in 0..=Marks::MAX {
            marks.put(client(n), Offset::new(n as u64 + 1));
            assert_eq!(marks.by_client.len(), if n < Marks::MAX { n + 1 } else { 1 });
        }
        assert_eq!(marks.take(&client(Marks::MAX)), Offset::new(Marks::MAX as u64 + 1));
        // For all others the mark is at least their own.
        assert_eq!(marks.take(&client(0)), Offset::new(Marks::MAX as u64));
        assert_eq!(marks.take(&client(Marks::MAX - 1)), Offset::new(Marks::MAX as u64));
        marks.put(client(3), Offset::new(5));
        assert!(marks.by_client.is_empty(), "the common mark says it already");
    }
}
