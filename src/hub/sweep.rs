//! What has to be done to a hub now and then: evicting what is too old, dropping what is idle, making room.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    engine::{Hub, now},
    registry::SHARDS,
    state::Shared,
};
use crate::{sync::Ordering, trace::debug, wire::cursor::Offset};

/// A call looks at this many channels at most.
const SLICE: usize = 64;
/// A call that looks for room looks at about this many.
const SLICE_FOR_ROOM: usize = 1_024;

impl Hub {
    /// What has to be done now and then, done by those who publish and open. What is more than a slice is left to a task, or
    /// outside of a runtime to the next calls.
    pub(crate) fn maintain(self: &Arc<Self>, now: Instant) {
        if self.maintain_some(now) {
            self.sweep_in_background();
        }
    }

    /// A slice of that. Says whether there is more to do.
    pub(crate) fn maintain_some(&self, now: Instant) -> bool {
        if self.memory.bytes() > self.settings.limits.hub_bytes {
            self.reclaim();
        }
        self.sweep_some(now)
    }

    /// Looks at the channels that are due, at no more than a slice of them. Says whether there are more.
    fn sweep_some(&self, now: Instant) -> bool {
        // Whoever holds it is at it.
        let Ok(mut pending) = self.due.pending.try_lock() else { return false };
        for _ in 0..SLICE {
            match pending.pop() {
                Some(channel) => channel.upgrade().iter().for_each(|shared| self.sweep_one(shared, now)),
                None if self.due.is_shard_due(now) => {
                    let shard = self.due.shard.fetch_add(1, Ordering::Relaxed);
                    *pending = self.registry.in_shard(shard).iter().map(Arc::downgrade).collect();
                }
                None => return false,
            }
        }
        true
    }

    /// Goes on in a task that yields between slices.
    #[cfg(not(loom))]
    fn sweep_in_background(self: &Arc<Self>) {
        struct Running(Weak<Hub>);
        impl Drop for Running {
            fn drop(&mut self) {
                if let Some(hub) = self.0.upgrade() {
                    hub.due.in_background.store(false, Ordering::Release);
                }
            }
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.due.in_background.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(Arc::downgrade(self));
        runtime.spawn(async move {
            let more = || running.0.upgrade().is_some_and(|hub| hub.sweep_some(now()));
            while more() {
                tokio::task::yield_now().await;
            }
        });
    }

    #[cfg(loom)]
    fn sweep_in_background(self: &Arc<Self>) {}

    /// Evicts what is too old, and drops the channel if it is idle.
    fn sweep_one(&self, shared: &Arc<Shared>, now: Instant) {
        let idle = {
            let mut state = shared.change();
            self.memory.release(state.log.enforce(now), &self.counters);
            state.is_idle()
        };
        if idle && self.elsewhere.is_none() {
            self.drop_if_idle(shared);
        }
    }

    /// Makes room for another channel, if there are idle ones among those that it looks at.
    pub(crate) fn make_room(&self, now: Instant) {
        if !self.due.is_room_due(now) {
            return;
        }
        let mut looked = 0;
        for _ in 0..SHARDS {
            let shard = self.registry.in_shard(self.due.shard_for_room.fetch_add(1, Ordering::Relaxed));
            shard.iter().for_each(|shared| self.sweep_one(shared, now));
            looked += shard.len();
            if looked >= SLICE_FOR_ROOM {
                break;
            }
        }
        if self.registry.len() >= self.settings.limits.channels {
            self.due.no_room(now);
        }
    }

    /// Evicts the oldest events of the hub, whatever their channel, until a sixteenth of its bytes is free. It looks at
    /// every channel, which is why it frees so much at once; publishers that come meanwhile don't wait for it.
    fn reclaim(&self) {
        let Ok(_only_one) = self.due.reclaiming.try_lock() else { return };
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
