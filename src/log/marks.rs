//! What a log remembers of its clients: which of their targeted events were evicted.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    num::NonZeroU32,
};

use super::lane_id::LaneId;
use crate::{
    footprint::{ByNumber, Slab},
    wire::{cursor::Offset, name::ClientId},
};

/// For a bounded number of clients, the highest offset that was evicted of each client's events. When a client is
/// forgotten, its mark raises the one that stands for all clients without a mark of their own.
///
/// Clients that have a lane are here too, with the highest offset that the lane was given. So a whole log turns into
/// its marks without a look at each lane.
#[derive(Default)]
pub(crate) struct Marks {
    known: Slab<Known>,
    /// The first of the known clients whose names have this hash. The names themselves are in `known` alone.
    by_hash: ByNumber<u32, KnownId>,
    /// Hashes the names, so that nobody can choose names that collide.
    hasher: RandomState,
    /// The place in `known` where the search for a mark to forget continues.
    hand: usize,
    /// The mark of every client without one of its own.
    others: Offset,
    /// The highest mark there ever was.
    highest: Offset,
    /// The bytes that the clients' names take from the allocator.
    names: usize,
    /// The number of clients that have a mark of their own.
    marked: usize,
}

/// A client, by its place in `Marks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownId(NonZeroU32);

impl KnownId {
    /// Returns the number of the client with this key. It is one higher, so that an `Option` takes no more room.
    fn of(key: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(key))
    }

    fn key(self) -> u32 {
        self.0.get() - 1
    }
}

struct Known {
    client: ClientId,
    /// The client's mark. While the client has a lane, this is the highest offset that the lane was given; once the
    /// lane is dropped, all of it is evicted.
    mark: Offset,
    /// The client's lane, if that lane still belongs to the client.
    lane: Option<LaneId>,
    /// The next client whose name has the same hash.
    next: Option<KnownId>,
}

impl Marks {
    /// A channel remembers this many clients without a lane by name. Each one beyond that is merged into `others`, so
    /// that a client without a mark may get a gap although it missed nothing. It never misses a gap.
    const MAX: usize = if cfg!(miri) { 100 } else { 10_000 };

    /// About how many bytes a mark takes from the allocator, with its client's name.
    pub(super) const EACH: usize = 112;

    /// How many places are searched for a low mark.
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

    /// Returns whether there is anything to remember. The names of clients that never got an event are not worth it,
    /// nor is a look at each of them.
    pub(super) fn says_something(&self) -> bool {
        self.marked > 0 || self.others > Offset::START
    }

    /// Returns the marks if there is anything to remember.
    pub(crate) fn into_box(self) -> Option<Box<Self>> {
        self.says_something().then(|| Box::new(self))
    }

    /// Returns whether nothing is known of any client.
    pub(super) fn knows_nothing(&self) -> bool {
        self.known.len() == 0 && self.others == Offset::START
    }

    /// Returns the mark of every client without one of its own. Only marks above this are offsets of the client's own
    /// events.
    pub(super) fn others(&self) -> Offset {
        self.others
    }

    /// Returns how many clients are known by name.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns the highest mark there ever was.
    pub(crate) fn highest(&self) -> Offset {
        self.highest
    }

    pub(super) fn find(&self, client: &ClientId) -> Option<KnownId> {
        self.with_hash(self.hash(client)).find(|id| self.client(*id) == Some(client))
    }

    /// Adds a client that was not known.
    pub(super) fn insert(&mut self, client: &ClientId) -> KnownId {
        let hash = self.hash(client);
        let next = self.by_hash.get(&hash).copied();
        let key = self.known.insert(Known { client: client.clone(), mark: Offset::START, lane: None, next });
        let id = KnownId::of(key);
        self.by_hash.insert(hash, id);
        self.names += client.heap();
        id
    }

