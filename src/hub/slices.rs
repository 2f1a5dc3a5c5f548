//! Does long work in slices, so that no call waits for all of it.

/// Does a slice of some work, and leaves the rest to a task that yields between slices. Outside a runtime, does all of
/// it at once. `slice` returns whether there is more. A runtime that shuts down drops `slice` before it has done all
/// the work.
#[cfg(not(loom))]
pub(crate) fn in_slices(mut slice: impl FnMut() -> bool + Send + 'static) {
    if !slice() {
        return;
    }
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(async move {
            while slice() {
                tokio::task::yield_now().await;
            }
        })),
        Err(_) => while slice() {},
    }
}

#[cfg(loom)]
pub(crate) fn in_slices(mut slice: impl FnMut() -> bool + Send + 'static) {
    while slice() {}
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::task::yield_now;

    use super::*;

    /// Returns work of three slices, and a counter of those that were done.
    fn work() -> (Arc<AtomicUsize>, impl FnMut() -> bool + Send + 'static) {
        let done = Arc::new(AtomicUsize::new(0));
        let counted = done.clone();
        (done, move || counted.fetch_add(1, Ordering::SeqCst) < 2)
    }

    #[tokio::test]
    async fn one_slice_is_done_at_once_and_the_others_by_a_task_that_yields() {
        let (done, slice) = work();
        in_slices(slice);
        assert_eq!(done.load(Ordering::SeqCst), 1);
        for expected in [2, 3, 3] {
            yield_now().await;
            assert_eq!(done.load(Ordering::SeqCst), expected);
        }
    }

    #[test]
    fn all_is_done_at_once_outside_of_a_runtime() {
        let (done, slice) = work();
        in_slices(slice);
        assert_eq!(done.load(Ordering::SeqCst), 3);
    }
}
