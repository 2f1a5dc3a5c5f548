//! Periodic upkeep of a hub: evicting what is too old, dropping idle channels, making room.

use std::{sync::Arc, time::Instant};

use super::{engine::Hub, registry::SHARDS, state::Shared};
use crate::{log, sync::Ordering};

/// The number of channels that one call looks at, at most. A task looks at [`SLICE_OF_TASK`] channels between two
/// yields.
const SLICE: usize = 64;
const SLICE_OF_TASK: usize = 256;
/// The approximate number of channels that a call looks at to find room.
const SLICE_FOR_ROOM: usize = 1_024;

impl Hub {
    /// Does the upkeep that is due. Publishing and opening call this. Work beyond one slice is left to a task or,
    /// outside a runtime, to the next calls.
    pub(crate) fn maintain(self: &Arc<Self>, now: Instant) {
        if self.maintain_some(now) {
            self.sweep_in_background();
        }
    }

    /// Does one slice of the upkeep. Returns whether there is more to do.
    pub(crate) fn maintain_some(&self, now: Instant) -> bool {
        let more = self.reclaim(self.settings.limits.event_bytes);
        self.memory.forget_marks(log::SLICE);
        self.sweep_some(now, SLICE) || more
    }

    /// Looks at up to `most` of the channels that are due. Returns whether there are more.
    fn sweep_some(&self, now: Instant, most: usize) -> bool {
        // Another caller that holds the lock is already sweeping.
        let Ok(mut pending) = self.due.pending.try_lock() else { return false };
        let mut left = most;
        while left > 0 {
            left -= 1;
            match pending.pop() {
                // A channel that is not done is looked at again, after its publishers and readers had a chance to take
                // its lock. It counts for several channels.
                Some(channel) => {
                    if channel.upgrade().is_some_and(|shared| self.sweep_one(&shared, now)) {
                        pending.push(channel);
                        left = left.saturating_sub(SLICE / 8);
                    }
                }
                None if self.due.is_shard_due(now) => {
                    let shard = self.due.shard.fetch_add(1, Ordering::Relaxed);
                    *pending = self.registry.in_shard(shard).iter().map(Arc::downgrade).collect();
                }
                None => return false,
            }
        }
        true
    }

    /// Continues in a task that yields between slices.
    #[cfg(not(loom))]
    fn sweep_in_background(self: &Arc<Self>) {
        use std::sync::Weak;

        use super::engine::now;

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
            let slice =
                |hub: Arc<Hub>| hub.reclaim(hub.settings.limits.event_bytes) | hub.sweep_some(now(), SLICE_OF_TASK);
            let more = || running.0.upgrade().is_some_and(slice);
            while more() {
                tokio::task::yield_now().await;
            }
        });
    }

    #[cfg(loom)]
    fn sweep_in_background(self: &Arc<Self>) {
        let _ = (SLICE_OF_TASK, &self.due.in_background);
    }

    /// Evicts a slice of what is too old, and drops the channel if it is idle. Returns whether there may be more.
    fn sweep_one(&self, shared: &Arc<Shared>, now: Instant) -> bool {
        let (evicted, forgot, idle) = {
            let mut state = shared.change();
            let forgot = shared.forget_marks(&mut state, log::SLICE);
            state.is_quiet = state.log.is_quiet(now);
            (state.log.enforce(now, log::SLICE), forgot, state.is_idle())
        };
        self.counters.evicted.add(evicted);
        if idle && self.elsewhere.is_none() {
            self.drop_if_idle(shared);
        }
        forgot || evicted == log::SLICE as u64
    }

    /// Makes room for another channel, if some of the channels that it looks at are idle.
    pub(crate) fn make_room(&self, now: Instant) {
        if !self.due.is_room_due(now) {
            return;
        }
        let mut looked = 0;
        for _ in 0..SHARDS {
            let shard = self.registry.in_shard(self.due.shard_for_room.fetch_add(1, Ordering::Relaxed));
            shard.iter().for_each(|shared| _ = self.sweep_one(shared, now));
            looked += shard.len();
            if looked >= SLICE_FOR_ROOM {
                break;
            }
        }
        if self.registry.len() >= self.settings.limits.channels {
            self.due.no_room(now);
        }
    }
}
