//! One timer for all idle streams of a runtime: wakes each of them once its time has come. In the crate's own server, it also
//! serves the peers that do not read.
//!
//! A timer of tokio takes 112 bytes of each stream. Here, a stream takes a place among those that are due at the same
//! *tick*, 24 bytes with its waker, and a task of the runtime, the *driver*, sleeps until the next tick at which anybody
//! is due. It wakes the streams of a tick in slices and yields in between.
//!
//! Times are nanoseconds since the wheel began, by tokio's clock. How far apart ticks are is up to the streams: see
//! [`tick_for`].

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    future::poll_fn,
    iter::Peekable,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    footprint::{Slab, Values},
    hub::wait::{wake_each, wake_together},
    per_runtime::PerRuntime,
    sync::{Mutex, lock},
};

pub(crate) struct Wheel {
    /// The time from which the others are counted.
    began: Instant,
    /// The streams due at this tick or before have been taken out. [`OVER`] once the driver is gone.
    taken: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The wakers of the streams that are due at each tick.
    due: BTreeMap<u64, Slab<Waker>>,
    /// Wakes the driver, if it sleeps.
    driver: Option<Waker>,
    /// The driver wakes by itself at this time.
    wakes_at: u64,
}

/// A stream's place in a wheel. It is void once the wheel has taken out its tick, at which the stream is woken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) tick: u64,
    pub(crate) key: u32,
}

static WHEELS: PerRuntime<Wheel> = PerRuntime::new();

/// What `taken` is when nobody will be woken any more.
const OVER: u64 = u64::MAX;

/// The longest time by which a stream is woken late, beside what the runtime itself takes: 256 ms.
const LONGEST_TICK: u64 = 256 * MILLISECOND;
const MILLISECOND: u64 = 1_000_000;

/// How many streams are woken before the driver yields.
const SLICE: usize = 64;

/// Returns how far apart the ticks are for streams that wait this long: at most a sixteenth of that, and no more than
/// 256 ms. They are powers of two milliseconds, so that streams with similar intervals share their ticks.
fn tick_for(interval: u64) -> u64 {
    let millis = (interval / 16).clamp(MILLISECOND, LONGEST_TICK) / MILLISECOND;
    MILLISECOND << millis.ilog2()
}

impl Wheel {
    /// Returns the wheel of the runtime that polls the caller. Panics outside a runtime with time enabled, as tokio's
    /// timers do.
    pub(crate) fn current() -> Arc<Self> {
        let Ok((wheel, sleep)) = WHEELS.current(Self::is_over, || {
            let began = Instant::now();
            let state = Mutex::new(State { due: BTreeMap::new(), driver: None, wakes_at: OVER });
            // The timer is created here, so that it is the caller who learns that the runtime has no time.
            Ok::<_, Infallible>((Self { began, taken: AtomicU64::new(0), state }, Box::pin(sleep_until(began))))
        });
        if let Some(sleep) = sleep {
            let waking = Slab::default().into_values().peekable();
            drop(tokio::spawn(Driver { wheel: wheel.clone(), sleep, waking }.drive()));
        }
        wheel
    }

    /// Returns whether nobody will be woken any more, because the runtime is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.taken.load(Ordering::Acquire) == OVER
    }

    /// Returns the time.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        // The clock can't represent what does not fit.
        u64::try_from(Instant::now().saturating_duration_since(self.began).as_nanos()).unwrap_or(OVER)
    }

    /// Wakes `waker` at the first tick at or after `due`, for a stream with this interval. Returns `None` if that tick
    /// never comes, because the wheel is over or the clock can't represent it.
    pub(crate) fn arm(&self, due: u64, interval: u64, waker: &Waker) -> Option<Place> {
        let tick = due.checked_next_multiple_of(tick_for(interval))?;
        self.began.checked_add(Duration::from_nanos(tick))?;
        let waker = waker.clone();
        let mut state = lock(&self.state);
        // A tick that was taken never comes again, so that the places in it are void for good.
        let tick = tick.max(self.taken.load(Ordering::Acquire).checked_add(1)?);
        let key = state.due.entry(tick).or_default().insert(waker);
        let driver = if tick < state.wakes_at { state.driver.take() } else { None };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Some(Place { tick, key })
    }

    /// Returns whether a stream with a place at this tick is still to be woken.
    #[inline]
    pub(crate) fn will_take(&self, tick: u64) -> bool {
        tick > self.taken.load(Ordering::Acquire)
    }

    /// Gives a place back.
    pub(crate) fn disarm(&self, place: Place) {
        if !self.will_take(place.tick) {
            return;
        }
        let mut state = lock(&self.state);
        let Some(tick) = state.due.get_mut(&place.tick) else { return };
        let waker = tick.remove(place.key);
        if tick.len() == 0 {
            state.due.remove(&place.tick);
        }
        drop(state);
        // Only now, because a waker is foreign code.
        drop(waker);
    }

    /// Takes out the streams of the first tick, if it is due. Otherwise returns when it is.
    fn take_due(&self, driver: &Waker) -> Result<Slab<Waker>, u64> {
        let (driver, now) = (driver.clone(), self.now());
        let mut state = lock(&self.state);
        let next = state.due.keys().next().copied().unwrap_or(OVER);
        if next <= now
            && let Some(due) = state.due.remove(&next)
        {
            self.taken.store(next, Ordering::Release);
            return Ok(due);
        }
        (state.wakes_at, state.driver) = (next, Some(driver));
        Err(next)
    }

    /// Wakes nobody any more. Returns the streams that are left.
    fn end(&self) -> BTreeMap<u64, Slab<Waker>> {
        let mut state = lock(&self.state);
        self.taken.store(OVER, Ordering::Release);
        std::mem::take(&mut state.due)
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("began", &self.began).finish_non_exhaustive()
    }
}

