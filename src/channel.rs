//! The concurrent floor: channels that are published to and read from at once.
//!
//! A channel is a log and its readers under one lock. A publisher appends and takes out the wakers of those who wait; a
//! reader reads after its cursor, or parks: either way the lock is taken once. Offsets are given under the channel's lock,
//! from the hub's counter, so that a reader of several channels can read each up to the same offset and has then seen
//! everything up to it.

pub(crate) mod grant;
mod hub;
mod limits;
mod open;
mod options;
mod readers;
mod registry;
mod slab;
mod subscription;
mod wait;

use self::readers::Readers;
use crate::{
    log::{Log, Tombstone},
    name::ChannelName,
    sync::{Mutex, MutexGuard, lock},
};

pub(crate) use self::hub::{Hub, HubSettings, end_client};
pub use self::{
    grant::Grant,
    limits::Limits,
    options::{Duplicates, OpenOptions, Start},
    subscription::{Delivery, Subscription},
};

/// A channel, as its publishers and its readers share it.
pub(crate) struct Shared {
    name: ChannelName,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) log: Log,
    pub(crate) readers: Readers,
    /// It is no longer in the registry: who finds it like this looks there again.
    dropped: bool,
}

impl Shared {
    fn new(name: ChannelName, log: Log) -> Self {
        Self { name, state: Mutex::new(State { log, readers: Readers::default(), dropped: false }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Nobody reads it and nothing is held: there is nothing to keep it for but its tombstone.
    fn is_idle(&self) -> bool {
        self.readers.len() == 0 && self.log.is_empty()
    }

    /// Marks it as dropped and says what is to be remembered of it.
    fn bury(&mut self) -> (Tombstone, crate::log::Evicted) {
        self.dropped = true;
        self.log.bury()
    }
}
