//! Looks for the slowest reader of the hub, for whoever asks how far readers are behind.

use std::time::{Duration, Instant};

use super::{engine::Hub, state::Shared};

impl Hub {
    /// Returns how old the oldest event is that some live reader has yet to take. Looks at all readers, a slice at a
    /// time. Events for single clients don't count, nor do those that were evicted before their reader got them.
    pub(crate) fn slowest_lag(&self, now: Instant) -> Duration {
        self.registry.all().map(|channel| channel.slowest_lag(now)).max().unwrap_or_default()
    }
}

impl Shared {
    fn slowest_lag(&self, now: Instant) -> Duration {
        let (mut from, mut slowest) = (Some(0), None);
        while let Some(slice) = from {
            let state = self.look();
            let seen = state.readers.slowest_in(slice, state.log.last(None), &mut from);
            slowest = [slowest, seen].into_iter().flatten().min();
        }
        slowest.and_then(|seen| self.look().log.age_after(seen, now)).unwrap_or_default()
    }
}
