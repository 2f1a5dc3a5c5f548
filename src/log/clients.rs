//! The lanes of a log's clients. Most channels have none.

use super::{
    lane::Lane,
    lane_id::{BROADCAST, LaneId, TooManyLanes},
    marks::{KnownId, Marks},
    order::Order,
    run::Gone,
};
use crate::{
    footprint::{Slab, Table},
    wire::{
        cursor::Offset,
        encode::Sealed,
        name::{ClientId, CustomId},
    },
};

/// The clients' lanes, the order of the events across all lanes, and what is remembered of lanes that were dropped.
pub(super) struct Clients {
    lanes: Slab<ClientLane>,
    /// The bytes that the lanes take beside their places.
    lanes_footprint: usize,
    /// For each custom id, the lane of the last event that has it. `None` while no client's event has a custom id.
    last_with: Option<Box<IdLanes>>,
    /// The number of lanes that have a reader.
    read: usize,
    /// The lane of each held event, oldest first.
    pub(super) order: Order,
    pub(super) marks: Marks,
}

pub(super) type IdLanes = Table<CustomId, LaneId>;

pub(super) struct ClientLane {
    /// `None` as long as the lane has neither held nor evicted an event. Most clients only read.
    used: Option<Box<Used>>,
    /// The client that the lane belongs to.
    client: KnownId,
    /// The number of readers. A lane with a reader keeps its place.
    readers: u32,
}

/// The lane of a client that has got an event of its own.
struct Used {
    lane: Lane,
    /// The bytes that the lane took after the last change.
    footprint: usize,
}

/// What every lane is that has neither held nor evicted an event.
static UNUSED: Lane = Lane::UNUSED;

impl ClientLane {
    fn new(client: KnownId, evicted: Offset, all: &mut usize) -> Self {
        let mut new = Self { used: None, client, readers: 0 };
        if evicted > Offset::START {
            new.change(all, |lane| *lane = Lane::new(evicted));
        }
        new
    }

    fn lane(&self) -> &Lane {
        self.used.as_ref().map_or(&UNUSED, |used| &used.lane)
    }

    /// Changes the lane, and updates the sum of what all lanes take from the allocator.
    fn change<T>(&mut self, all: &mut usize, work: impl FnOnce(&mut Lane) -> T) -> T {
        let used = self.used.get_or_insert_with(|| Box::new(Used { lane: Lane::UNUSED, footprint: 0 }));
        let done = work(&mut used.lane);
        let now = size_of::<Used>() + used.lane.footprint();
        *all = *all - std::mem::replace(&mut used.footprint, now) + now;
        done
    }

    pub(super) fn into_lane(self) -> Lane {
        self.used.map_or(Lane::UNUSED, |used| used.lane)
    }
}

impl Clients {
    /// Creates the lanes of a log that holds `broadcasts` events.
    pub(super) fn new(broadcasts: usize, marks: Marks) -> Self {
        let order = Order::of(BROADCAST, broadcasts);
        Self { lanes: Slab::default(), lanes_footprint: 0, last_with: None, read: 0, order, marks }
    }

    /// Returns whether nothing is known of any client.
    pub(super) fn is_void(&self) -> bool {
        self.lanes.len() == 0 && self.marks.knows_nothing()
    }

    pub(super) fn lane_of(&self, client: &ClientId) -> Option<LaneId> {
        let known = self.marks.find(client)?;
        self.marks.lane(known).filter(|lane| self.is_of(*lane, known))
    }

    /// Returns whether a lane belongs to that client. A log that starts from the marks of an earlier one does not have
    /// the lanes that those marks name.
    fn is_of(&self, lane: LaneId, client: KnownId) -> bool {
        self.at(lane).is_some_and(|lane| lane.client == client)
    }

    pub(super) fn client_of(&self, lane: LaneId) -> Option<&ClientId> {
        self.marks.client(self.at(lane)?.client)
    }

    pub(super) fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.at(id).map(ClientLane::lane)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Lane> {
        (0..self.lanes.places()).filter_map(|place| self.lanes.at(place)).map(|(_, lane)| lane.lane())
    }

    fn at(&self, id: LaneId) -> Option<&ClientLane> {
        self.lanes.get(id.key()?)
    }

    fn at_mut(&mut self, id: LaneId) -> Option<&mut ClientLane> {
        self.lanes.get_mut(id.key()?)
    }

    /// Changes a lane, if it was used.
    pub(super) fn change<T>(&mut self, id: LaneId, work: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let lane = self.lanes.get_mut(id.key()?)?;
        lane.used.is_some().then(|| lane.change(&mut self.lanes_footprint, work))
    }

