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
/// wake-ups. Outside of a runtime there is no such task, and it does wait.
#[cfg(not(loom))]
fn wake(wakers: impl Iterator<Item = Waker> + Send + 'static) {
    use tokio::runtime::RuntimeFlavor;

    let mut wakers = Rest(wakers.fuse().peekable());
    wakers.slice();
    // A runtime of one thread runs only while somebody drives it, which is sure from within one of its tasks; a publisher
    // that blocks on no more than this publish wakes all by itself.
    if wakers.0.peek().is_some()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
        && (runtime.runtime_flavor() != RuntimeFlavor::CurrentThread || tokio::task::try_id().is_some())
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
pub(super) mod loom_tests;
