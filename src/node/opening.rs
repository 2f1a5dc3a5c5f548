//! Opening a subscription whose channels may have to be loaded first.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};

use super::{remote::Remote, streams::Asking};
use crate::{
    error::{OpenError, OpenErrorKind},
    hub::{
        Grant, Hub, OpenOptions, Subscription,
        open::opened,
        seam::{Elsewhere, Place},
        toll::Toll,
    },
    wire::cursor::{Cursor, EventId, Id},
};

/// A subscription that has a place in each of its channels, and starts once they are loaded. Dropping it gives the
/// places back.
pub(crate) struct Loading {
    remote: Arc<Remote>,
    /// `None` once it has started.
    subscription: Option<Subscription>,
    options: OpenOptions,
    requested: Option<Box<[u8]>>,
    toll: Option<Toll>,
    /// The question to the store, if the reader may have only so many streams.
    asking: Option<Asking>,
    /// The ticket of the question for the hub's last offset. The question is asked if this node does not know the
    /// requested id.
    ticket: Option<u64>,
    /// The place in the queue for the answer.
    waits: Option<Box<Place>>,
    /// When to give up, unless data for the channels is still arriving.
    late: Pin<Box<Sleep>>,
}

/// Takes a place in each channel. The returned future then waits until the channels are loaded.
pub(crate) fn open(
    hub: &Arc<Hub>,
    remote: &Arc<Remote>,
    options: &OpenOptions,
    grant: Grant,
    requested: Option<&[u8]>,
) -> Result<Loading, OpenError> {
    let (toll, allowance) = (grant.toll.clone(), grant.allowance.clone());
    let (subscription, _) = options.enter_all(hub, grant, requested).or_else(|error| opened(hub, Err(error)))?;
    Ok(Loading {
        remote: remote.clone(),
        subscription: Some(subscription),
        options: options.clone(),
        requested: requested.map(Into::into),
        toll,
        asking: allowance.map(|allowance| Asking::new(&hub.allowances, &remote.link, allowance)),
        ticket: None,
        waits: None,
        late: Box::pin(sleep(remote.link.timeout)),
    })
}

