//! What an application asks of the store, and the handle of the driver: the node's side of the hub's seam.

use std::{
    sync::{Arc, OnceLock, Weak},
    task::Waker,
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use super::{
    driver::{self, Command},
    link::Link,
    streams,
    told::Told,
};
use crate::{
    backend::{Append, Appended, Backend, Connected, NewEvent, Placed, Presence},
    error::{BackendError, PublishError, PublishErrorKind},
    hub::{
        Batch, HubSettings,
        allowance::{Allowances, CountedElsewhere},
        engine::Hub,
        seam::{Elsewhere, Place},
        sent::Sent,
        state::Shared,
        write::{Planned, Write},
    },
    log::Retention,
    sync::{AtomicU64, Mutex, Ordering, lock},
    wire::{
        cursor::Offset,
        except::Except,
        name::{ChannelName, ClientId},
    },
};

pub(crate) struct Remote {
    hub: OnceLock<Weak<Hub>>,
    pub(crate) link: Arc<Link>,
    /// The sender of commands to the driver. Locked while a driver is started, so that there is at most one.
    driver: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    /// The number of the last driver.
    last_driver: AtomicU64,
}

impl Remote {
    /// Builds a hub whose log lives in `backend`.
    pub(crate) fn connect(
        settings: HubSettings,
        backend: Arc<dyn Backend>,
        timeout: Duration,
        sets_retention: bool,
    ) -> (Arc<Hub>, Arc<Self>) {
        let remote = Arc::new(Self {
            hub: OnceLock::new(),
            link: Arc::new(Link::new(backend, timeout, sets_retention)),
            driver: Mutex::new(None),
            last_driver: AtomicU64::new(0),
        });
        let hub = Arc::new(Hub::new(settings, Some(remote.clone())));
        // Can't fail: nothing has been set before.
        let _ = remote.hub.set(Arc::downgrade(&hub));
        (hub, remote)
    }

    /// Asks for the hub's last offset. The returned ticket is answered once this node knows everything that was
    /// acknowledged before now.
    pub(crate) fn ask_level(&self) -> u64 {
        let ticket = self.link.new_ticket();
        self.order(Command::Sync(ticket));
        ticket
    }

    /// Sends the driver a command, and starts the driver if there is none. Outside of a runtime, a reader that waits in
    /// one starts the driver later.
    fn order(&self, command: Command) {
        let mut driver = lock(&self.driver);
        let running = driver.as_ref().filter(|driver| !driver.is_closed());
        if let Some(driver) = running {
            // If this fails, the driver has just ended with its runtime.
            let _ = driver.send(command);
        } else if let (Ok(runtime), Some(hub)) = (tokio::runtime::Handle::try_current(), self.hub.get()) {
            // Bounded by the hub's limits of channels and subscriptions.
            let (commands, orders) = mpsc::unbounded_channel();
            let _ = commands.send(command);
            *driver = Some(commands);
            let number = self.last_driver.fetch_add(1, Ordering::AcqRel) + 1;
            runtime.spawn(driver::run(hub.clone(), self.link.clone(), orders, number));
        }
    }

    /// Sends the driver a command, if there is a driver.
    fn mention(&self, command: Command) {
        if let Some(driver) = &*lock(&self.driver) {
            let _ = driver.send(command);
        }
    }

    /// Returns whether there is a driver that takes commands.
    fn is_driven(&self) -> bool {
        lock(&self.driver).as_ref().is_some_and(|driver| !driver.is_closed())
    }

    /// Returns whether there is no driver: none was started, or the last one has ended with its runtime. Takes no lock.
    fn is_abandoned(&self) -> bool {
        self.link.last_ended_driver() == self.last_driver.load(Ordering::Acquire)
    }

    /// Appends events in the store, in one step. Readers get them through the feed, on this node too. The caller
    /// decides whether to write while the hub shuts down.
    pub(crate) async fn write(
        &self,
        hub: &Hub,
        name: &ChannelName,
        batch: Batch,
        fence: Option<u64>,
    ) -> Result<Vec<Sent>, PublishError> {
        let write = hub.plan(batch, fence)?;
        let append = append_of(name, write, self.link.retention_of(hub, name));
        // The target, the own id and the exception of each event.
        let own: Vec<_> =
            append.events.iter().map(|event| (event.client.clone(), event.id.clone(), event.except.clone())).collect();
        let last = append.last;
        let places = self.append(append).await?;
        let end = places.iter().filter(|place| !place.repeated).map(|place| place.cursor).next_back();
        if let Some(end) = end.filter(|_| last) {
            // Done before the offset is known here: a reader that comes after that starts with what is left.
            hub.with_existing(name, |state| {
                state.coverage_mut().into_iter().for_each(|coverage| coverage.finishes_at(end))
            });
        }
        let mut sent = Vec::with_capacity(own.len());
        places.iter().for_each(|place| self.link.learn(place.cursor));
        for (Placed { cursor, repeated, id }, (target, own, except)) in places.into_iter().zip(own) {
            let custom = if repeated { id } else { own };
            let reached = if repeated { 0 } else { readers_of(hub, name, target.as_ref(), except.as_ref()) };
            hub.counters.published.add(u64::from(!repeated));
            sent.push(Sent::new(cursor, custom, reached, repeated));
        }
        Ok(sent)
    }

    /// Appends events in the store. Returns their places.
    async fn append(&self, append: Append) -> Result<Vec<Placed>, PublishErrorKind> {
        let count = append.events.len().max(1);
        let appended = self.link.within("append", self.link.backend.append(append)).await;
        match appended.map_err(PublishErrorKind::Unavailable)? {
            Appended::At(places) if places.len() == count => Ok(places),
            Appended::At(_) => Err(unexpected()),
            Appended::Finished => Err(PublishErrorKind::Finished),
            Appended::DuplicateId => Err(PublishErrorKind::DuplicateId),
            Appended::Fenced(seen) => Err(PublishErrorKind::Fenced { seen }),
            Appended::Conflict(last) => Err(PublishErrorKind::Conflict { last }),
        }
    }

    /// Asks the store something small, to find out whether it answers.
    pub(crate) async fn reach(&self) -> Result<(), BackendError> {
        self.link.within("heads", self.link.backend.heads(Vec::new())).await.map(drop)
    }

    /// Returns who is connected to a channel on all nodes.
    pub(crate) async fn presence(&self, name: &ChannelName) -> Result<Connected, BackendError> {
        self.link.within("presence", self.link.backend.presence(name.clone())).await
    }

    /// Passes a notice to all other nodes.
    pub(crate) async fn tell(&self, told: &Told) -> Result<(), BackendError> {
        self.link.within("tell", self.link.backend.tell(told.by(self.link.node))).await
    }

    /// Waits until nobody has been connected to a channel for `after`, on any node, as far as the store has been told.
    /// While the store does not answer, nobody counts as absent.
    pub(crate) async fn unread(&self, hub: &Hub, name: &ChannelName, after: Duration) {
        // The store learns of the current connections within this time.
        let after = after.saturating_add(Presence::EVERY);
        let mut since = None;
        loop {
            let absent =
                readers_of(hub, name, None, None) == 0 && self.presence(name).await.is_ok_and(|all| all.is_empty());
            let now = Instant::now();
            since = if absent { since.or(Some(now)) } else { None };
            let left = after.saturating_sub(since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Presence::EVERY)).await;
        }
    }

    /// Closes a channel in the store. The feed tells its readers on all nodes. Returns the number of readers on this
    /// node.
    pub(crate) async fn close(&self, hub: &Hub, name: &ChannelName) -> Result<usize, BackendError> {
        let readers = readers_of(hub, name, None, None);
        self.link.within("close", self.link.backend.close(name.clone())).await?;
        Ok(readers)
    }
}

