//! What a channel's publishers and readers share: its log and its readers, under one lock.

use super::readers::Readers;
use crate::{
    log::{Evicted, Log, Tombstone},
    name::ChannelName,
    sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock},
};

/// A channel, as its publishers and its readers share it.
pub(crate) struct Shared {
    pub(super) name: ChannelName,
    state: Mutex<State>,
    /// Grows with each change, under the lock and before anything else: who finds it as it was has nothing new to see.
    version: AtomicU64,
}

pub(crate) struct State {
    pub(crate) log: Log,
    pub(crate) readers: Readers,
    /// It is no longer in the registry: who finds it like this looks there again.
    pub(super) dropped: bool,
}

impl Shared {
    pub(super) fn new(name: ChannelName, log: Log) -> Self {
        let state = State { log, readers: Readers::default(), dropped: false };
        Self { name, state: Mutex::new(state), version: AtomicU64::new(1) }
    }

    /// Locks it for a change that its readers may have to know of: events come or go, a reader is to end.
    pub(super) fn change(&self) -> MutexGuard<'_, State> {
        let state = lock(&self.state);
        self.version.fetch_add(1, Ordering::AcqRel);
        state
    }

    /// Locks it for a look, and for what is a reader's own: that it parks, or leaves.
    pub(super) fn look(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Never 0.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl State {
    /// Nobody reads it and nothing is held: there is nothing to keep it for but its tombstone.
    pub(super) fn is_idle(&self) -> bool {
        self.readers.len() == 0 && self.log.is_empty()
    }

    /// Marks it as dropped and says what is to be remembered of it.
    pub(super) fn bury(&mut self) -> (Tombstone, Evicted) {
        self.dropped = true;
        self.log.bury()
    }
}
