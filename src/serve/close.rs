//! When an answer that does not last ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(super) struct Close {
    after: Duration,
    /// Created when the body is polled first, because only then is the runtime certain to be there.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Close {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, sleep: None }
    }

    /// The time begins.
    pub(super) fn begin(&mut self) {
        // A time that the clock can't represent never comes.
        self.sleep = Instant::now().checked_add(self.after).map(|due| Box::pin(sleep_until(due)));
    }

    /// Ready once the time is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}
