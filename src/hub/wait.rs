//! Waiting and waking: the readers of one channel that have nothing to read.
//!
//! A reader *parks* its waker under the lock under which it saw that there was nothing to read. A publisher takes
//! wakers out under the same lock, and wakes them after it has released the lock. Therefore no wake-up is lost, no
//! waker's code runs under the lock, and a reader that was woken is not woken again before it has looked and parked
//! again.
//!
//! Waking all readers takes the whole set away, which costs one pointer no matter how many there are. Places in a set
//! that was taken are void: each set has a generation, and a [`Ticket`] of another generation means nothing.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Waker;

use crate::{
    footprint::{ByNumber, Slab},
    log::LaneId,
};

/// The parked readers of a channel, or those of one client.
pub(crate) struct Waiters {
    parked: Slab<Waker>,
    generation: u64,
}

/// A place among the parked readers, or none. Void as soon as its reader was woken.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    /// The generation of the set. 0 if the ticket has no place.
    generation: u64,
    key: u32,
}

/// Wakers to wake once no lock is held any more. Dropping it wakes them.
#[derive(Default)]
#[must_use = "the readers are woken when it is dropped, which must not happen under a lock"]
pub(crate) struct Wakeups {
    wakers: Slab<Waker>,
    /// The parked readers of clients that have many, each client's in a set of its own.
    crowds: Option<Box<ByNumber<LaneId, Waiters>>>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self::of(1)
    }
}

impl Waiters {
    /// Creates an empty set of this generation.
    pub(crate) fn of(generation: u64) -> Self {
        Self { parked: Slab::default(), generation }
    }

    /// Returns how many readers are parked.
    #[cfg(all(test, loom))]
    pub(crate) fn len(&self) -> usize {
        self.parked.len()
    }

    /// Parks `waker` at the ticket's place, or at a new one. Returns the waker that it replaced, which must be dropped
    /// after the lock is released.
    #[inline]
    pub(crate) fn park(&mut self, ticket: &mut Ticket, waker: &Waker) -> Option<Waker> {
        if ticket.generation == self.generation
            && let Some(parked) = self.parked.get_mut(ticket.key)
        {
            return (!parked.will_wake(waker)).then(|| std::mem::replace(parked, waker.clone()));
        }
        self.put(ticket, waker.clone());
        None
    }

    /// Parks a waker at a new place.
    #[inline]
    pub(crate) fn put(&mut self, ticket: &mut Ticket, waker: Waker) {
        *ticket = Ticket { generation: self.generation, key: self.parked.insert(waker) };
    }

    /// Takes out the waker of one reader, if the reader is parked.
    pub(crate) fn take(&mut self, ticket: &mut Ticket) -> Option<Waker> {
        let Ticket { generation, key } = std::mem::take(ticket);
        if generation == self.generation { self.parked.remove(key) } else { None }
    }

    /// Returns how many bytes the waiters take from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        self.parked.footprint()
    }

    /// Gives back room beyond what `readers` will take.
    pub(crate) fn give_back(&mut self, readers: usize) {
        self.parked.give_back(readers);
    }

    /// Takes all wakers out.
    pub(crate) fn take_all(&mut self) -> Slab<Waker> {
        self.generation += 1;
        // Most readers will park again. This makes one allocation instead of one at each doubling.
        let room = Slab::with_room_of(&self.parked);
        std::mem::replace(&mut self.parked, room)
    }
}

impl Ticket {
    /// Returns the generation of the set that the ticket has a place in. The set may be gone.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

impl Wakeups {
    pub(crate) fn of_all(wakers: Slab<Waker>) -> Self {
        Self { wakers, crowds: None }
    }

    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.wakers.insert(waker);
        }
    }

    /// Adds the parked readers of clients that have many.
    pub(crate) fn add_crowds(&mut self, crowds: ByNumber<LaneId, Waiters>) {
        self.crowds = (!crowds.is_empty()).then(|| Box::new(crowds));
    }
}

/// The number of readers that the publisher itself wakes. A separate task wakes the rest.
const INLINE: usize = 64;

impl Drop for Wakeups {
    fn drop(&mut self) {
        if let Some(crowds) = self.crowds.take() {
            let of_crowds = crowds.into_entries().flat_map(|(_, crowd)| crowd.parked.into_values());
            // A crowd alone is more than the publisher wakes itself.
            return wake_many(usize::MAX, std::mem::take(&mut self.wakers).into_values().chain(of_crowds));
        }
        // Most channels have one reader or none.
        let first = self.wakers.remove(0);
        if self.wakers.len() > 0 {
            wake_many(self.wakers.len(), std::mem::take(&mut self.wakers).into_values());
        }
        wake_each(first);
    }
}