    /// Returns a client's lane, and creates it if necessary.
    pub(super) fn lane_for(&mut self, client: &ClientId, max: usize) -> Result<LaneId, TooManyLanes> {
        if let Some(lane) = self.lane_of(client) {
            return Ok(lane);
        }
        if self.lanes.len() >= max {
            return Err(TooManyLanes);
        }
        let known = self.marks.find(client).unwrap_or_else(|| self.marks.insert(client));
        let lane = ClientLane::new(known, self.marks.mark(known), &mut self.lanes_footprint);
        let id = LaneId::of_client(self.lanes.insert(lane));
        self.marks.set_lane(known, Some(id));
        Ok(id)
    }

    /// Appends an event to a lane. Its offset must be above every earlier one.
    pub(super) fn push(&mut self, id: LaneId, event: &Sealed, custom: Option<CustomId>, at: u64) {
        let Some(lane) = id.key().and_then(|key| self.lanes.get_mut(key)) else { return };
        if let Some(custom) = &custom {
            self.last_with.get_or_insert_default().insert(custom.clone(), id);
        }
        lane.change(&mut self.lanes_footprint, |lane| lane.push(event, custom, at));
        self.marks.raise(lane.client, event.offset());
    }

    /// Evicts the oldest event of a lane, and drops the lane if that leaves it idle.
    pub(super) fn evict(&mut self, id: LaneId) -> Option<Gone> {
        let (evicted, is_empty) = self.change(id, |lane| (lane.evict(), lane.is_empty()))?;
        if is_empty {
            self.drop_if_idle(id);
        }
        let (gone, custom) = evicted?;
        if let (Some(custom), Some(last_with)) = (custom, &mut self.last_with)
            && last_with.get(&custom) == Some(&id)
        {
            last_with.remove(&custom);
            self.last_with.take_if(|last_with| last_with.is_empty());
        }
        Some(gone)
    }

    /// Returns whether any client has a held event with this custom id that is not older than `too_old`.
    pub(super) fn hold(&mut self, custom: &CustomId, too_old: Option<u64>) -> bool {
        // Events are evicted in order, so if the last one is gone, the earlier ones are too.
        let Some(lane) = self.last_with.as_ref().and_then(|last_with| last_with.get(custom)).copied() else {
            return false;
        };
        let is_held = |lane: &mut Lane| {
            too_old.into_iter().for_each(|time| lane.hide_before(time));
            lane.find(custom).is_some()
        };
        self.change(lane, is_held).unwrap_or(false)
    }

    /// Takes out the index of custom ids, when all events are removed.
    pub(super) fn take_ids(&mut self) -> Option<Box<IdLanes>> {
        self.last_with.take()
    }

    pub(super) fn enter(&mut self, id: LaneId) {
        let Some(lane) = self.at_mut(id) else { return };
        lane.readers += 1;
        self.read += usize::from(lane.readers == 1);
    }

    pub(super) fn leave(&mut self, id: LaneId) {
        let Some(lane) = self.at_mut(id) else { return };
        lane.readers -= 1;
        self.read -= usize::from(lane.readers == 0);
        self.drop_if_idle(id);
    }

