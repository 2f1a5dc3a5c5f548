//! What each tokio runtime of the process has one of, such as a timer that all of its streams share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::{Handle, Id};

/// The values of all runtimes. Each lives as long as somebody holds it, which usually is a task of its runtime.
pub(crate) struct PerRuntime<T>(Mutex<Vec<(Id, Weak<T>)>>);

impl<T> PerRuntime<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Returns the value of the runtime that polls the caller, unless it is `over`. Otherwise makes one, and returns it
    /// with what `make` wants to do with it. If two threads do this at once, only one gets that back.
    ///
    /// Panics outside a runtime, as tokio's timers and sockets do.
    pub(crate) fn current<E, W>(
        &self,
        is_over: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<(T, W), E>,
    ) -> Result<(Arc<T>, Option<W>), E> {
        let runtime = Handle::current().id();
        let find = |all: &[(Id, Weak<T>)]| {
            all.iter()
                .filter(|(id, _)| *id == runtime)
                .filter_map(|(_, value)| value.upgrade())
                .find(|value| !is_over(value))
        };
        if let Some(value) = find(&self.lock()) {
            return Ok((value, None));
        }
        // No lock is held, because it may panic.
        let (value, work) = make()?;
        let mut all = self.lock();
        if let Some(value) = find(&all) {
            return Ok((value, None));
        }
        let value = Arc::new(value);
        all.retain(|(_, value)| value.strong_count() > 0);
        all.push((runtime, Arc::downgrade(&value)));
        Ok((value, Some(work)))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Id, Weak<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
