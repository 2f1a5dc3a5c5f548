//! Waiting and waking: the readers of one channel that have nothing to read.
//!
//! A reader *parks* its waker under the lock under which it saw that there was nothing to read; a publisher takes wakers
//! out under the same lock, and wakes them after it has let go of it. So no wake-up is lost, no waker's code runs under
//! the lock, and a reader that was woken is not woken again before it has looked and parked anew.
//!
//! To wake all is to take the whole set away, at the cost of one pointer however many they are. Places in a set that was
//! taken mean nothing any more: each set has a generation, and a [`Ticket`] of another generation is void.

use std::task::Waker;

use super::slab::Slab;

/// The parked readers of a channel.
pub(crate) struct Waiters {
    parked: Slab<Waker>,
    generation: u64,
}

/// A place among the parked readers, or none. Void as soon as its reader was woken.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    /// Of no set if 0.
    generation: u64,
    key: u32,
}

/// Wakers to be woken when no lock is held any more. Dropped, it wakes too.
#[derive(Default)]
#[must_use]
pub(crate) struct Wakeups(Slab<Waker>);

impl Default for Waiters {
    fn default() -> Self {
        Self { parked: Slab::default(), generation: 1 }
    }
}

impl Waiters {
    /// How many are parked.
    #[cfg(all(test, loom))]
    pub(crate) fn len(&self) -> usize {
        self.parked.len()
    }

    /// Parks `waker` at the ticket's place, or a new one. Gives back the waker that it took the place of, to be dropped
    /// when the lock is released.
    pub(crate) fn park(&mut self, ticket: &mut Ticket, waker: &Waker) -> Option<Waker> {
        if ticket.generation == self.generation
            && let Some(parked) = self.parked.get_mut(ticket.key)
        {
            return (!parked.will_wake(waker)).then(|| std::mem::replace(parked, waker.clone()));
        }
        *ticket = Ticket { generation: self.generation, key: self.parked.insert(waker.clone()) };
        None
    }

    /// Takes out the waker of one reader, if it is parked.
    pub(crate) fn take(&mut self, ticket: &mut Ticket) -> Option<Waker> {
        let Ticket { generation, key } = std::mem::take(ticket);
        if generation == self.generation { self.parked.remove(key) } else { None }
    }

    /// Takes all wakers out.
    pub(crate) fn take_all(&mut self) -> Slab<Waker> {
        self.generation += 1;
        // Most of them will park again: in one allocation instead of one at each doubling.
        let room = Slab::with_room_of(&self.parked);
        std::mem::replace(&mut self.parked, room)
    }
}

impl Wakeups {
    pub(crate) fn of_all(all: Slab<Waker>) -> Self {
        Self(all)
    }

    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.0.insert(waker);
        }
    }
}

/// So many are woken by the publisher itself; the rest is left to a task of its own.
const INLINE: usize = 64;

impl Drop for Wakeups {
    fn drop(&mut self) {
        // All there is in most channels.
        if let Some(first) = self.0.remove(0) {
            first.wake();
        }
        if self.0.len() > 0 {
            wake(std::mem::take(&mut self.0).into_values());
        }
    }
}

#[cfg(loom)]
fn wake(wakers: impl Iterator<Item = Waker>) {
    let _ = INLINE;
    wakers.for_each(Waker::wake);
}

/// Wakes a few at once, and many in slices between which other tasks run, so that no publisher waits for ten thousand
/// wake-ups. Outside of a runtime of several threads there is no task that is sure to run, and it does wait.
#[cfg(not(loom))]
fn wake(wakers: impl Iterator<Item = Waker> + Send + 'static) {
    use tokio::runtime::RuntimeFlavor;

    let mut wakers = Rest(wakers.fuse().peekable());
    wakers.slice();
    // A runtime of one thread runs only while somebody drives it, and the publish may be the last that it is driven for.
    if wakers.0.peek().is_some()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
        && runtime.runtime_flavor() != RuntimeFlavor::CurrentThread
    {
        runtime.spawn(async move {
            while wakers.0.peek().is_some() {
                wakers.slice();
                tokio::task::yield_now().await;
            }
        });
    }
}

/// Wakers that are all woken in the end, even if a runtime that shuts down drops the task that has them.
#[cfg(not(loom))]
struct Rest<I: Iterator<Item = Waker>>(std::iter::Peekable<I>);

#[cfg(not(loom))]
impl<I: Iterator<Item = Waker>> Rest<I> {
    fn slice(&mut self) {
        self.0.by_ref().take(INLINE).for_each(Waker::wake);
    }
}

#[cfg(not(loom))]
impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
    fn drop(&mut self) {
        self.0.by_ref().for_each(Waker::wake);
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

    /// So many that are to be woken, and how many were.
    fn parked(n: usize) -> (Wakeups, Arc<Count>) {
        let (mut waiters, count) = (Waiters::default(), Arc::new(Count::default()));
        for _ in 0..n {
            assert!(waiters.park(&mut Ticket::default(), &count.clone().into()).is_none());
        }
        (Wakeups::of_all(waiters.take_all()), count)
    }

    /// Runs on when nobody drives it.
    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).build().unwrap()
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
            runtime().block_on(async { tokio::spawn(publishing).await.unwrap() });
        }
    }

    #[test]
    fn who_publishes_where_no_task_may_run_wakes_everybody() {
        let (wakeups, count) = parked(1_000);
        drop(wakeups);
        assert_eq!(count.get(), 1_000, "outside of a runtime");
        let (wakeups, count) = parked(1_000);
        let driven = Builder::new_current_thread().build().unwrap();
        driven.block_on(async { tokio::spawn(async { drop(wakeups) }).await.unwrap() });
        assert_eq!(count.get(), 1_000, "a runtime that nobody may drive any more");
        let (wakeups, count) = parked(1_000);
        let runtime = runtime();
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
        // By what they point to: of two clones it is not sure that they know each other.
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