#[cfg(all(test, not(loom)))]
impl Remote {
    /// Sends commands to a driver that a test plays.
    pub(crate) fn is_driven_by(&self, commands: mpsc::UnboundedSender<Command>) {
        *lock(&self.driver) = Some(commands);
    }
}

impl CountedElsewhere for Remote {
    fn gave_back(&self, all: &Arc<Allowances>, holder: &Arc<str>) {
        // Outside of a runtime nothing can be sent, but the next report says it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && self.link.untold.add(holder)
        {
            runtime.spawn(streams::tell(all.clone(), self.link.clone()));
        }
    }
}

impl Elsewhere for Remote {
    fn entered(&self, channel: &Arc<Shared>, first: bool) {
        if first || !self.is_driven() {
            self.order(Command::Watch(channel.clone()));
        }
    }

    fn unread(&self, channel: &Arc<Shared>) {
        // The driver keeps the mirror for a while: the last reader may be reloading a page.
        self.mention(Command::Unread(channel.clone()));
    }

    /// Starts a driver if there is none. A driver ends with its runtime, and a reader that waits in another runtime
    /// starts the next one there.
    fn waits(&self) {
        if self.is_abandoned() {
            // Any command starts a driver. A driver asks for a level first anyway.
            self.ask_level();
        }
    }

    fn wait_for(&self, offset: Offset, place: &mut Option<Box<Place>>, waker: &Waker) -> bool {
        self.link.level.wait(offset.get(), place, waker)
    }

    fn leave(&self, place: &mut Option<Box<Place>>) {
        self.link.level.leave(place);
    }
}

fn append_of(name: &ChannelName, write: Write, retention: Option<Retention>) -> Append {
    let Write { events, fence, expected, last } = write;
    let event = |Planned { target, mut draft, key, .. }: Planned| {
        let except = draft.take_except().map(|except| *except);
        let (bytes, id) = draft.into_parts();
        NewEvent { client: target, bytes, id, key, except }
    };
    let events = events.into_iter().map(event).collect();
    Append { fence, expected, last, ..Append::new(name.clone(), events, retention) }
}

/// Returns the error for an answer that does not fit the question.
fn unexpected() -> PublishErrorKind {
    PublishErrorKind::Unavailable(BackendError::new("the store gave an answer to another question"))
}

/// Returns how many connections of this node read a channel, or belong to the client there, without those that are
/// excluded.
pub(super) fn readers_of(hub: &Hub, name: &ChannelName, target: Option<&ClientId>, except: Option<&Except>) -> usize {
    let readers = hub.look_at(name, |state| {
        let lane = target.and_then(|client| state.log.lane_of(client));
        match except {
            _ if lane.is_none() && target.is_some() => 0,
            Some(except) => state.readers.not_excluded(&state.log, lane, except),
            None => lane.map_or_else(|| state.readers.live(), |lane| state.readers.of(lane)),
        }
    });
    readers.unwrap_or(0)
}
