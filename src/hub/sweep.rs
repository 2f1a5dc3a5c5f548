//! What has to be done to a hub now and then: evicting what is too old, dropping what is idle, making room.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{engine::Hub, registry::SHARDS, state::Shared};
use crate::{
    sync::{AtomicU64, AtomicUsize, Mutex, Ordering},
    trace::debug,
    wire::cursor::Offset,
};

/// When the next shard is due to be swept, and which; and when all of them may be because the hub has too many channels.
/// In milliseconds since the hub began, so that a publish looks at no more than a number.
pub(crate) struct Sweep {
    began: Instant,
    next: AtomicU64,
    shard: AtomicUsize,
    next_of_all: AtomicU64,
    /// Held by the one who makes room in the hub.
    reclaiming: Mutex<()>,
}

impl Sweep {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            next: AtomicU64::new(0),
            shard: AtomicUsize::new(0),
            next_of_all: AtomicU64::new(0),
            reclaiming: Mutex::new(()),
        }
    }

    /// Whether it is time, for the one who is asked so first; then it is again in `every`.
    fn is_due(&self, next: &AtomicU64, now: Instant, every: Duration) -> bool {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(now.saturating_duration_since(self.began));
        let due = next.load(Ordering::Relaxed);
        let then = now.saturating_add(millis(every));
        due <= now && next.compare_exchange(due, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A shard is swept this often at most, and all of them in sixteen times this.
const SWEEP_EVERY: Duration = Duration::from_secs(4);

impl Hub {
    /// What has to be done now and then, done by those who publish and open: there is no task behind a hub.
    pub(crate) fn maintain(&self, now: Instant) {
        if self.memory.bytes() > self.settings.limits.hub_bytes {
            self.reclaim();
        }
        if self.sweep.is_due(&self.sweep.next, now, SWEEP_EVERY) {
            self.sweep(self.sweep.shard.fetch_add(1, Ordering::Relaxed), now);
        }
    }

    /// Evicts what is too old, and drops channels that are idle.
    fn sweep(&self, shard: usize, now: Instant) {
        for shared in self.registry.in_shard(shard) {
            let idle = {
                let mut state = shared.change();
                self.memory.release(state.log.enforce(now), &self.counters);
                state.is_idle()
            };
            if idle && self.remote.is_none() {
                self.drop_if_idle(&shared);
            }
        }
    }

    /// Makes room for another channel, if that was not tried a moment ago.
    pub(crate) fn sweep_all(&self, now: Instant) {
        if !self.sweep.is_due(&self.sweep.next_of_all, now, Duration::from_secs(1)) {
            return;
        }
        (0..SHARDS).for_each(|shard| self.sweep(shard, now));
    }

    /// Evicts the oldest events of the hub, whatever their channel, until a sixteenth of its bytes is free. It looks at
    /// every channel, which is why it frees so much at once; publishers that come meanwhile don't wait for it.
    fn reclaim(&self) {
        let Ok(_only_one) = self.sweep.reclaiming.try_lock() else { return };
        let max = self.settings.limits.hub_bytes;
        let goal = max - max / 16;
        let channels: Vec<Arc<Shared>> = self.registry.all().collect();
        let compact =
            || channels.iter().for_each(|shared| self.memory.release(shared.look().log.compact(), &self.counters));
        // What was evicted before and not given back yet may be enough.
        compact();
        let oldest = |index: usize| channels[index].look().log.oldest().map(|offset| Reverse((offset, index)));
        let mut oldest_first: BinaryHeap<_> = (0..channels.len()).filter_map(oldest).collect();
        debug!("the hub is full", bytes = self.memory.bytes(), channels = channels.len());
        // In what is held: what is evicted may be given back a little later, at the latest below.
        let mut excess = self.memory.bytes().saturating_sub(goal);
        while excess > 0
            && let Some(Reverse((_, index))) = oldest_first.pop()
        {
            let until = oldest_first.peek().map_or(Offset::new(u64::MAX), |Reverse((offset, _))| *offset);
            let mut state = channels[index].change();
            let before = state.log.bytes();
            while before - state.log.bytes() < excess && state.log.oldest().is_some_and(|offset| offset < until) {
                self.memory.release(state.log.evict(), &self.counters);
            }
            excess = excess.saturating_sub(before - state.log.bytes());
            oldest_first.extend(state.log.oldest().map(|offset| Reverse((offset, index))));
        }
        compact();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_now_and_then_is_so_for_one_who_asks_and_again_after_its_time() {
        let began = Instant::now();
        let sweep = Sweep::new(began);
        let due = |millis| sweep.is_due(&sweep.next, began + Duration::from_millis(millis), SWEEP_EVERY);
        let asked = [0, 0, 3_999, 4_000, 4_000, 9_000, 12_999, 13_000];
        assert_eq!(asked.map(due), [true, false, false, true, false, true, false, true]);
    }
}
