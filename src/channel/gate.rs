//! A number that grows, and those who wait for it to reach one.

use std::{collections::BTreeMap, task::Waker};

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

#[derive(Default)]
pub(super) struct Gate {
    reached: AtomicU64,
    /// By the number that they wait for.
    waiting: Mutex<BTreeMap<u64, Vec<Waker>>>,
}

impl Gate {
    pub(super) fn has_reached(&self, number: u64) -> bool {
        self.reached.load(Ordering::Acquire) >= number
    }

    /// Whether `number` is still to come, of which `waker` is told then.
    pub(super) fn wait(&self, number: u64, waker: &Waker) -> bool {
        if self.has_reached(number) {
            return false;
        }
        let mut waiting = lock(&self.waiting);
        // Once more: whoever opens it takes this lock after it has set the number.
        if self.has_reached(number) {
            return false;
        }
        let wakers = waiting.entry(number).or_default();
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        true
    }

    pub(super) fn reach(&self, number: u64) {
        self.reached.fetch_max(number, Ordering::AcqRel);
        let passed = {
            let mut waiting = lock(&self.waiting);
            match number.checked_add(1) {
                Some(next) => {
                    let still = waiting.split_off(&next);
                    std::mem::replace(&mut *waiting, still)
                }
                None => std::mem::take(&mut *waiting),
            }
        };
        passed.into_values().flatten().for_each(Waker::wake);
    }

    /// Begins anew, and wakes all: what they waited for means nothing any more.
    pub(super) fn reset(&self) {
        self.reached.store(0, Ordering::Release);
        let all = std::mem::take(&mut *lock(&self.waiting));
        all.into_values().flatten().for_each(Waker::wake);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_is_woken_once_when_the_number_is_reached() {
        let (gate, count) = (Gate::default(), Arc::new(Count(AtomicUsize::new(0))));
        let waker = Waker::from(count.clone());
        gate.reach(3);
        assert!(!gate.wait(3, &waker));
        assert!(gate.wait(5, &waker) && gate.wait(5, &waker) && gate.wait(7, &waker));
        gate.reach(4);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        gate.reach(6);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        gate.reset();
        assert_eq!((count.0.load(Ordering::SeqCst), gate.has_reached(1)), (2, false));
    }
}
