//! What those who call a node and its driver share: the store, and how much of it is known here.

use std::{sync::Arc, time::Duration};

use super::level::Level;
use crate::{
    backend::{Backend, Progress},
    error::BackendError,
    hub::engine::Hub,
    log::Retention,
    random,
    sync::{AtomicU64, Mutex, Ordering, lock},
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::ChannelName,
    },
};

pub(crate) struct Link {
    pub(crate) backend: Arc<dyn Backend>,
    /// After which a call is given up, and a reader that opens is told to come back.
    pub(crate) timeout: Duration,
    /// The node is set to a retention of its own.
    sets_retention: bool,
    /// This node's number among all, random.
    pub(crate) node: u64,
    /// The highest offset that is known to have been given: whoever reads the store from now on finds it.
    known: Mutex<Cursor>,
    /// The hub's `memory.last()`, up to which the mirrors are whole, for those who wait for it.
    pub(crate) level: Level,
    /// The tickets of those who asked for the hub's last offset, as far as they were answered.
    pub(crate) answered: Level,
    tickets: AtomicU64,
    /// The number of the last driver that has ended with its runtime.
    ended_driver: AtomicU64,
}

impl Link {
    pub(crate) fn new(backend: Arc<dyn Backend>, timeout: Duration, sets_retention: bool) -> Self {
        Self {
            backend,
            timeout,
            sets_retention,
            node: random::bits(),
            known: Mutex::new(Cursor { epoch: Epoch::from_bits(0), offset: Offset::START }),
            level: Level::default(),
            answered: Level::default(),
            tickets: AtomicU64::new(0),
            ended_driver: AtomicU64::new(0),
        }
    }

    /// What the node is set to hold of a channel, if it is set to anything.
    pub(crate) fn retention_of(&self, hub: &Hub, channel: &ChannelName) -> Option<Retention> {
        self.sets_retention.then(|| hub.retention_of(channel))
    }

    /// The answer of a backend's call, within the timeout.
    pub(crate) async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|elapsed| Err(BackendError::timed_out(elapsed)))
    }

    /// The answer of a read, as long as it makes progress: it is given up when nothing has come for the timeout.
    pub(crate) async fn while_it_goes_on<T>(
        &self,
        progress: &Progress,
        read: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let mut read = std::pin::pin!(read);
        loop {
            let until = progress.last() + self.timeout;
            match tokio::time::timeout_at(until, &mut read).await {
                Ok(answer) => return answer,
                Err(elapsed) if progress.last() + self.timeout <= until => {
                    return Err(BackendError::timed_out(elapsed));
                }
                Err(_) => {}
            }
        }
    }

    /// The highest offset that is known to have been given.
    pub(crate) fn known(&self) -> Cursor {
        *lock(&self.known)
    }

    /// Offsets of another epoch say nothing of this one.
    pub(crate) fn learn(&self, cursor: Cursor) {
        let mut known = lock(&self.known);
        if known.epoch == cursor.epoch {
            known.offset = known.offset.max(cursor.offset);
        }
    }

    /// The epoch is another: nothing is known but that. Who looks at `known` and finds it knows that the level is of it.
    pub(crate) fn begin(&self, hub: &Hub, epoch: Epoch) {
        hub.memory.set_last(Offset::START);
        self.level.reset();
        *lock(&self.known) = Cursor { epoch, offset: Offset::START };
        hub.memory.set_epoch(epoch);
    }

    /// The mirrors are whole up to here.
    pub(crate) fn rise(&self, hub: &Hub, level: Offset) {
        if level > hub.memory.last() {
            hub.memory.set_last(level);
            self.level.reach(level.get());
        }
    }

    /// A ticket for a question, which is [answered](Self::answered) when everything that was acknowledged before now is
    /// known here.
    pub(crate) fn new_ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The last ticket that was given out.
    pub(crate) fn last_ticket(&self) -> u64 {
        self.tickets.load(Ordering::Relaxed)
    }

    /// The driver of that number is gone, and takes no commands any more.
    pub(crate) fn driver_ended(&self, number: u64) {
        self.ended_driver.fetch_max(number, Ordering::AcqRel);
    }

    pub(crate) fn last_ended_driver(&self) -> u64 {
        self.ended_driver.load(Ordering::Acquire)
    }
}
