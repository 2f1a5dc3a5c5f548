//! Long work in slices, so that no call waits for all of it.

/// Does a slice of some work, and leaves the rest to a task that yields between slices. Outside of a runtime all of it is done at
/// once. `slice` says whether there is more; when the runtime shuts down it is dropped before it has done all.
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

    /// Work of three slices, and how many were done.
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
