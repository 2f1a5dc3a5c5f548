//! Delays what comes right after something was sent, so that a burst of small events is sent in few chunks.
//!
//! Only events that are already there wait. As long as nothing follows, no timer runs, so a reader whose events come
//! one at a time costs the same as without coalescing.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(crate) struct Coalesce {
    pause: Duration,
    /// What comes before this time waits for it.
    until: Option<Instant>,
    /// Created when something has to wait for the first time, because only then is the runtime certain to be there.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Coalesce {
    /// The end of a stream must not wait longer than this, not even at a shutdown, which has to keep its grace.
    const MAX: Duration = Duration::from_secs(1);

    /// Returns `None` for a pause of zero.
    pub(crate) fn new(pause: Duration) -> Option<Self> {
        (!pause.is_zero()).then_some(Self { pause: pause.min(Self::MAX), until: None, sleep: None })
    }

    /// Notes that everything available has been sent.
    pub(crate) fn sent(&mut self) {
        self.until = Instant::now().checked_add(self.pause);
    }

    /// Called when there is more to send: ready when it may be sent.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until.filter(|until| *until > Instant::now()) else { return Poll::Ready(()) };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        ready!(sleep.as_mut().poll(cx));
        self.until = None;
        Poll::Ready(())
    }
}
