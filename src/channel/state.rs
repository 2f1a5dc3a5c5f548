//! What a channel's publishers and readers share: its log and its readers, under one lock.

use super::readers::Readers;
use crate::{
    log::{Evicted, Log, Tombstone},
    name::ChannelName,
    sync::{Mutex, MutexGuard, lock},
};

/// A channel, as its publishers and its readers share it.
pub(crate) struct Shared {
    pub(super) name: ChannelName,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) log: Log,
    pub(crate) readers: Readers,
    /// It is no longer in the registry: who finds it like this looks there again.
    pub(super) dropped: bool,
}

impl Shared {
    pub(super) fn new(name: ChannelName, log: Log) -> Self {
        Self { name, state: Mutex::new(State { log, readers: Readers::default(), dropped: false }) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
