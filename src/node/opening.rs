//! Opening a subscription whose channels may have to be loaded first.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};

use super::remote::Remote;
use crate::{
    error::{OpenError, OpenErrorKind},
    hub::{
        Grant, Hub, OpenOptions, Subscription,
        open::opened,
        seam::{Elsewhere, Place},
    },
    wire::cursor::{Cursor, EventId, Id},
};

/// A subscription that has its places in its channels, and starts once they are loaded. If this is dropped, it gives the places
/// back.
pub(crate) struct Loading {
    remote: Arc<Remote>,
    /// `None` once it has started.
    subscription: Option<Subscription>,
    options: OpenOptions,
    requested: Option<Box<[u8]>>,
    /// The ticket of the question for the hub's last offset, asked if the requested id is beyond what is known here.
    ticket: Option<u64>,
    /// Its place among those that wait for the answer.
    waits: Option<Box<Place>>,
    /// When it gives up, unless its channels are on their way.
    late: Pin<Box<Sleep>>,
}

/// Takes a place in each channel. The future then waits until they are loaded.
pub(crate) fn open(
    hub: &Arc<Hub>,
    remote: &Arc<Remote>,
    options: &OpenOptions,
    grant: Grant,
    requested: Option<&[u8]>,
) -> Result<Loading, OpenError> {
    let (subscription, _) = options.enter_all(hub, grant, requested).or_else(|error| opened(hub, Err(error)))?;
    Ok(Loading {
        remote: remote.clone(),
        subscription: Some(subscription),
        options: options.clone(),
        requested: requested.map(Into::into),
        ticket: None,
        waits: None,
        late: Box::pin(sleep(remote.link.timeout)),
    })
}

impl Loading {
    /// Once all channels are loaded: the cursor up to which everything that was published is in their logs. `None` if one of
    /// them has been closed meanwhile.
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
        // All channels are of this epoch, so the level is too, if it is read after them.
        let last = Cursor { epoch: known.epoch, offset: known.offset.max(hub.memory.last()) };
        let may_be_on_its_way = self.options.existing && subscription.has_absent_channel();
        if may_be_on_its_way || self.is_beyond(subscription, last) {
            // Another node may know the requested id already.
            let ticket = *self.ticket.get_or_insert_with(|| self.remote.ask_level());
            if self.remote.link.answered.wait(ticket, &mut self.waits, cx.waker()) {
                return Poll::Pending;
            }
            // It may be in a read that is under way.
            if !subscription.is_whole() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Some(last))
    }

    /// The requested id is not known here.
    fn is_beyond(&self, subscription: &Subscription, last: Cursor) -> bool {
        match self.requested.as_deref().and_then(EventId::parse).as_ref().map(EventId::kind) {
            Some(Id::Cursor(cursor) | Id::Goodbye(cursor)) => cursor.epoch != last.epoch || cursor.offset > last.offset,
            Some(Id::Custom(id)) => !subscription.holds(id),
            None => false,
        }
    }

    /// Nothing has come for its channels for as long as a call may take.
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

    /// No longer waits for an answer.
    fn leave(&mut self) {
        self.remote.link.answered.leave(&mut self.waits);
    }

    fn start(&mut self, last: Option<Cursor>) -> Result<Subscription, OpenError> {
        self.leave();
        let subscription = self.subscription.take().expect("taken once: it is not polled after it was ready");
        let hub = subscription.hub().clone();
        let started = match last {
            Some(last) => self.options.start_in(subscription, self.requested.as_deref(), last),
            None => Err(OpenErrorKind::Unavailable.into()),
        };
        opened(&hub, started)
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
        let last = match self.poll_last(cx) {
            Poll::Ready(last) => last,
            Poll::Pending if self.is_late(cx) => None,
            Poll::Pending => {
                // After it has parked, so that it is woken if the driver ends from here on.
                self.remote.waits();
                return Poll::Pending;
            }
        };
        Poll::Ready(self.start(last))
    }
}
