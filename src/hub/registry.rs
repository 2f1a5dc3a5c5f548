//! The channels of the hub by name, in shards.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::Arc,
};

use super::state::Shared;
use crate::{
    footprint::{Table, Tally},
    sync::{Mutex, Ordering, lock},
    wire::name::ChannelName,
};

/// The number of shards, each with its own lock. There are many, so that a shard that grows or is listed holds its
/// lock only briefly: with 100,000 channels, a shard has about 400. Under loom there is one, because its runs have to
/// repeat and the hasher is random.
pub(crate) const SHARDS: usize = if cfg!(loom) { 1 } else { 256 };

/// A channel, found by its name.
struct Named(Arc<Shared>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.name.as_str()
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Named {}

type Shard = Table<Named, ()>;

/// Lock order: a shard, then a channel in it, then the tombstones of dropped channels or the ledger.
pub(crate) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// Counts the channels.
    tally: Arc<Tally>,
}

impl Registry {
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(Shard::default())), hasher: RandomState::new(), tally }
    }

    pub(crate) fn len(&self) -> usize {
        self.tally.channels.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, name: &ChannelName) -> Option<Arc<Shared>> {
        lock(self.shard(name)).get_key(name.as_str()).map(|found| found.0.clone())
    }

    /// Changes a shard, and counts what it takes from the allocator.
    fn resize<T>(&self, shard: &mut Shard, work: impl FnOnce(&mut Shard) -> T) -> T {
        let before = shard.footprint();
        let done = work(shard);
        self.tally.change_all(before, shard.footprint());
        done
    }

    /// Returns the channel of that name. Makes it if there is none. Returns `None` if there may be no more channels.
    pub(crate) fn get_or_insert(
        &self,
        name: &ChannelName,
        max: usize,
        make: impl FnOnce() -> Shared,
    ) -> Option<Arc<Shared>> {
        let mut shard = lock(self.shard(name));
        if let Some(found) = shard.get_key(name.as_str()) {
            return Some(found.0.clone());
        }
        if self.tally.channels.fetch_add(1, Ordering::Relaxed) >= max {
            self.tally.channels.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let shared = Arc::new(make());
        self.resize(&mut shard, |shard| shard.insert(Named(shared.clone()), ()));
        Some(shared)
    }

    /// Removes `shared` if `condition` holds. The shard is locked while `condition` runs, so nobody finds the channel
    /// in between.
    pub(crate) fn remove_if(&self, shared: &Arc<Shared>, condition: impl FnOnce() -> bool) {
        let mut shard = lock(self.shard(&shared.name));
        let name = shared.name.as_str();
        if shard.get_key(name).is_some_and(|found| Arc::ptr_eq(&found.0, shared)) && condition() {
            self.resize(&mut shard, |shard| shard.remove(name));
            self.tally.channels.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Does `work` if there is no channel of that name, and returns whether there was none. The shard stays locked, so
    /// that no channel of that name appears before the work is done.
    pub(crate) fn if_absent(&self, name: &ChannelName, work: impl FnOnce()) -> bool {
        let shard = lock(self.shard(name));
        let absent = shard.get_key(name.as_str()).is_none();
        if absent {
            work();
        }
        absent
    }

    /// Returns the channels that one shard has now.
    pub(crate) fn in_shard(&self, shard: usize) -> Vec<Arc<Shared>> {
        lock(&self.shards[shard % SHARDS]).iter().map(|(named, ())| named.0.clone()).collect()
    }

    /// Iterates over all channels, shard by shard. A channel that comes in the meantime may be missing.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<Shared>> {
        (0..SHARDS).flat_map(|shard| self.in_shard(shard))
    }

    fn shard(&self, name: &ChannelName) -> &Mutex<Shard> {
        // Lossless, because the remainder is below the number of shards.
        &self.shards[(self.hasher.hash_one(name) % SHARDS as u64) as usize]
    }
}
