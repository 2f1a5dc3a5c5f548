//! How well a node follows its store: whether its feed is alive, and how far its mirrors lag behind.

use std::time::Duration;

use tokio::time::Instant;

use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Written by the driver, and read by whoever asks how the node is.
pub(crate) struct Pulse {
    born: Instant,
    /// When the mirrors were last known to be whole and the feed to be up to date, in milliseconds after `born`. 0 if
    /// there is nothing to follow.
    whole_at: AtomicU64,
    /// Whether the last feed has ended, and no other one has brought a level since.
    lost: AtomicBool,
    /// How many feeds were lost.
    losses: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        let (whole_at, lost, losses) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
        Self { born: Instant::now(), whole_at, lost, losses }
    }
}

impl Pulse {
    fn millis(&self, at: Instant) -> u64 {
        // 0 has a meaning of its own.
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// The node begins to follow the store, unless it did before.
    pub(super) fn begins(&self) {
        let _ = self.whole_at.compare_exchange(0, self.millis(Instant::now()), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Everything that was acknowledged before `at` is here.
    pub(super) fn is_whole(&self, at: Instant) {
        self.whole_at.fetch_max(self.millis(at), Ordering::Relaxed);
    }

    /// A feed has brought a level.
    pub(super) fn is_fed(&self) {
        self.lost.store(false, Ordering::Relaxed);
    }

    /// The feed has ended.
    pub(super) fn is_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// The node has nothing to follow any more.
    pub(super) fn rests(&self) {
        self.whole_at.store(0, Ordering::Relaxed);
        self.lost.store(false, Ordering::Relaxed);
    }

    /// Returns whether the feed is alive, or not needed.
    pub(crate) fn is_feed_alive(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
    }

    /// Returns how many feeds were lost.
    #[cfg(feature = "metrics")]
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Returns for how long the node may have missed what was acknowledged. Zero if it has nothing to follow.
    pub(crate) fn lag(&self) -> Duration {
        match self.whole_at.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            at => Duration::from_millis(self.millis(Instant::now()).saturating_sub(at)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_follows_nothing_does_not_lag() {
        let (pulse, second) = (Pulse::default(), Duration::from_secs(1));
        advance(second).await;
        assert_eq!(pulse.lag(), Duration::ZERO);
        pulse.begins();
        advance(second).await;
        // A second session goes on where the first one was.
        pulse.begins();
        assert_eq!(pulse.lag(), second);
        pulse.is_whole(Instant::now() - second / 2);
        assert_eq!(pulse.lag(), second / 2);
        pulse.rests();
        assert_eq!(pulse.lag(), Duration::ZERO);
    }
}
