//! What a log remembers of its clients: what was evicted of the events that were theirs alone.

use std::collections::HashMap;

use super::lane_id::LaneId;
use crate::{
    footprint::{Slab, Table},
    wire::{cursor::Offset, name::ClientId},
};

/// The highest offset that was evicted of each client's events, for a bounded number of clients. One that is forgotten
/// raises the mark that stands for all clients without one of their own.
///
/// The clients that have a lane are here too, with the highest offset that it was given: so a whole log turns into what is
/// remembered of it without a look at each lane.
#[derive(Default)]
pub(crate) struct Marks {
    by_client: Table<ClientId, u32>,
    known: Slab<Known>,
    /// The place in `known` at which the search for one to forget goes on.
    hand: usize,
    /// Stands for every client without a mark of its own.
    others: Offset,
    /// No mark was ever higher.
    highest: Offset,
    /// What the clients' names take from the allocator.
    names: usize,
    /// How many clients have a mark of their own.
    marked: usize,
}

/// A client by its place in `Marks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownId(u32);

struct Known {
    client: ClientId,
    /// As long as it has a lane, the highest offset that this was given. Then all of it is evicted.
    mark: Offset,
    /// Its lane, if this still says that it is its.
    lane: Option<LaneId>,
}

impl Marks {
    /// A channel remembers this many clients without a lane by name. Each one beyond that is merged into `others`, so
    /// that a client without a mark may get a gap although it missed nothing. It never misses a gap.
    const MAX: usize = if cfg!(miri) { 100 } else { 10_000 };

    /// About what a mark takes from the allocator, with its client's name.
    pub(super) const EACH: usize = 160;

    /// So many places are looked at for a low mark.
    const SAMPLE: usize = 8;

    pub(crate) fn of(by_client: HashMap<ClientId, Offset>, others: Offset) -> Self {
        let mut marks = Self { others, highest: others, ..Self::default() };
        for (client, mark) in by_client {
            if mark > others {
                let id = marks.insert(&client);
                marks.raise(id, mark);
            }
        }
        marks
    }

    /// It remembers something. The names of clients that never got anything are not worth it, nor a look at each.
    pub(super) fn says_something(&self) -> bool {
        self.marked > 0 || self.others > Offset::START
    }

    /// Itself, if it remembers something.
    pub(crate) fn into_box(self) -> Option<Box<Self>> {
        self.says_something().then(|| Box::new(self))
    }

    /// It knows nothing of any client.
    pub(super) fn knows_nothing(&self) -> bool {
        self.known.len() == 0 && self.others == Offset::START
    }

    /// How many clients it knows by name.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// No mark is higher.
    pub(crate) fn highest(&self) -> Offset {
        self.highest
    }

    pub(super) fn find(&self, client: &ClientId) -> Option<KnownId> {
        self.by_client.get(client).map(|key| KnownId(*key))
    }

    /// Knows a client from now on that it did not know.
    pub(super) fn insert(&mut self, client: &ClientId) -> KnownId {
        let key = self.known.insert(Known { client: client.clone(), mark: Offset::START, lane: None });
        self.by_client.insert(client.clone(), key);
        self.names += client.heap();
        KnownId(key)
    }

    pub(super) fn client(&self, id: KnownId) -> Option<&ClientId> {
        self.known.get(id.0).map(|known| &known.client)
    }

    pub(super) fn lane(&self, id: KnownId) -> Option<LaneId> {
        self.known.get(id.0)?.lane
    }

    pub(super) fn set_lane(&mut self, id: KnownId, lane: Option<LaneId>) {
        if let Some(known) = self.known.get_mut(id.0) {
            known.lane = lane;
        }
    }

    /// What counts as evicted for a client.
    pub(super) fn mark(&self, id: KnownId) -> Offset {
        self.known.get(id.0).map_or(self.others, |known| known.mark.max(self.others))
    }

    /// What counts as evicted for a client, known or not.
    pub(super) fn of_client(&self, client: &ClientId) -> Offset {
        self.find(client).map_or(self.others, |id| self.mark(id))
    }

    /// This offset is its client's, and the highest so far.
    pub(super) fn raise(&mut self, id: KnownId, offset: Offset) {
        if let Some(known) = self.known.get_mut(id.0) {
            self.marked += usize::from(known.mark == Offset::START && offset > Offset::START);
            known.mark = known.mark.max(offset);
            self.highest = self.highest.max(offset);
        }
    }

    /// A client has no lane any more. It is forgotten if nothing is to be remembered of it.
    pub(super) fn retire(&mut self, id: KnownId) {
        self.set_lane(id, None);
        if self.mark(id) == self.others {
            self.remove(id);
        }
    }

    /// Too many without a lane, of which there are `idle`.
    pub(super) fn are_too_many(idle: usize) -> bool {
        idle > Self::MAX
    }

    /// Forgets one of the lower marks: whose it is counts as one of all others from now on. Says whether it found one at the
    /// places it looked at, which are few.
    pub(super) fn forget_one(&mut self, has_lane: impl Fn(KnownId, LaneId) -> bool) -> bool {
        let (others, highest) = (self.others.get(), self.highest.get());
        // Those that go first raise the mark of all others the least. As new ones come, older ones are below this.
        let low = Offset::new(others + highest.saturating_sub(others) / 2);
        let mut lowest: Option<(Offset, KnownId)> = None;
        for _ in 0..Self::SAMPLE {
            self.hand = if self.hand + 1 < self.known.places() { self.hand + 1 } else { 0 };
            let Some((key, known)) = self.known.at(self.hand) else { continue };
            let id = KnownId(key);
            if known.lane.is_some_and(|lane| has_lane(id, lane)) {
                continue;
            }
            if lowest.is_none_or(|(mark, _)| known.mark < mark) {
                lowest = Some((known.mark, id));
            }
            if known.mark <= low {
                break;
            }
        }
        if let Some((mark, id)) = lowest {
            self.others = self.others.max(mark);
            self.remove(id);
        }
        lowest.is_some()
    }

    fn remove(&mut self, id: KnownId) {
        if let Some(known) = self.known.remove(id.0) {
            self.by_client.remove(&known.client);
            self.names -= known.client.heap();
            self.marked -= usize::from(known.mark > Offset::START);
        }
    }

    /// Forgets one of those that a tombstone remembers: no client has a lane.
    pub(crate) fn forget(&mut self) {
        self.forget_one(|_, _| false);
    }

    /// Frees at most so many of them, and counts them down. Says whether that was all.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        while *most > 0 && self.known.len() > 0 {
            self.forget();
            *most -= 1;
        }
        self.known.len() == 0
    }

    /// How many bytes it takes from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        self.by_client.footprint() + self.known.footprint() + self.names
    }
}
