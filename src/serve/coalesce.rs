//! Holds back what comes right after something was sent, so that a burst of small events goes in few chunks.
//!
//! Only what is there is waited with: as long as nothing follows there is no timer, so that a reader whose events come one
//! at a time costs what it costs without.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(crate) struct Coalesce {
    pause: Duration,
    /// What comes before this waits for it.
    until: Option<Instant>,
    /// Made when something has to wait, where the runtime is.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Coalesce {
    /// No end of a stream, by a shutdown within its grace too, is to wait for longer than this.
    const MAX: Duration = Duration::from_secs(1);

    /// None of zero.
    pub(crate) fn new(pause: Duration) -> Option<Self> {
        (!pause.is_zero()).then_some(Self { pause: pause.min(Self::MAX), until: None, sleep: None })
    }

    /// All that there was is sent.
    pub(crate) fn sent(&mut self) {
        self.until = Instant::now().checked_add(self.pause);
    }

    /// Something more is there: ready when it may be sent.
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