/// Wakes all of them, even if a waker panics. A waker is foreign code: its panic is not the publisher's fault, and the
/// other readers should not have to wait for the next event because of it. The panic hook has reported the panic.
#[cfg(not(loom))]
pub(crate) fn wake_each(wakers: impl IntoIterator<Item = Waker>) {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let mut wakers = wakers.into_iter();
    let mut wake_rest = || {
        for waker in wakers.by_ref() {
            waker.wake();
        }
    };
    // Unwind safety: the iterator has given up a waker before that waker is woken.
    while catch_unwind(AssertUnwindSafe(&mut wake_rest)).is_err() {}
}

/// Whether many tasks were woken together a moment ago. It is a guess, on which only speed depends.
#[cfg(not(loom))]
static TOGETHER: AtomicBool = AtomicBool::new(false);

/// This many tasks are many.
#[cfg(not(loom))]
const MANY: usize = 8;

/// Wakes tasks that wait for the same thing, as [`wake_each`] does.
#[cfg(not(loom))]
pub(crate) fn wake_together(wakers: impl IntoIterator<Item = Waker>) {
    let mut woken = 0;
    wake_each(wakers.into_iter().inspect(|_| woken += 1));
    // Mostly it is set already, and a store would take the memory away from other processors.
    if woken >= MANY && !TOGETHER.load(Relaxed) {
        TOGETHER.store(true, Relaxed);
    }
}

/// Returns whether a task that runs now was probably woken together with many others.
#[cfg(all(not(loom), feature = "server"))]
pub(crate) fn are_woken_together() -> bool {
    TOGETHER.load(Relaxed)
}

/// Notes that tasks are no longer woken together.
#[cfg(all(not(loom), feature = "server", unix))]
pub(crate) fn wakes_few() {
    TOGETHER.store(false, Relaxed);
}

#[cfg(loom)]
pub(crate) fn wake_together(wakers: impl IntoIterator<Item = Waker>) {
    wake_each(wakers);
}

#[cfg(loom)]
pub(crate) fn wake_each(wakers: impl IntoIterator<Item = Waker>) {
    // loom reports what it finds by panicking.
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(loom)]
pub(crate) fn wake_many(_: usize, wakers: impl Iterator<Item = Waker> + Send + 'static) {
    let _ = INLINE;
    wake_each(wakers);
}

/// Wakes `number` tasks: a few at once, and the rest in a task that wakes them in slices, so that no publisher waits
/// for ten thousand wake-ups. Outside a runtime with several threads no task is certain to run, so the publisher wakes
/// all of them.
#[cfg(not(loom))]
pub(crate) fn wake_many(number: usize, mut wakers: impl Iterator<Item = Waker> + Send + 'static) {
    use tokio::runtime::{Handle, RuntimeFlavor};

    let many = number > INLINE;
    // A current-thread runtime runs only while it is driven, and may not be driven again after this publish.
    let runtime = Handle::try_current().ok().filter(|runtime| runtime.runtime_flavor() != RuntimeFlavor::CurrentThread);
    let Some(runtime) = runtime.filter(|_| many) else { return wake_together(wakers) };
    let few: Vec<_> = wakers.by_ref().take(INLINE).collect();
    runtime.spawn(Rest(wakers.peekable()).wake_in_slices());
    // Other workers can't steal the task that a worker has scheduled last: it runs when this task yields, which may be
    // never. So schedule another task after the one that matters, because what is woken below need not be tasks of
    // this runtime.
    runtime.spawn(std::future::ready(()));
    wake_together(few);
}

/// Wakers that are all woken in the end, even if a runtime that shuts down drops the task that holds them.
#[cfg(not(loom))]
struct Rest<I: Iterator<Item = Waker>>(std::iter::Peekable<I>);

#[cfg(not(loom))]
impl<I: Iterator<Item = Waker>> Rest<I> {
    async fn wake_in_slices(mut self) {
        while self.0.peek().is_some() {
            wake_together(self.0.by_ref().take(INLINE));
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(not(loom))]
impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
    fn drop(&mut self) {
        wake_each(self.0.by_ref());
    }
}

#[cfg(all(test, loom))]
#[path = "wait/loom_tests.rs"]
pub(crate) mod loom_tests;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        runtime::{Builder, Runtime},
        task::yield_now,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// Returns the wake-ups of `n` parked readers, and a counter of those that were woken.
    fn parked(n: usize) -> (Wakeups, Arc<Count>) {
        let (mut waiters, count) = (Waiters::default(), Arc::new(Count::default()));
        for _ in 0..n {
            assert!(waiters.park(&mut Ticket::default(), &count.clone().into()).is_none());
        }
        (Wakeups::of_all(waiters.take_all()), count)
    }

    /// Returns a runtime that keeps running while nothing drives it.
    fn runtime(threads: usize) -> Runtime {
        Builder::new_multi_thread().worker_threads(threads).build().unwrap()
    }

