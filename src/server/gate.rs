//! The open connections, and how they learn that the server is shutting down.

use std::{sync::atomic::AtomicU8, task::Waker};

use tokio::sync::Notify;

use crate::{
    footprint::Slab,
    hub::wait::wake_each,
    sync::{Mutex, Ordering, lock},
};

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// Anything.
    Open,
    /// Only finish what it has begun.
    Closing,
    /// Nothing.
    Cut,
}

/// The connections of a server.
#[derive(Default)]
pub(super) struct Gate {
    phase: AtomicU8,
    /// A seat for each connection, with the waker of its task once the task was polled.
    seats: Mutex<Slab<Option<Waker>>>,
    /// Notified when the last connection leaves.
    empty: Notify,
}

/// How many tasks a shutdown wakes in one go.
const SLICE: usize = 1_000;

impl Gate {
    #[inline]
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Open,
            1 => Phase::Closing,
            _ => Phase::Cut,
        }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.seats).len()
    }

    /// Takes a seat, unless `max` are taken or the server is shutting down.
    pub(super) fn enter(&self, max: usize) -> Option<u32> {
        let mut seats = lock(&self.seats);
        (seats.len() < max && self.phase() == Phase::Open).then(|| seats.insert(None))
    }

    /// Sets the waker that is woken when the phase changes.
    pub(super) fn watch(&self, seat: u32, waker: Waker) {
        let replaced = lock(&self.seats).get_mut(seat).map(|place| place.replace(waker));
        // Only now, because a waker is foreign code.
        drop(replaced);
    }

    /// Frees a seat.
    pub(super) fn leave(&self, seat: u32) {
        let (waker, left) = {
            let mut seats = lock(&self.seats);
            (seats.remove(seat), seats.len())
        };
        drop(waker);
        if left == 0 {
            self.empty.notify_waiters();
        }
    }

    /// Waits until no connection is left.
    pub(super) async fn emptied(&self) {
        loop {
            // A connection that leaves from here on notifies this future.
            let empty = self.empty.notified();
            if self.len() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Begins a phase, and tells all connections.
    pub(super) async fn begin(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
        let mut wakers = self.wakers().into_iter();
        while wakers.len() > 0 {
            wake_each(wakers.by_ref().take(SLICE));
            tokio::task::yield_now().await;
        }
    }

    /// Returns the wakers of all tasks that have a seat. A connection that takes a seat later reads the phase first.
    fn wakers(&self) -> Vec<Waker> {
        let seats = lock(&self.seats);
        (0..seats.places()).filter_map(|place| seats.at(place)?.1.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use super::*;

    /// A waker that looks whether its gate is locked while it is dropped.
    struct Looks {
        gate: Weak<Gate>,
        unlocked: Arc<AtomicUsize>,
    }

    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            let is_unlocked = self.gate.upgrade().is_none_or(|gate| gate.seats.try_lock().is_ok());
            self.unlocked.fetch_add(usize::from(is_unlocked), SeqCst);
        }
    }

    #[test]
    fn a_waker_is_not_dropped_under_the_lock() {
        let (gate, unlocked) = (Arc::<Gate>::default(), Arc::<AtomicUsize>::default());
        let waker = || Arc::new(Looks { gate: Arc::downgrade(&gate), unlocked: unlocked.clone() }).into();
        let seat = gate.enter(1).unwrap();
        gate.watch(seat, waker());
        gate.watch(seat, waker());
        assert_eq!(unlocked.load(SeqCst), 1);
        gate.leave(seat);
        assert_eq!(unlocked.load(SeqCst), 2);
    }
}
