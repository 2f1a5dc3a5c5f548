//! Notifies the tasks that wait for a channel to be unread.

use std::sync::Arc;

use tokio::{sync::Notify, time::Instant};

/// Since when a channel has not been read, and whom to notify. It keeps the channel from being dropped.
pub(super) struct Vigil {
    /// How many tasks wait.
    pub(super) waiting: usize,
    /// When the last reader left, as far as this has seen. `None` while the channel is read.
    pub(super) left: Option<Instant>,
    pub(super) changed: Arc<Notify>,
}

/// Notifies the tasks that wait when it is dropped. No lock may be held at that time.
pub(super) struct Tidings(Arc<Notify>);

impl Drop for Tidings {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

impl Vigil {
    /// What it takes from the allocator, with what it shares.
    pub(super) const FOOTPRINT: usize = size_of::<Self>() + size_of::<Notify>() + 2 * size_of::<usize>();

    pub(super) fn new(live: usize) -> Self {
        Self { waiting: 0, left: (live == 0).then(Instant::now), changed: Arc::default() }
    }

    /// Updates this after a change. `live` is how many readers the channel has now, and `dropped` whether the channel
    /// was dropped.
    pub(super) fn see(&mut self, live: usize, dropped: bool) -> Option<Tidings> {
        let is_news = dropped || (live == 0) != self.left.is_some();
        if is_news {
            self.left = (live == 0).then(Instant::now);
        }
        is_news.then(|| Tidings(self.changed.clone()))
    }
}