/// The task that wakes the streams of a wheel. It ends with its runtime.
struct Driver {
    wheel: Arc<Wheel>,
    sleep: Pin<Box<Sleep>>,
    /// The streams that are due and have not been woken yet.
    waking: Peekable<Values<Waker>>,
}

impl Driver {
    async fn drive(mut self) {
        loop {
            poll_fn(|cx| self.poll_due(cx)).await;
            wake_together(self.waking.by_ref().take(SLICE));
            yield_now().await;
        }
    }

    /// Ready when there are streams to wake.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.waking.peek().is_none() {
            match self.wheel.take_due(cx.waker()) {
                Ok(due) => self.waking = due.into_values().peekable(),
                Err(OVER) => return Poll::Pending,
                Err(next) => {
                    self.sleep.as_mut().reset(self.wheel.began + Duration::from_nanos(next));
                    ready!(self.sleep.as_mut().poll(cx));
                }
            }
        }
        Poll::Ready(())
    }
}

/// The runtime shuts down. A stream that has moved to another runtime finds a place there once it is woken; the tasks of
/// this one are dropped.
impl Drop for Driver {
    fn drop(&mut self) {
        let left = self.wheel.end();
        wake_each(self.waking.by_ref().chain(left.into_values().flat_map(Slab::into_values)));
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake};

    use tokio::{
        runtime::Builder,
        time::{advance, sleep},
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    const SECOND: u64 = 1_000 * MILLISECOND;

    /// Arms `n` streams that are due in a second.
    fn armed(wheel: &Wheel, n: usize) -> (Arc<Count>, Vec<Place>) {
        let count = Arc::<Count>::default();
        let places = (0..n).map(|_| wheel.arm(wheel.now() + SECOND, SECOND, &count.clone().into()).unwrap()).collect();
        (count, places)
    }

    #[test]
    fn ticks_are_at_most_a_sixteenth_of_an_interval_apart() {
        let of = |millis: u64| tick_for(millis * MILLISECOND) / MILLISECOND;
        assert_eq!(
            [0, 1, 16, 31, 32, 1_000, 4_095, 4_096, u64::MAX / MILLISECOND].map(of),
            [1, 1, 1, 1, 2, 32, 128, 256, 256]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_streams_are_woken_in_slices() {
        let counting = async {
            let wheel = Wheel::current();
            let (count, _) = armed(&wheel, 10 * SLICE);
            // The driver sleeps until then.
            yield_now().await;
            advance(Duration::from_millis(1_032)).await;
            let mut woken = count.get();
            while woken < 10 * SLICE {
                yield_now().await;
                assert!(count.get() <= woken + 2 * SLICE, "others run in between");
                woken = count.get();
            }
        };
        tokio::spawn(counting).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_left_is_neither_woken_nor_kept() {
        let wheel = Wheel::current();
        let (count, places) = armed(&wheel, 100);
        let (stays, leave) = places.split_first().unwrap();
        leave.iter().for_each(|place| wheel.disarm(*place));
        assert_eq!(Arc::strong_count(&count), 2);
        sleep(Duration::from_secs(2)).await;
        assert_eq!((count.get(), Arc::strong_count(&count)), (1, 1));
        // A place that is void is nobody else's.
        let (other, _) = armed(&wheel, 1);
        wheel.disarm(*stays);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(other.get(), 1);
        assert!(lock(&wheel.state).due.is_empty());
    }

    #[test]
    fn each_runtime_has_a_wheel_of_its_own_that_keeps_no_stream_beyond_its_end() {
        let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let runtimes = [runtime(), runtime()];
        let current = |n: usize| runtimes[n].block_on(async { Wheel::current() });
        let wheels = [0, 1, 0, 1].map(current);
        assert!(Arc::ptr_eq(&wheels[0], &wheels[2]) && Arc::ptr_eq(&wheels[1], &wheels[3]));
        assert!(!Arc::ptr_eq(&wheels[0], &wheels[1]));

        let counts = [0, 1].map(|n| armed(&wheels[n], 1).0);
        let [first, second] = runtimes;
        drop(first);
        assert!(wheels[0].is_over() && Arc::strong_count(&counts[0]) == 1);
        assert!(wheels[0].arm(SECOND, SECOND, Waker::noop()).is_none());
        assert_eq!(counts[1].get(), 0);
        second.block_on(async { sleep(Duration::from_secs(2)).await });
        assert_eq!(counts[1].get(), 1);
    }

    #[test]
    fn streams_that_come_and_go_leave_no_tick_behind() {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let wheel = Wheel::current();
            for n in 0..1_000 {
                let place = wheel.arm(wheel.now() + n * SECOND, SECOND, Waker::noop()).unwrap();
                wheel.disarm(place);
            }
            assert!(lock(&wheel.state).due.is_empty());
        });
    }
}
