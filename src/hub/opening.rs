//! The wait for a subscription's channels: they are here in process, and elsewhere have to be loaded first.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};

use super::{open::opened, options::OpenOptions, subscription::Subscription};
use crate::node::{gate::Place, remote::Remote};
use crate::{
    error::{OpenError, OpenErrorKind},
    wire::cursor::{Cursor, EventId, Id},
};

/// What [`OpenOptions::open`](crate::OpenOptions::open) returns: the subscription, as soon as its channels are there.
///
/// The subscription has its place from the call on, and gives it back if this is dropped. In process it is ready when it
/// is first polled, and needs no runtime. With a remote [`Backend`](crate::backend::Backend) it needs a tokio runtime with time.
#[must_use = "a future does nothing until it is polled"]
pub struct Opening(Stage);

enum Stage {
    /// `None` once it is given.
    Ready(Option<Result<Subscription, OpenError>>),
    /// Only with a remote backend.
    Waiting(Box<Waiting>),
}

struct Waiting {
    /// `None` once it is given.
    subscription: Option<Subscription>,
    options: OpenOptions,
    requested: Option<Box<[u8]>>,
    /// Of a question for the hub's last offset, if what was requested is beyond what is known here.
    ticket: Option<u64>,
    /// Its place among those who wait for the answer.
    waits: Option<Box<Place>>,
    late: Pin<Box<Sleep>>,
}

impl Opening {
    pub(crate) fn ready(opened: Result<Subscription, OpenError>) -> Self {
        Self(Stage::Ready(Some(opened)))
    }

    pub(crate) fn waiting(
        subscription: Subscription,
        remote: &Remote,
        options: OpenOptions,
        requested: Option<&[u8]>,
    ) -> Self {
        let late = Box::pin(sleep(remote.timeout));
        let requested = requested.map(Into::into);
        Self(Stage::Waiting(Box::new(Waiting {
            subscription: Some(subscription),
            options,
            requested,
            ticket: None,
            waits: None,
            late,
        })))
    }
}

impl Waiting {
    /// Up to where everything that was published is in the channels' logs, when they are all loaded. `None`: one of them
    /// was closed meanwhile.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<Option<Cursor>> {
        let Some(subscription) = &self.subscription else { return Poll::Pending };
        let hub = subscription.hub();
        let Some(remote) = &hub.remote else { return Poll::Pending };
        let Some(loaded) = subscription.poll_loaded(cx) else { return Poll::Ready(None) };
        let known = remote.known();
        if hub.is_shutting_down() {
            return Poll::Ready(Some(remote.known()));
        }
        if loaded.iter().any(|epoch| *epoch != Some(known.epoch)) {
            return Poll::Pending;
        }
        // All are of this epoch, so that the level is too, if it is asked for after that.
        let last = Cursor { epoch: known.epoch, offset: known.offset.max(hub.memory.last()) };
        let beyond = match self.requested.as_deref().and_then(EventId::parse).as_ref().map(EventId::kind) {
            Some(Id::Cursor(cursor) | Id::Goodbye(cursor)) => cursor.epoch != last.epoch || cursor.offset > last.offset,
            Some(Id::Custom(id)) => !subscription.holds(id),
            None => false,
        };
        // Another node may know of what was requested, and this one not yet.
        if beyond {
            let ticket = *self.ticket.get_or_insert_with(|| remote.ask_level(hub));
            if remote.synced.wait(ticket, &mut self.waits, cx.waker()) {
                return Poll::Pending;
            }
            // It may be in what is being read.
            if !subscription.is_whole() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Some(last))
    }
}

impl Waiting {
    /// What it waits for a driver brings.
    fn keep_driven(&self) {
        if let Some(subscription) = &self.subscription {
            subscription.keep_driven();
        }
    }

    /// Waits for no answer any more.
    fn leave(&mut self) {
        if let Some(remote) = self.subscription.as_ref().and_then(|subscription| subscription.hub().remote.as_ref()) {
            remote.synced.leave(&mut self.waits);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Future for Opening {
    type Output = Result<Subscription, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = match &mut self.0 {
            Stage::Waiting(waiting) => waiting,
            // The contract of `Future`: whoever polls once more than that has a bug of their own.
            Stage::Ready(opened) => return Poll::Ready(opened.take().expect("polled after it was ready")),
        };
        let last = match waiting.poll_last(cx) {
            Poll::Ready(last) => last,
            Poll::Pending if waiting.late.as_mut().poll(cx).is_ready() => None,
            Poll::Pending => {
                // Once it is parked, so that it is told when there is no driver any more.
                waiting.keep_driven();
                return Poll::Pending;
            }
        };
        waiting.leave();
        let subscription = waiting.subscription.take().expect("taken once, as the stage ends here");
        let hub = subscription.hub().clone();
        let requested = waiting.requested.take();
        let started = match last {
            Some(last) => waiting.options.start_in(subscription, requested.as_deref(), last),
            None => Err(OpenErrorKind::Unavailable.into()),
        };
        self.0 = Stage::Ready(None);
        Poll::Ready(opened(&hub, started))
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.0 {
            Stage::Ready(_) => "ready",
            Stage::Waiting(_) => "waiting",
        };
        f.debug_tuple("Opening").field(&stage).finish()
    }
}
