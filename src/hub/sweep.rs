//! What has to be done to a hub now and then: evicting what is too old, dropping what is idle, making room.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{
    engine::{Hub, now},
    registry::SHARDS,
    state::Shared,
};
use crate::{
    sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering},
    trace::debug,
    wire::cursor::Offset,
};

/// What is due, and when. Times are milliseconds since the hub began, so that a publish looks at no more than a number.
pub(crate) struct Sweep {
    began: Instant,
    /// When the next shard is due.
    next: AtomicU64,
    /// Its number, and that of the next one which is looked at for room.
    shard: AtomicUsize,
    shard_for_room: AtomicUsize,
    /// When room may be looked for again, after there was none.
    next_for_room: AtomicU64,
    /// The channels of the shard that was due last, as far as nobody has looked at them yet. Held by the one who does.
    pending: Mutex<Vec<Weak<Shared>>>,
    /// A task is at it.
    in_background: AtomicBool,
    /// Held by the one who makes room in the hub.
    reclaiming: Mutex<()>,
}

/// Each shard is swept this often, one after the other.
const ROUND: Duration = Duration::from_secs(64);
/// A call looks at this many channels at most.
const SLICE: usize = 64;
/// A call that looks for room looks at about this many; if there is none among them, the next one does so after this time.
const SLICE_FOR_ROOM: usize = 1_024;
const ROOM_AGAIN: Duration = Duration::from_millis(50);

impl Sweep {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            next: AtomicU64::new(0),
            shard: AtomicUsize::new(0),
            shard_for_room: AtomicUsize::new(0),
            next_for_room: AtomicU64::new(0),
            pending: Mutex::new(Vec::new()),
            in_background: AtomicBool::new(false),
            reclaiming: Mutex::new(()),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.began))
    }

    /// Whether another shard is due. A hub that was not used for a while is late, by a round at most: then one is due at once
    /// after the other.
    fn is_shard_due(&self, now: Instant) -> bool {
        const EVERY: u64 = ROUND.as_millis() as u64 / SHARDS as u64;
        let now = self.millis(now);
        let due = self.next.load(Ordering::Relaxed);
        let then = due.max(now.saturating_sub(millis(ROUND))).saturating_add(EVERY);
        due <= now && self.next.compare_exchange(due, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether room may be looked for: not right after there was none.
    fn is_room_due(&self, now: Instant) -> bool {
        self.next_for_room.load(Ordering::Relaxed) <= self.millis(now)
    }

    fn no_room(&self, now: Instant) {
        self.next_for_room.store(self.millis(now).saturating_add(millis(ROOM_AGAIN)), Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

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
        let Ok(mut pending) = self.sweep.pending.try_lock() else { return false };
        for _ in 0..SLICE {
            match pending.pop() {
                Some(channel) => channel.upgrade().iter().for_each(|shared| self.sweep_one(shared, now)),
                None if self.sweep.is_shard_due(now) => {
                    let shard = self.sweep.shard.fetch_add(1, Ordering::Relaxed);
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
                    hub.sweep.in_background.store(false, Ordering::Release);
                }
            }
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.sweep.in_background.swap(true, Ordering::AcqRel) {
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
        if !self.sweep.is_room_due(now) {
            return;
        }
        let mut looked = 0;
        for _ in 0..SHARDS {
            let shard = self.registry.in_shard(self.sweep.shard_for_room.fetch_add(1, Ordering::Relaxed));
            shard.iter().for_each(|shared| self.sweep_one(shared, now));
            looked += shard.len();
            if looked >= SLICE_FOR_ROOM {
                break;
            }
        }
        if self.registry.len() >= self.settings.limits.channels {
            self.sweep.no_room(now);
        }
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

    const EVERY: u64 = 250;

    fn due(sweep: &Sweep, millis: u64) -> bool {
        sweep.is_shard_due(sweep.began + Duration::from_millis(millis))
    }

    #[test]
    fn each_shard_is_due_once_in_a_round() {
        let sweep = Sweep::new(Instant::now());
        let asked = [0, 0, EVERY - 1, EVERY, EVERY, 2 * EVERY + 7, 3 * EVERY - 1, 3 * EVERY];
        assert_eq!(asked.map(|millis| due(&sweep, millis)), [true, false, false, true, false, true, false, true]);
    }

    #[test]
    fn a_hub_that_was_not_used_for_long_has_one_round_to_do() {
        let sweep = Sweep::new(Instant::now());
        assert_eq!((0..2_000).filter(|_| due(&sweep, 10_000)).count(), 41, "all that was due until then");
        assert_eq!((0..2_000).filter(|_| due(&sweep, 10_000_000)).count(), SHARDS + 1);
        assert!(!due(&sweep, 10_000_000 + EVERY - 1) && due(&sweep, 10_000_000 + EVERY));
    }

    #[test]
    fn room_is_not_looked_for_right_after_there_was_none() {
        let sweep = Sweep::new(Instant::now());
        let due = |millis| sweep.is_room_due(sweep.began + Duration::from_millis(millis));
        assert_eq!([due(0), due(0)], [true; 2]);
        sweep.no_room(sweep.began + Duration::from_millis(70));
        assert_eq!([70, 119, 120].map(due), [false, false, true]);
    }
}
