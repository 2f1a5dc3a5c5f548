//! What a node's callers and its driver share: the store, and how far the node has followed it.

use std::{sync::Arc, time::Duration};

use super::{level::Level, pulse::Pulse, untold::Untold};
use crate::{
    backend::{Backend, Progress},
    error::BackendError,
    hub::engine::Hub,
    log::Retention,
    random,
    sync::{AtomicU64, Mutex, Ordering, lock},
    trace::Span,
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::ChannelName,
    },
};

pub(crate) struct Link {
    pub(crate) backend: Arc<dyn Backend>,
    /// How long a call may take. A reader that opens waits this long before it is told to reconnect later.
    pub(crate) timeout: Duration,
    /// Whether the node is configured with a retention of its own.
    sets_retention: bool,
    /// A random number that distinguishes this node from the others.
    pub(crate) node: u64,
    /// The highest offset that the store is known to have given. Every read from now on covers it.
    known: Mutex<Cursor>,
    /// The hub's `memory.last()`, up to which all mirrors are whole that it waits for, and the readers that wait for it.
    pub(crate) level: Level,
    /// The ticket up to which the questions for the hub's last offset are answered.
    pub(crate) answered: Level,
    tickets: AtomicU64,
    /// Who has fewer streams here than the store may know.
    pub(crate) untold: Untold,
    /// How well the driver follows the store.
    pub(crate) pulse: Pulse,
    /// The number of the last driver that ended together with its runtime.
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
            untold: Untold::new(),
            pulse: Pulse::default(),
            ended_driver: AtomicU64::new(0),
        }
    }

    /// Returns what the node is configured to hold of a channel, if anything is configured.
    pub(crate) fn retention_of(&self, hub: &Hub, channel: &ChannelName) -> Option<Retention> {
        match self.sets_retention {
            true => Some(hub.retention_of(channel)),
            false => hub.adjusted(channel, Retention::default()),
        }
    }

    /// Waits for the answer to this call, for at most the timeout.
    pub(crate) async fn within<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let answer = async {
            let answer = tokio::time::timeout(self.timeout, answer).await;
            answer.unwrap_or_else(|elapsed| Err(BackendError::timed_out(elapsed)))
        };
        Span::backend(call).around(answer).await
    }

    /// Waits for the answer to a read, for as long as the read makes progress. Fails when nothing has arrived within
    /// the timeout.
    pub(crate) async fn while_it_goes_on<T>(
        &self,
        call: &'static str,
        progress: &Progress,
        read: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        Span::backend(call).around(self.as_it_goes_on(progress, read)).await
    }

    async fn as_it_goes_on<T>(
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

    /// Returns the highest offset that the store is known to have given.
    pub(crate) fn known(&self) -> Cursor {
        *lock(&self.known)
    }

    /// Records an offset that the store has given. An offset of another epoch says nothing about this epoch.
    pub(crate) fn learn(&self, cursor: Cursor) {
        let mut known = lock(&self.known);
        if known.epoch == cursor.epoch {
            known.offset = known.offset.max(cursor.offset);
        }
    }

    /// Begins another epoch, of which nothing else is known yet. Resets the level first, so that a task that finds the
    /// new epoch in `known` also finds a level that belongs to it.
    pub(crate) fn begin(&self, hub: &Hub, epoch: Epoch) {
        hub.memory.set_last(Offset::START);
        self.level.reset();
        *lock(&self.known) = Cursor { epoch, offset: Offset::START };
        hub.memory.set_epoch(epoch);
    }

    /// Raises the level, up to which all mirrors are whole that the level waits for.
    pub(crate) fn rise(&self, hub: &Hub, level: Offset) {
        if level > hub.memory.last() {
            hub.memory.set_last(level);
            self.level.reach(level.get());
        }
    }

    /// Returns a ticket for a question. It is [answered](Self::answered) once this node knows everything that was
    /// acknowledged before now.
    pub(crate) fn new_ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the ticket of the latest question.
    pub(crate) fn last_ticket(&self) -> u64 {
        self.tickets.load(Ordering::Relaxed)
    }

    /// Records that a driver has ended and takes no more commands.
    pub(crate) fn driver_ended(&self, number: u64) {
        self.ended_driver.fetch_max(number, Ordering::AcqRel);
    }

    pub(crate) fn last_ended_driver(&self) -> u64 {
        self.ended_driver.load(Ordering::Acquire)
    }
}