    /// Removes a client from the known ones with this hash. `next` is the one behind it.
    fn unlink(&mut self, hash: u32, id: KnownId, next: Option<KnownId>) {
        let before = self.with_hash(hash).take_while(|other| *other != id).last();
        match (before.and_then(|before| self.known.get_mut(before.key())), next) {
            (Some(before), next) => before.next = next,
            (None, Some(next)) => _ = self.by_hash.insert(hash, next),
            (None, None) => _ = self.by_hash.remove(&hash),
        }
    }

    /// Returns the known clients whose names have this hash.
    fn with_hash(&self, hash: u32) -> impl Iterator<Item = KnownId> {
        std::iter::successors(self.by_hash.get(&hash).copied(), |id| self.known.get(id.key())?.next)
    }

    fn hash(&self, client: &ClientId) -> u32 {
        // The upper half is enough, and fits.
        (self.hasher.hash_one(client) >> 32) as u32
    }

    pub(super) fn client(&self, id: KnownId) -> Option<&ClientId> {
        self.known.get(id.key()).map(|known| &known.client)
    }

    pub(super) fn lane(&self, id: KnownId) -> Option<LaneId> {
        self.known.get(id.key())?.lane
    }

    pub(super) fn set_lane(&mut self, id: KnownId, lane: Option<LaneId>) {
        if let Some(known) = self.known.get_mut(id.key()) {
            known.lane = lane;
        }
    }

    /// Returns a client's mark: everything up to it counts as evicted.
    pub(super) fn mark(&self, id: KnownId) -> Offset {
        self.known.get(id.key()).map_or(self.others, |known| known.mark.max(self.others))
    }

    /// Returns the mark of a client, known or not.
    pub(super) fn of_client(&self, client: &ClientId) -> Offset {
        self.find(client).map_or(self.others, |id| self.mark(id))
    }

    /// Notes that the client's lane was given this offset, which is the highest so far.
    pub(super) fn raise(&mut self, id: KnownId, offset: Offset) {
        if let Some(known) = self.known.get_mut(id.key()) {
            self.marked += usize::from(known.mark == Offset::START && offset > Offset::START);
            known.mark = known.mark.max(offset);
            self.highest = self.highest.max(offset);
        }
    }

    /// Notes that a client has lost its lane, and forgets the client if there is nothing to remember of it.
    pub(super) fn retire(&mut self, id: KnownId) {
        self.set_lane(id, None);
        if self.mark(id) == self.others {
            self.remove(id);
        }
    }

    /// Returns whether `idle` clients without a lane are too many.
    pub(super) fn are_too_many(idle: usize) -> bool {
        idle > Self::MAX
    }

    /// Forgets one of the lower marks, whose client then has the mark of all others. It searches only a few places, and
    /// returns whether it found one.
    pub(super) fn forget_one(&mut self, has_lane: impl Fn(KnownId, LaneId) -> bool) -> bool {
        let (others, highest) = (self.others.get(), self.highest.get());
        // The lower a forgotten mark is, the less it raises the mark of all others. As new clients come, the marks of
        // older ones fall below this.
        let low = Offset::new(others + highest.saturating_sub(others) / 2);
        let mut lowest: Option<(Offset, KnownId)> = None;
        for _ in 0..Self::SAMPLE {
            self.hand = if self.hand + 1 < self.known.places() { self.hand + 1 } else { 0 };
            let Some((key, known)) = self.known.at(self.hand) else { continue };
            let id = KnownId::of(key);
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
        let Some(known) = self.known.get(id.key()) else { return };
        self.unlink(self.hash(&known.client), id, known.next);
        if let Some(known) = self.known.remove(id.key()) {
            self.names -= known.client.heap();
            self.marked -= usize::from(known.mark > Offset::START);
        }
    }

    /// Forgets one mark of a tombstone, where no client has a lane.
    pub(crate) fn forget(&mut self) {
        self.forget_one(|_, _| false);
    }

    /// Frees at most `most` marks, and counts `most` down. Returns whether none are left.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        while *most > 0 && self.known.len() > 0 {
            self.forget();
            *most -= 1;
        }
        self.known.len() == 0
    }

    /// Returns how many bytes the marks take from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        self.by_hash.footprint() + self.known.footprint() + self.names
    }
}