impl Loading {
    /// Waits until all channels are loaded. Returns the cursor up to which the logs contain everything that was
    /// published, or `None` if one of the channels was closed meanwhile.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<Option<Cursor>> {
        let Some(subscription) = &self.subscription else { return Poll::Pending };
        let hub = subscription.hub();
        let Some(loaded) = subscription.poll_loaded(cx) else { return Poll::Ready(None) };
        let known = self.remote.link.known();
        if hub.is_shutting_down() {
            return Poll::Ready(Some(self.remote.link.known()));
        }
        if loaded.iter().any(|epoch| *epoch != Some(known.epoch)) {
            return Poll::Pending;
        }
        // All channels are in this epoch, so the level is too, provided that it is read after them.
        let last = Cursor { epoch: known.epoch, offset: known.offset.max(hub.memory.last()) };
        let may_be_on_its_way = self.options.existing && subscription.has_absent_channel();
        if may_be_on_its_way || self.is_beyond(subscription, last) {
            // Another node may already know the requested id.
            let ticket = *self.ticket.get_or_insert_with(|| self.remote.ask_level());
            if self.remote.link.answered.wait(ticket, &mut self.waits, cx.waker()) {
                return Poll::Pending;
            }
            // The id may be in a read that is in progress.
            if !subscription.is_whole() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Some(last))
    }

    /// Returns whether this node does not know the requested id.
    fn is_beyond(&self, subscription: &Subscription, last: Cursor) -> bool {
        match self.requested.as_deref().and_then(EventId::parse).as_ref().map(EventId::kind) {
            Some(Id::Cursor(cursor) | Id::Goodbye(cursor)) => cursor.epoch != last.epoch || cursor.offset > last.offset,
            Some(Id::Custom(id)) => !subscription.holds(id),
            None => false,
        }
    }

    /// Polls the question to the store, if there is one. Returns whether the store has refused the stream.
    fn is_refused(&mut self, cx: &mut Context<'_>) -> bool {
        let answer = self.asking.as_mut().map_or(Poll::Ready(true), |asking| asking.poll(cx));
        if answer.is_ready() {
            self.asking = None;
        }
        answer == Poll::Ready(false)
    }

    /// Returns whether the store has yet to say whether the stream may open. A hub that shuts down does not wait for it.
    fn is_asking(&self) -> bool {
        let is_shutting_down = |subscription: &Subscription| subscription.hub().is_shutting_down();
        self.asking.is_some() && !self.subscription.as_ref().is_some_and(is_shutting_down)
    }

    /// Returns whether nothing has arrived for the channels for as long as a call may take.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        while self.late.as_mut().poll(cx).is_ready() {
            let last = self.subscription.as_ref().and_then(Subscription::last_progress);
            match last.map(|last| last + self.remote.link.timeout) {
                Some(later) if later > self.late.deadline() => self.late.as_mut().reset(later),
                _ => return true,
            }
        }
        false
    }

    /// Stops waiting for an answer.
    fn leave(&mut self) {
        self.remote.link.answered.leave(&mut self.waits);
    }

    /// Starts the subscription. Returns `None` if the logs belong to another epoch by now, so that it has to wait for
    /// them again.
    fn start(&mut self, last: Option<Cursor>) -> Option<Result<Subscription, OpenError>> {
        let subscription =
            self.subscription.as_mut().expect("there until it has started, and it is not polled after that");
        let started = match last {
            Some(last) => self.options.start_in(subscription, self.requested.as_deref(), last, self.toll.as_ref()),
            None => Err(OpenErrorKind::Unavailable.into()),
        };
        if let Ok(false) = started {
            return None;
        }
        Some(self.end(started.map(drop)))
    }

    /// Returns the subscription if it has started. Don't poll it after this.
    fn end(&mut self, started: Result<(), OpenError>) -> Result<Subscription, OpenError> {
        self.leave();
        let subscription =
            self.subscription.take().expect("there until it has started, and it is not polled after that");
        let hub = subscription.hub().clone();
        opened(&hub, started.map(|()| subscription))
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Future for Loading {
    type Output = Result<Subscription, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_refused(cx) {
            return Poll::Ready(self.end(Err(OpenErrorKind::TooManyOfClient.into())));
        }
        loop {
            let last = match self.poll_last(cx) {
                Poll::Ready(_) if self.is_asking() => return Poll::Pending,
                Poll::Ready(last) => last,
                Poll::Pending if self.is_late(cx) => None,
                Poll::Pending => {
                    // Called after the task has parked, so that it is woken if the driver ends from here on.
                    self.remote.waits();
                    return Poll::Pending;
                }
            };
            if let Some(started) = self.start(last) {
                return Poll::Ready(started);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{sync::Mutex, task::Wake, time::Duration};

    use bytes::Bytes;
    use tokio::sync::mpsc::{self, UnboundedReceiver};

    use super::*;
    use crate::{
        Limits, Retention,
        backend::{Entry, Held},
        hub::HubSettings,
        node::{driver::Command, mirror::Mirror, silent::Silent},
        wire::{
            cursor::{Epoch, Offset},
            name::ChannelName,
        },
    };

    const OLD: Epoch = Epoch::from_bits(7);
    const NEW: Epoch = Epoch::from_bits(8);

    /// A driver that obeys each command at once, before the sender of the command goes on. When it is asked for the
    /// hub's last offset, it finds that a new epoch has begun.
    struct Driver {
        hub: Arc<Hub>,
        remote: Arc<Remote>,
        commands: Mutex<(UnboundedReceiver<Command>, Option<Mirror>)>,
    }

    impl Driver {
        fn load(&self) {
            let (_, mirror) = &mut *self.commands.lock().unwrap();
            self.fill(mirror.as_mut().unwrap(), OLD, &[1, 2], None);
        }

        fn fill(&self, mirror: &mut Mirror, epoch: Epoch, offsets: &[u64], before: Option<Cursor>) {
            self.remote.link.begin(&self.hub, epoch);
            mirror.restart(&self.hub, epoch);
            let last = Offset::new(offsets[offsets.len() - 1]);
            let mut held = Held::new(epoch, last);
            (held.head, held.before) = (last, before);
            let entry = |at: &u64| Entry::of_bytes(Bytes::from_static(b"data: x\n"), Offset::new(*at), Offset::START);
            held.entries = offsets.iter().map(entry).collect();
            mirror.fill(&self.hub, Offset::START, held);
            self.remote.link.rise(&self.hub, last);
        }
    }

    impl Wake for Driver {
        fn wake(self: Arc<Self>) {
            let (commands, mirror) = &mut *self.commands.lock().unwrap();
            let waker = self.clone().into();
            while let Poll::Ready(Some(command)) = commands.poll_recv(&mut Context::from_waker(&waker)) {
                match command {
                    Command::Watch(channel) => {
                        // The channel is locked here.
                        *mirror = Some(Mirror::new(channel));
                    }
                    Command::Sync(ticket) => {
                        let before = Cursor { epoch: OLD, offset: Offset::new(3) };
                        self.fill(mirror.as_mut().unwrap(), NEW, &[2, 4, 5], Some(before));
                        self.remote.link.answered.reach(ticket);
                    }
                    Command::Unread(_) => {}
                }
            }
        }
    }

    fn connect() -> (Arc<Hub>, Arc<Remote>, mpsc::UnboundedReceiver<Command>) {
        let settings = HubSettings {
            limits: Limits::new(),
            retention: Box::new(|_| Retention::new()),
            reconnect: (Duration::ZERO, Duration::ZERO),
            ..HubSettings::default()
        };
        let (hub, remote) = Remote::connect(settings, Arc::new(Silent), Duration::from_secs(9), false);
        let (sender, commands) = mpsc::unbounded_channel();
        remote.is_driven_by(sender);
        (hub, remote, commands)
    }

    #[tokio::test]
    async fn a_channel_that_is_not_loaded_when_the_node_shuts_down_is_not_taken_for_absent() {
        let (hub, remote, _commands) = connect();
        let grant = Grant::new([ChannelName::from_static("a")]);
        let opening = open(&hub, &remote, &OpenOptions::new().existing(true), grant, None).ok().unwrap();
        hub.end_readers();
        assert!(opening.await.unwrap_err().is_shutting_down());
    }

    #[tokio::test]
    async fn a_reader_that_knows_a_new_epoch_before_its_node_does_is_not_sent_back_to_the_former_one() {
        let (hub, remote, commands) = connect();
        let driver =
            Arc::new(Driver { hub: hub.clone(), remote: remote.clone(), commands: Mutex::new((commands, None)) });
        driver.clone().wake();
        let id = Cursor { epoch: NEW, offset: Offset::new(4) };
        let grant = Grant::new([ChannelName::from_static("a")]);
        let opening = open(&hub, &remote, &OpenOptions::new(), grant, Some(id.to_string().as_bytes()));
        driver.load();
        let subscription = opening.ok().unwrap().await.unwrap();
        assert!(subscription.untold_gap().is_none());
        assert_eq!(subscription.cursor(), id);
    }
}
