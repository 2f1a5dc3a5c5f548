//! A number that grows, and the tasks that wait until it has reached another number.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    num::NonZeroU64,
    task::Waker,
};

use crate::{
    hub::{seam::Place, wait::wake_many},
    sync::{AtomicU64, Mutex, Ordering, lock},
};

#[derive(Default)]
pub(crate) struct Level {
    reached: AtomicU64,
    /// The wakers of the waiting tasks, by place.
    waiting: Mutex<BTreeMap<Place, Waker>>,
    /// The number of the next task that waits.
    next: AtomicU64,
}

impl Level {
    pub(crate) fn has_reached(&self, number: u64) -> bool {
        self.reached.load(Ordering::Acquire) >= number
    }

    /// Returns whether `number` is still to be reached. If so, wakes `waker` once it is. Each waiting task has one
    /// place, and has to [leave](Self::leave) it when it no longer waits.
    pub(crate) fn wait(&self, number: u64, place: &mut Option<Box<Place>>, waker: &Waker) -> bool {
        if self.has_reached(number) {
            return false;
        }
        let mut waiting = lock(&self.waiting);
        // Checked again, because `reach` takes this lock after it has set the number.
        if self.has_reached(number) {
            return false;
        }
        let next = || NonZeroU64::MIN.saturating_add(self.next.fetch_add(1, Ordering::Relaxed));
        let who = place.as_ref().map_or_else(|| Some(next()), |place| place.who);
        let now = Place { number, who };
        let before = std::mem::replace(&mut **place.get_or_insert_with(|| Box::new(now)), now);
        let left = if before == now { None } else { waiting.remove(&before) };
        let replaced = match waiting.entry(now) {
            Entry::Occupied(same) if same.get().will_wake(waker) => None,
            Entry::Occupied(mut other) => Some(other.insert(waker.clone())),
            Entry::Vacant(free) => {
                free.insert(waker.clone());
                None
            }
        };
        drop(waiting);
        drop((left, replaced));
        true
    }

    /// Gives a place back.
    pub(crate) fn leave(&self, place: &mut Option<Box<Place>>) {
        let left = place.take().and_then(|place| lock(&self.waiting).remove(&place));
        drop(left);
    }

    /// Raises the number, and wakes the tasks that waited for it.
    pub(crate) fn reach(&self, number: u64) {
        self.reached.fetch_max(number, Ordering::AcqRel);
        let passed = {
            let mut waiting = lock(&self.waiting);
            match number.checked_add(1) {
                Some(number) => {
                    let still = waiting.split_off(&Place { number, who: None });
                    std::mem::replace(&mut *waiting, still)
                }
                None => std::mem::take(&mut *waiting),
            }
        };
        wake_many(passed.len(), passed.into_values());
    }

    /// Starts again from 0 and wakes all tasks, because what they waited for has lost its meaning.
    pub(crate) fn reset(&self) {
        self.reached.store(0, Ordering::Release);
        let all = std::mem::take(&mut *lock(&self.waiting));
        wake_many(all.len(), all.into_values());
    }
}

#[cfg(all(test, loom))]
#[path = "level/loom_tests.rs"]
mod loom_tests;

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
    fn a_waiter_is_woken_once_when_the_number_is_reached() {
        let (level, count) = (Level::default(), Arc::new(Count(AtomicUsize::new(0))));
        let waker = Waker::from(count.clone());
        let [mut none, mut one, mut other] = [None, None, None];
        level.reach(3);
        assert!(!level.wait(3, &mut none, &waker) && none.is_none());
        assert!(
            level.wait(5, &mut one, &waker) && level.wait(5, &mut one, &waker) && level.wait(7, &mut other, &waker)
        );
        level.reach(4);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        level.reach(6);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        level.reset();
        assert_eq!((count.0.load(Ordering::SeqCst), level.has_reached(1)), (2, false));
    }

    #[test]
    fn many_that_wait_are_woken_in_slices() {
        for reset in [false, true] {
            let driving = async move {
                let (level, count) = (Level::default(), Arc::new(Count(AtomicUsize::new(0))));
                for _ in 0..1_000 {
                    assert!(level.wait(5, &mut None, &count.clone().into()));
                }
                if reset {
                    level.reset()
                } else {
                    level.reach(5)
                }
                let first = count.0.load(Ordering::SeqCst);
                while count.0.load(Ordering::SeqCst) < 1_000 {
                    tokio::task::yield_now().await;
                }
                first
            };
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let first = runtime.block_on(async { tokio::spawn(driving).await.unwrap() });
            assert!((1..100).contains(&first), "{first} at once");
        }
    }

    #[test]
    fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let (level, count) = (Level::default(), Arc::new(Count(AtomicUsize::new(0))));
        let waker = Waker::from(count.clone());
        let [mut one, mut other] = [None, None];
        assert!(level.wait(5, &mut one, &waker) && level.wait(5, &mut other, &waker));
        level.leave(&mut one);
        // A task that waits for another number now waits for that one alone.
        assert!(level.wait(7, &mut other, &waker));
        level.reach(6);
        assert_eq!((count.0.load(Ordering::SeqCst), Arc::strong_count(&count)), (0, 3));
        level.leave(&mut other);
        assert_eq!((Arc::strong_count(&count), lock(&level.waiting).len()), (2, 0));
    }
}
