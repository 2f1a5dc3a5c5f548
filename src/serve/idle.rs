//! Knows when nothing was sent for an interval. A timer that is re-armed at each event costs a good part of what its
//! delivery costs, so this one is armed late: it fires for the time at which it was armed, and only then asks whether
//! something was sent since.

use std::{
    num::NonZeroU64,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    #[derive(Debug)]
    pub(crate) struct Idle {
        interval: Option<Interval>,
        // Since when there is nothing to send; `None` if something was sent since the last look.
        since: Option<Instant>,
        // Made at the first look, where the runtime is.
        #[pin]
        sleep: Option<Sleep>,
    }
}

/// In nanoseconds, of which half a millennium fits in half the room of a `Duration`.
#[derive(Debug, Clone, Copy)]
struct Interval(NonZeroU64);

impl Interval {
    /// None of zero.
    fn of(duration: Duration) -> Option<Self> {
        NonZeroU64::new(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)).map(Self)
    }

    fn duration(self) -> Duration {
        Duration::from_nanos(self.0.get())
    }
}

impl Idle {
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        Self { interval: interval.and_then(Interval::of), since: None, sleep: None }
    }

    /// Something was sent. Reads no clock: that is for the next look.
    pub(crate) fn sent(self: Pin<&mut Self>) {
        *self.project().since = None;
    }

    /// A look, when there is nothing to send: ready once for each interval in which nothing was.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(interval) = *this.interval else { return Poll::Pending };
        let since = *this.since.get_or_insert_with(Instant::now);
        // Later than the clock can tell is never.
        let Some(due) = since.checked_add(interval.duration()) else { return Poll::Pending };
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(due)));
        }
        let Some(mut sleep) = this.sleep.as_pin_mut() else { return Poll::Pending };
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                *this.since = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_ready_once_for_each_idle_interval() {
        let start = Instant::now();
        let mut idle = pin!(Idle::new(Some(15 * SECOND)));
        for n in 1..=4 {
            poll_fn(|cx| idle.as_mut().poll(cx)).await;
            // The runtime's timer rounds up to a millisecond.
            let late = start.elapsed() - n * 15 * SECOND;
            assert!(late <= n * Duration::from_millis(1), "{late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_puts_it_off_by_exactly_an_interval() {
        let mut idle = pin!(Idle::new(Some(15 * SECOND)));
        for _ in 0..20 {
            assert!(timeout(10 * SECOND, poll_fn(|cx| idle.as_mut().poll(cx))).await.is_err());
            idle.as_mut().sent();
        }
        let last = Instant::now();
        poll_fn(|cx| idle.as_mut().poll(cx)).await;
        let waited = last.elapsed();
        assert!(waited >= 15 * SECOND && waited < 15 * SECOND + Duration::from_millis(2), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn off_and_beyond_the_clock_are_never() {
        for interval in [None, Some(Duration::MAX)] {
            let mut idle = pin!(Idle::new(interval));
            assert!(timeout(1_000_000 * SECOND, poll_fn(|cx| idle.as_mut().poll(cx))).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_interval_does_not_spin() {
        let mut idle = pin!(Idle::new(Some(Duration::from_nanos(1))));
        let start = Instant::now();
        for _ in 0..10 {
            poll_fn(|cx| idle.as_mut().poll(cx)).await;
            advance(Duration::from_micros(10)).await;
        }
        assert!(start.elapsed() >= Duration::from_millis(5));
    }
}