    /// Drops a lane that has neither an event nor a reader, and keeps the mark of what it evicted.
    pub(super) fn drop_if_idle(&mut self, id: LaneId) {
        let Some(lane) = self.at(id) else { return };
        if lane.readers > 0 || !lane.lane().is_empty() {
            return;
        }
        let (client, evicted) = (lane.client, lane.lane().evicted());
        let dropped = id.key().and_then(|key| self.lanes.remove(key)?.used);
        self.lanes_footprint -= dropped.map_or(0, |used| used.footprint);
        self.marks.raise(client, evicted);
        self.marks.retire(client);
        if Marks::are_too_many(self.idle()) {
            self.forget_mark();
        }
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Returns an offset that no event of any client exceeds.
    pub(super) fn highest(&self) -> Offset {
        self.marks.highest()
    }

    /// Returns how many known clients have no lane.
    pub(super) fn idle(&self) -> usize {
        self.marks.len() - self.lanes.len()
    }

    /// Forgets one client's mark, which raises the mark of all others. Returns whether it found one.
    pub(super) fn forget_mark(&mut self) -> bool {
        let lanes = &self.lanes;
        let is_of =
            |known, lane: LaneId| lane.key().and_then(|key| lanes.get(key)).is_some_and(|lane| lane.client == known);
        self.marks.forget_one(is_of)
    }

    /// Empties every lane, and sets what it evicted to `marks`. Lanes that have readers keep their places. Returns the
    /// former contents.
    ///
    /// This looks at each lane, because the marks of the former log name the clients that the lanes belong to. There
    /// are at most [`Limits::lanes`](crate::Limits::lanes), and it happens only to a log that lives elsewhere, when that
    /// log is lost.
    pub(super) fn restart(&mut self, marks: Marks) -> Vec<Lane> {
        let before = std::mem::replace(&mut self.marks, marks);
        let (mut held, mut void, mut footprint) = (Vec::new(), Vec::new(), 0);
        for place in 0..self.lanes.places() {
            let Some((key, lane)) = self.lanes.at(place) else { continue };
            let Some(client) = before.client(lane.client).filter(|_| lane.readers > 0) else {
                void.push(key);
                continue;
            };
            let known = self.marks.find(client).unwrap_or_else(|| self.marks.insert(client));
            self.marks.set_lane(known, Some(LaneId::of_client(key)));
            let evicted = self.marks.mark(known);
            if let Some(lane) = self.lanes.get_mut(key) {
                let new = ClientLane { readers: lane.readers, ..ClientLane::new(known, evicted, &mut footprint) };
                held.push(std::mem::replace(lane, new).into_lane());
            }
        }
        held.extend(void.into_iter().filter_map(|key| self.lanes.remove(key)).map(ClientLane::into_lane));
        (self.lanes_footprint, self.order) = (footprint, Order::default());
        held
    }

    /// Returns what to remember once all events are gone, and the lanes to free.
    pub(super) fn bury(self) -> (Marks, Slab<ClientLane>) {
        (self.marks, self.lanes)
    }

    /// Returns how many bytes the lanes take from the allocator.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>()
            + self.lanes.footprint()
            + self.lanes_footprint
            + self.order.footprint()
            + self.last_with.as_ref().map_or(0, |last_with| size_of::<IdLanes>() + last_with.footprint())
            + self.marks.footprint()
    }

    /// Returns about how many of these bytes are for clients without a lane.
    pub(super) fn footprint_of_idle(&self) -> usize {
        self.idle() * Marks::EACH
    }

    /// Returns how many lanes have a reader. Eviction does not remove these.
    pub(super) fn read(&self) -> usize {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cursor::Offset;

    fn client(n: usize) -> ClientId {
        ClientId::try_from(format!("client{n}")).unwrap()
    }

    /// A client that comes and goes, after an event of it was evicted.
    fn visit(clients: &mut Clients, n: usize, evicted: u64) {
        let lane = clients.lane_for(&client(n), usize::MAX).unwrap();
        let footprint = &mut clients.lanes_footprint;
        clients
            .lanes
            .get_mut(lane.key().unwrap())
            .unwrap()
            .change(footprint, |lane| *lane = Lane::new(Offset::new(evicted)));
        clients.enter(lane);
        clients.leave(lane);
        assert_eq!(clients.lane_of(&client(n)), None);
    }

    fn mark(clients: &mut Clients, n: usize) -> u64 {
        let lane = clients.lane_for(&client(n), usize::MAX).unwrap();
        let mark = clients.lane(lane).unwrap().evicted().get();
        clients.drop_if_idle(lane);
        mark
    }

    #[test]
    fn a_crowd_of_clients_that_left_takes_no_memory() {
        let mut clients = Clients::new(0, Marks::default());
        let lanes: Vec<_> = (0..1_000).map(|n| clients.lane_for(&client(n), usize::MAX).unwrap()).collect();
        lanes.iter().for_each(|lane| clients.enter(*lane));
        let full = clients.footprint();
        assert!(full > 90_000);
        lanes[..999].iter().for_each(|lane| clients.leave(*lane));
        assert_eq!(
            (clients.lane_of(&client(999)), clients.client_of(lanes[999])),
            (Some(lanes[999]), Some(&client(999)))
        );
        assert!(clients.footprint() < 1_500, "{} bytes of {full} for one client", clients.footprint());
        clients.leave(lanes[999]);
        assert!(clients.is_void());
    }

    #[test]
    fn too_many_marks_raise_the_one_that_stands_for_all_others() {
        let mut clients = Clients::new(0, Marks::default());
        let max = 10_000;
        for n in 0..max + 1_000 {
            visit(&mut clients, n, n as u64 + 1);
            assert!(clients.idle() <= max);
        }
        let others = mark(&mut clients, usize::MAX);
        // The lowest marks are forgotten first, except those that the search has not reached.
        assert!((900..3_000).contains(&others), "up to {others} of those that were forgotten");
        for n in 0..max + 1_000 {
            assert_eq!(mark(&mut clients, n), others.max(n as u64 + 1), "it hides no loss, and forgets no other");
        }
    }
}
