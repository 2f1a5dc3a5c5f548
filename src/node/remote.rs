//! A hub's side of a backend that is not in process: publishing to it, and its driver's handle.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    driver::{self, Command},
    gate::Gate,
};
use crate::hub::{engine::Hub, sent::Sent};
use crate::{
    backend::{Append, Appended, Backend, Connected, Progress},
    error::{BackendError, PublishError, PublishErrorKind},
    sync::{AtomicU64, Mutex, Ordering, lock},
    wire::{
        cursor::{Cursor, Epoch, EventId, Offset},
        encode::Draft,
        event::Event,
        name::{ChannelName, ClientId},
    },
};

pub(crate) struct Remote {
    pub(crate) backend: Arc<dyn Backend>,
    /// After which a call is given up, and who opens is told to come back.
    pub(crate) timeout: Duration,
    /// This node's number among all, random.
    pub(crate) node: u64,
    /// The highest offset that is known to have been given: whoever reads the store from now on finds it.
    known: Mutex<Cursor>,
    /// The hub's `memory.last()`, up to which the mirrors are whole, for those who wait for it.
    pub(crate) level: Gate,
    /// The tickets of those who asked for the hub's last offset, as far as they were answered.
    pub(crate) synced: Gate,
    tickets: AtomicU64,
    driver: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    /// The number of the last driver, and of the last that has ended with its runtime.
    last_driver: AtomicU64,
    ended_driver: AtomicU64,
}

impl Remote {
    pub(crate) fn new(backend: Arc<dyn Backend>, timeout: Duration) -> Self {
        Self {
            backend,
            timeout,
            node: RandomState::new().hash_one(Instant::now()),
            known: Mutex::new(Cursor { epoch: Epoch::from_bits(0), offset: Offset::START }),
            level: Gate::default(),
            synced: Gate::default(),
            tickets: AtomicU64::new(0),
            driver: Mutex::new(None),
            last_driver: AtomicU64::new(0),
            ended_driver: AtomicU64::new(0),
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

    /// A ticket that is [answered](Self::synced) when everything that was acknowledged before now is known here.
    pub(crate) fn ask_level(&self, hub: &Arc<Hub>) -> u64 {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed) + 1;
        self.order(hub, Command::Sync(ticket));
        ticket
    }

    /// The last ticket that was given out.
    pub(crate) fn last_ticket(&self) -> u64 {
        self.tickets.load(Ordering::Relaxed)
    }

    /// Tells the driver, which is begun if there is none. Outside of a runtime that is left to whoever waits in one.
    pub(crate) fn order(&self, hub: &Arc<Hub>, command: Command) {
        let mut driver = lock(&self.driver);
        let running = driver.as_ref().filter(|driver| !driver.is_closed());
        if let Some(driver) = running {
            // It can't have gone in between but with its runtime.
            let _ = driver.send(command);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Bounded by what a hub may have of channels and openings.
            let (commands, orders) = mpsc::unbounded_channel();
            let _ = commands.send(command);
            *driver = Some(commands);
            let number = self.last_driver.fetch_add(1, Ordering::AcqRel) + 1;
            runtime.spawn(driver::run(hub, self, orders, number));
        }
    }

    /// There is a driver. Its runtime may be gone, and it with that.
    pub(crate) fn is_driven(&self) -> bool {
        lock(&self.driver).as_ref().is_some_and(|driver| !driver.is_closed())
    }

    /// The driver of that number is gone, and takes no commands any more.
    pub(crate) fn driver_ended(&self, number: u64) {
        self.ended_driver.fetch_max(number, Ordering::AcqRel);
    }

    /// There is no driver: none was begun, or its runtime has ended. Asks no lock.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.ended_driver.load(Ordering::Acquire) == self.last_driver.load(Ordering::Acquire)
    }

    /// Tells the driver if there is one.
    pub(crate) fn mention(&self, command: Command) {
        if let Some(driver) = &*lock(&self.driver) {
            let _ = driver.send(command);
        }
    }

    /// The answer of a backend's call, within the timeout.
    pub(crate) async fn within<T>(
        timeout: Duration,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        tokio::time::timeout(timeout, call).await.unwrap_or_else(|elapsed| Err(BackendError::timed_out(elapsed)))
    }
}

impl Remote {
    /// The answer of a read, as long as it makes progress: it is given up when nothing has come for the timeout.
    pub(crate) async fn while_it_goes_on<T>(
        timeout: Duration,
        progress: &Progress,
        read: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let mut read = std::pin::pin!(read);
        loop {
            let until = progress.last() + timeout;
            match tokio::time::timeout_at(until, &mut read).await {
                Ok(answer) => return answer,
                Err(elapsed) if progress.last() + timeout <= until => return Err(BackendError::timed_out(elapsed)),
                Err(_) => {}
            }
        }
    }
}

impl Hub {
    /// Appends an event in the backend's store. Who reads it, here too, gets it by the feed.
    pub(crate) async fn publish_to(
        &self,
        remote: &Remote,
        name: &ChannelName,
        target: Option<&ClientId>,
        event: Event,
        last: bool,
    ) -> Result<Sent, PublishError> {
        let draft = self.draft(event)?;
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown.into());
        }
        let append = self.append_of(name, target, draft, last);
        let id = append.id.clone();
        let appended = Remote::within(remote.timeout, remote.backend.append(append)).await;
        let (cursor, repeated) = match appended.map_err(PublishErrorKind::Unavailable)? {
            Appended::At(cursor) => (cursor, false),
            Appended::Before(cursor) => (cursor, true),
            Appended::Finished => return Err(PublishErrorKind::Finished.into()),
            Appended::DuplicateId => return Err(PublishErrorKind::DuplicateId.into()),
        };
        if last && !repeated {
            // Sooner than it is known that so much was given: who comes after that wants what is left.
            self.with_existing(name, |state| {
                if let Some(coverage) = &mut state.coverage {
                    coverage.finishes_at(cursor);
                }
            });
        }
        remote.learn(cursor);
        self.counters.published.add(u64::from(!repeated));
        let reached = if repeated { 0 } else { self.readers_of(name, target) };
        let id = id.map_or_else(|| cursor.into(), EventId::from);
        Ok(Sent { id, reached, repeated })
    }

    fn append_of(&self, name: &ChannelName, target: Option<&ClientId>, draft: Draft, last: bool) -> Append {
        let (bytes, id, key) = draft.into_parts();
        let retention = self.retention_of(name);
        Append { channel: name.clone(), client: target.cloned(), bytes, id, key, retention, last }
    }

    /// How many connections of this node read a channel, or are a client's there.
    fn readers_of(&self, name: &ChannelName, target: Option<&ClientId>) -> usize {
        let readers = self.with_existing(name, |state| match target {
            None => state.readers.live(),
            Some(client) => state.log.lane_of(client).map_or(0, |lane| state.readers.of(lane)),
        });
        readers.unwrap_or(0)
    }

    /// Who is connected to a channel, on all nodes.
    pub(crate) async fn present_in(&self, remote: &Remote, name: &ChannelName) -> Result<Connected, BackendError> {
        Remote::within(remote.timeout, remote.backend.presence(name.clone())).await
    }

    /// Closes a channel in the backend's store. Its readers, on all nodes, are told by the feed.
    pub(crate) async fn close_in(&self, remote: &Remote, name: &ChannelName) -> Result<usize, BackendError> {
        let readers = self.readers_of(name, None);
        Remote::within(remote.timeout, remote.backend.close(name.clone())).await?;
        Ok(readers)
    }
}