    #[test]
    fn a_publisher_wakes_a_few_itself_and_a_task_the_rest_in_slices() {
        for n in [0, 1, 2, 65, 66, 1_000] {
            let publishing = async move {
                let (wakeups, count) = parked(n);
                drop(wakeups);
                let mut woken = count.get();
                assert_eq!(woken, n.min(1 + INLINE));
                for _ in 0..20 {
                    yield_now().await;
                    assert!(count.get() <= woken + 2 * INLINE, "others run in between");
                    woken = count.get();
                }
                assert_eq!(woken, n);
            };
            runtime(1).block_on(async { tokio::spawn(publishing).await.unwrap() });
        }
    }

    #[test]
    fn a_publisher_that_does_not_yield_keeps_no_reader_from_being_woken() {
        let publishing = async {
            let (wakeups, count) = parked(1_000);
            drop(wakeups);
            // Blocks its thread until the last reader is woken. The time only bounds a failing test.
            let begun = std::time::Instant::now();
            while count.get() < 1_000 && begun.elapsed().as_secs() < 10 {
                std::thread::yield_now();
            }
            count.get()
        };
        let woken = runtime(2).block_on(async { tokio::spawn(publishing).await.unwrap() });
        assert_eq!(woken, 1_000);
    }

    #[test]
    fn a_waker_that_panics_keeps_no_other_reader_from_being_woken() {
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("a waker's own bug");
            }
        }
        let among = |n: usize| {
            let (mut waiters, count) = (Waiters::default(), Arc::new(Count::default()));
            for place in 0..n {
                let waker = if place % 3 == 0 { Arc::new(Panics).into() } else { count.clone().into() };
                assert!(waiters.park(&mut Ticket::default(), &waker).is_none());
            }
            (Wakeups::of_all(waiters.take_all()), count)
        };
        for n in [3, 300] {
            let (wakeups, count) = among(n);
            drop(wakeups);
            assert_eq!(count.get(), 2 * n / 3, "outside of a runtime");
            let (wakeups, count) = among(n);
            let runtime = runtime(2);
            runtime.block_on(async { tokio::spawn(async { drop(wakeups) }).await.unwrap() });
            drop(runtime);
            assert_eq!(count.get(), 2 * n / 3, "in a task");
        }
    }

    #[test]
    fn a_publisher_where_no_task_may_run_wakes_everybody() {
        let (wakeups, count) = parked(1_000);
        drop(wakeups);
        assert_eq!(count.get(), 1_000, "outside of a runtime");
        let (wakeups, count) = parked(1_000);
        let driven = Builder::new_current_thread().build().unwrap();
        driven.block_on(async { tokio::spawn(async { drop(wakeups) }).await.unwrap() });
        assert_eq!(count.get(), 1_000, "a runtime that nobody may drive any more");
        let (wakeups, count) = parked(1_000);
        let runtime = runtime(1);
        runtime.block_on(async { tokio::spawn(async { drop(wakeups) }).await.unwrap() });
        drop(runtime);
        assert_eq!(count.get(), 1_000, "a runtime that shuts down");
    }

    #[test]
    fn a_ticket_is_a_place_until_its_reader_is_woken() {
        let wakers = [0, 1].map(|_| Waker::from(Arc::new(Count::default())));
        let (mut waiters, mut ticket) = (Waiters::default(), Ticket::default());
        assert!(waiters.take(&mut ticket).is_none());
        assert!(waiters.park(&mut ticket, &wakers[0]).is_none());
        // Compares what the wakers point to, because two clones may not know that they are equal.
        let is = |n: usize| {
            let data = wakers[n].data();
            move |waker: Waker| waker.data() == data
        };
        assert!(waiters.park(&mut ticket, &wakers[0]).is_none_or(is(0)), "it is there");
        assert!(waiters.park(&mut ticket, &wakers[1]).is_some_and(is(0)), "in the place of the other");
        assert!(waiters.take(&mut ticket).is_some_and(is(1)));
        assert!(waiters.take(&mut ticket).is_none());

        waiters.park(&mut ticket, &wakers[0]);
        assert_eq!(waiters.take_all().len(), 1);
        let mut other = Ticket::default();
        waiters.park(&mut other, &wakers[1]);
        assert!(waiters.take(&mut ticket).is_none(), "it is of a set that is gone");
        assert_eq!(waiters.take_all().len(), 1);
    }

    #[test]
    fn what_is_added_is_woken_too() {
        let (mut wakeups, count) = parked(0);
        for _ in 0..3 {
            wakeups.add(Some(count.clone().into()));
            wakeups.add(None);
        }
        drop(wakeups);
        assert_eq!(count.get(), 3);
    }
}
