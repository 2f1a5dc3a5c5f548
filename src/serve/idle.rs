//! Tells when nothing was sent for an interval.
//!
//! Re-arming a timer at each event costs a good part of what delivering the event costs. This timer is armed late
//! instead: it fires at the time for which it was once armed, and only then checks whether something was sent since.

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
        // Since when there has been nothing to send; `None` if something was sent since the last poll.
        since: Option<Instant>,
        // Created at the first poll, because only then is the runtime certain to be there.
        #[pin]
        sleep: Option<Sleep>,
    }
}

/// An interval in nanoseconds. Half a millennium fits in half the size of a `Duration`.
#[derive(Debug, Clone, Copy)]
struct Interval(NonZeroU64);

impl Interval {
    /// Returns `None` for a duration of zero.
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

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval.map(Interval::duration)
    }

    /// Notes that something was sent. It reads no clock; the next poll does.
    pub(crate) fn sent(self: Pin<&mut Self>) {
        *self.project().since = None;
    }

    /// Called when there is nothing to send: ready once for each interval in which nothing was sent.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(interval) = *this.interval else { return Poll::Pending };
        let since = *this.since.get_or_insert_with(Instant::now);
        // A time that the clock can't represent never comes.
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
    async fn an_idle_timer_is_ready_once_per_interval() {
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
    async fn sending_postpones_the_idle_timer_by_exactly_one_interval() {
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
    async fn an_interval_that_is_off_or_beyond_the_clock_never_ends() {
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
