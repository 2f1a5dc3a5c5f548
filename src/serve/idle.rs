//! Tells when nothing was sent for an interval.
//!
//! Re-arming a timer at each event costs a good part of what delivering the event costs. This timer is armed late
//! instead: it fires at the time for which it was once armed, and only then checks whether something was sent since. It
//! is a place in the [`Wheel`] that all streams of a runtime share.

use std::{
    num::NonZeroU64,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::wheel::{Place, Wheel};

/// An interval in nanoseconds. Half a millennium fits in half the size of a `Duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval(NonZeroU64);

/// The resolution of the runtime's timer.
const SHORTEST: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Idle {
    /// `None` until the first poll, because only then is the runtime certain to be there.
    wheel: Option<Arc<Wheel>>,
    /// The tick at which the stream is woken. 0 before the first one, and void once the wheel has taken it.
    tick: u64,
    /// The stream's key at that tick, or [`NONE`].
    key: u32,
    /// How long before that tick there was nothing to send any more, in the [units](Interval::unit) of the interval:
    /// a whole time would take twice the room. [`SENT`] if something was sent since the last poll.
    since: u32,
}

/// Something was sent.
const SENT: u32 = u32::MAX;

/// The stream has no place in the wheel.
const NONE: u32 = u32::MAX;

impl Interval {
    /// Returns `None` for a duration of zero.
    pub(crate) fn of(duration: Duration) -> Option<Self> {
        let nanos = u64::try_from(duration.max(SHORTEST).as_nanos()).unwrap_or(u64::MAX);
        NonZeroU64::new(nanos).filter(|_| !duration.is_zero()).map(Self)
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_nanos(self.0.get())
    }

    /// Returns the exponent of a unit that is less than a millionth of the interval, and so large that a few intervals
    /// fit a `u32`. It is a nanosecond for short intervals.
    fn unit(self) -> u32 {
        (u64::BITS - self.0.leading_zeros()).saturating_sub(28)
    }

    /// Returns a time of up to a few intervals in units.
    fn in_units(self, time: i128) -> u32 {
        u32::try_from(time >> self.unit()).unwrap_or(SENT - 1)
    }
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self { wheel: None, tick: 0, key: NONE, since: SENT }
    }

    /// Notes that something was sent. It reads no clock; the next poll does.
    #[inline]
    pub(crate) fn sent(&mut self) {
        self.since = SENT;
    }

    /// Notes that the next poll comes from another task than the last one.
    pub(crate) fn moved(&mut self) {
        let key = std::mem::replace(&mut self.key, NONE);
        if let Some(wheel) = self.wheel.as_ref().filter(|_| key != NONE) {
            wheel.disarm(Place { tick: self.tick, key });
        }
    }

    /// Called when there is nothing to send: ready once for each interval in which nothing was sent. It is late by up to
    /// a [tick](super::wheel).
    #[inline]
    pub(crate) fn poll(&mut self, interval: Interval, cx: &mut Context<'_>) -> Poll<()> {
        let wheel = self.wheel.get_or_insert_with(Wheel::current);
        if self.key != NONE && wheel.will_take(self.tick) {
            if self.since == SENT {
                // If the tick is over, the wheel is about to wake the stream.
                self.since = self.tick.checked_sub(wheel.now()).map_or(SENT, |left| interval.in_units(left.into()));
            }
            return Poll::Pending;
        }
        let now = wheel.now();
        let waited = match self.since {
            SENT => 0,
            since => i128::from(now) - i128::from(self.tick) + (i128::from(since) << interval.unit()),
        };
        let is_over = waited >= i128::from(interval.0.get());
        // What follows an interval begins the next one. If nobody polls during that one, two follow each other.
        self.arm(interval, now, if is_over { 0 } else { waited }, cx.waker());
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes a place in the wheel for a stream that has already waited for a part of the interval.
    fn arm(&mut self, interval: Interval, now: u64, waited: i128, waker: &Waker) {
        (self.key, self.since) = (NONE, SENT);
        let wheel = self.wheel.get_or_insert_with(Wheel::current);
        let place = |wheel: &Wheel, since: i128| {
            // A time that the clock can't represent never comes.
            let due = u64::try_from(since + i128::from(interval.0.get())).ok()?;
            wheel.arm(due, interval.0.get(), waker)
        };
        let mut since = i128::from(now) - waited;
        let mut placed = place(wheel, since);
        if placed.is_none() && wheel.is_over() {
            // The stream has moved here from a runtime that is gone. If this runtime is about to end too, nothing is left to
            // wake the stream.
            *wheel = Wheel::current();
            since = i128::from(wheel.now()) - waited;
            placed = place(wheel, since);
        }
        if let Some(Place { tick, key }) = placed {
            (self.tick, self.key, self.since) = (tick, key, interval.in_units(i128::from(tick) - since));
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.moved();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use tokio::{
        runtime::Builder,
        time::{Instant, advance, sleep, timeout},
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);
    /// By how much a timer with an interval of 15 seconds is late at most. The runtime's timer rounds up to a millisecond.
    const LATE: Duration = Duration::from_millis(257);

    fn interval(duration: Duration) -> Interval {
        Interval::of(duration).unwrap()
    }

    /// Waits until nothing was sent for an interval.
    async fn idle_for(idle: &mut Idle, duration: Duration) {
        poll_fn(|cx| idle.poll(interval(duration), cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_timer_is_ready_once_per_interval() {
        let mut idle = Idle::new();
        for _ in 0..4 {
            let start = Instant::now();
            idle_for(&mut idle, 15 * SECOND).await;
            let late = start.elapsed() - 15 * SECOND;
            assert!(late <= LATE, "{late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_timer_is_late_by_no_more_than_a_sixteenth_of_its_interval() {
        sleep(Duration::from_micros(1_234_567)).await;
        for millis in [1, 2, 15, 16, 31, 32, 33, 100, 999, 1_000, 4_095, 4_096, 60_000, 3_600_000] {
            let (start, wanted) = (Instant::now(), millis * MS);
            idle_for(&mut Idle::new(), wanted).await;
            let late = start.elapsed() - wanted;
            assert!(late <= (wanted / 16).clamp(MS, 256 * MS) + MS, "{late:?} after {wanted:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sending_postpones_the_idle_timer_by_one_interval() {
        let mut idle = Idle::new();
        for _ in 0..20 {
            assert!(timeout(10 * SECOND, idle_for(&mut idle, 15 * SECOND)).await.is_err());
            idle.sent();
        }
        let last = Instant::now();
        idle_for(&mut idle, 15 * SECOND).await;
        let waited = last.elapsed();
        assert!(waited >= 15 * SECOND && waited < 15 * SECOND + LATE, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_beyond_the_clock_never_ends() {
        assert_eq!(Interval::of(Duration::ZERO), None);
        assert!(timeout(1_000_000 * SECOND, idle_for(&mut Idle::new(), Duration::MAX)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_interval_does_not_spin() {
        let (mut idle, start) = (Idle::new(), Instant::now());
        for _ in 0..10 {
            idle_for(&mut idle, Duration::from_nanos(1)).await;
            advance(Duration::from_micros(10)).await;
        }
        assert!(start.elapsed() >= 5 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_has_moved_wakes_the_task_that_polls_it_last() {
        let mut idle = Idle::new();
        let first = tokio::spawn(async move {
            assert!(timeout(SECOND, idle_for(&mut idle, 15 * SECOND)).await.is_err());
            idle
        });
        let mut idle = first.await.unwrap();
        idle.moved();
        let start = Instant::now();
        tokio::spawn(async move { idle_for(&mut idle, 15 * SECOND).await }).await.unwrap();
        assert!(start.elapsed() <= 14 * SECOND + LATE);
    }

    #[test]
    fn a_timer_goes_on_where_it_is_polled_when_its_runtime_is_gone() {
        let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (first, second) = (runtime(), runtime());
        let mut idle = Idle::new();
        first.block_on(async {
            assert!(timeout(10 * SECOND, idle_for(&mut idle, 15 * SECOND)).await.is_err());
        });
        second.block_on(async {
            let (start, mut idle) = (Instant::now(), pin!(&mut idle));
            idle.moved();
            assert!(timeout(SECOND, poll_fn(|cx| idle.poll(interval(15 * SECOND), cx))).await.is_err());
            // The stream has a place on the first runtime's wheel, whose end wakes it.
            std::thread::spawn(|| drop(first)).join().unwrap();
            poll_fn(|cx| idle.poll(interval(15 * SECOND), cx)).await;
            assert!(start.elapsed() <= 15 * SECOND + LATE);
        });
    }
}
