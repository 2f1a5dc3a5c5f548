//! When upkeep is due, and who does it.

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use super::{registry::SHARDS, state::Shared};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};

/// What is due, and when. Times are milliseconds since the hub began, so that a publish only compares a number.
pub(crate) struct Due {
    began: Instant,
    /// When the next shard is due.
    next: AtomicU64,
    /// The number of the next shard, and of the next one to look at for room.
    pub(super) shard: AtomicUsize,
    pub(super) shard_for_room: AtomicUsize,
    /// When to look for room again, after there was none.
    next_for_room: AtomicU64,
    /// The channels of the shard that was due last that nobody has looked at yet. The lock is held by the caller that
    /// sweeps.
    pub(super) pending: Mutex<Vec<Weak<Shared>>>,
    /// Whether a task is sweeping.
    pub(super) in_background: AtomicBool,
}

/// Each shard is swept this often, one after the other.
const ROUND: Duration = Duration::from_secs(64);
/// How long to wait before looking for room again, after there was none.
const ROOM_AGAIN: Duration = Duration::from_millis(50);

impl Due {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            next: AtomicU64::new(0),
            shard: AtomicUsize::new(0),
            shard_for_room: AtomicUsize::new(0),
            next_for_room: AtomicU64::new(0),
            pending: Mutex::new(Vec::new()),
            in_background: AtomicBool::new(false),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.began))
    }

    /// Returns whether another shard is due. A hub that was not used for a while is late, by at most a round. In that
    /// case shards are due in immediate succession.
    pub(super) fn is_shard_due(&self, now: Instant) -> bool {
        const EVERY: u64 = ROUND.as_millis() as u64 / SHARDS as u64;
        let now = self.millis(now);
        let due = self.next.load(Ordering::Relaxed);
        let then = due.max(now.saturating_sub(millis(ROUND))).saturating_add(EVERY);
        due <= now && self.next.compare_exchange(due, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Returns whether to look for room. It is `false` right after there was none.
    pub(super) fn is_room_due(&self, now: Instant) -> bool {
        self.next_for_room.load(Ordering::Relaxed) <= self.millis(now)
    }

    pub(super) fn no_room(&self, now: Instant) {
        self.next_for_room.store(self.millis(now).saturating_add(millis(ROOM_AGAIN)), Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const EVERY: u64 = 250;

    fn due(sweep: &Due, millis: u64) -> bool {
        sweep.is_shard_due(sweep.began + Duration::from_millis(millis))
    }

    #[test]
    fn each_shard_is_due_once_in_a_round() {
        let sweep = Due::new(Instant::now());
        let asked = [0, 0, EVERY - 1, EVERY, EVERY, 2 * EVERY + 7, 3 * EVERY - 1, 3 * EVERY];
        assert_eq!(asked.map(|millis| due(&sweep, millis)), [true, false, false, true, false, true, false, true]);
    }

    #[test]
    fn a_hub_that_was_not_used_for_long_has_one_round_to_do() {
        let sweep = Due::new(Instant::now());
        assert_eq!((0..2_000).filter(|_| due(&sweep, 10_000)).count(), 41, "all that was due until then");
        assert_eq!((0..2_000).filter(|_| due(&sweep, 10_000_000)).count(), SHARDS + 1);
        assert!(!due(&sweep, 10_000_000 + EVERY - 1) && due(&sweep, 10_000_000 + EVERY));
    }

    #[test]
    fn room_is_not_looked_for_right_after_there_was_none() {
        let sweep = Due::new(Instant::now());
        let due = |millis| sweep.is_room_due(sweep.began + Duration::from_millis(millis));
        assert_eq!([due(0), due(0)], [true; 2]);
        sweep.no_room(sweep.began + Duration::from_millis(70));
        assert_eq!([70, 119, 120].map(due), [false, false, true]);
    }
}
