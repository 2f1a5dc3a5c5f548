//! A table of a fixed size that holds the state of each key, without a lock.
//!
//! The state of a key is the time at which the key may use its full burst again. Until then, the key is of interest. From
//! then on, any other key may take its slot, so nothing has to be cleaned up.
//!
//! The number of a key determines the *set* of slots in which it may be. If keys that are still of interest have taken all
//! of these slots, the key shares a slot with all other keys that find no room. So once the table is full, a flood of new
//! keys has the rate of one key, and takes nothing from the keys that are in the table.
//!
//! Two requests may race for a slot. At worst, one of them counts for the other's key, or a key has two slots for a while.

use governor::{nanos::Nanos, state::StateStore};

use super::{clock::Ticks, principal::Key};
use crate::sync::{AtomicU64, Ordering};

/// How many slots a set has. With as many keys as the table is made for, a set has half as many on average, and one in
/// a thousand keys finds no room.
const WAYS: usize = 16;

pub(super) struct Table {
    /// The sets, one after another.
    slots: Box<[Slot]>,
    /// For the keys that find no room.
    others: AtomicU64,
    clock: Ticks,
}

#[derive(Default)]
struct Slot {
    /// 0 if the slot was never taken.
    key: AtomicU64,
    /// The time until which the key is of interest, in nanoseconds of the clock.
    until: AtomicU64,
}

impl Table {
    /// Creates a table for this many keys.
    pub(super) fn new(keys: usize, clock: Ticks) -> Self {
        let sets = keys.div_ceil(WAYS / 2).max(1);
        let slots = std::iter::repeat_with(Slot::default).take(sets.saturating_mul(WAYS)).collect();
        Self { slots, others: AtomicU64::new(0), clock }
    }

    /// Adds to what a key has used up, whether or not the rate allows it, up to `most` in total.
    pub(super) fn add(&self, key: Key, nanos: u64, most: u64) {
        let now = self.clock.nanos();
        let most = now.saturating_add(most);
        let add = |until: u64| Some(until.max(now).saturating_add(nanos).min(most).max(until));
        // Always succeeds.
        let _ = self.time_of(key).fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
    }

    fn time_of(&self, key: Key) -> &AtomicU64 {
        let set = self.set_of(key);
        let own = |slot: &&Slot| slot.key.load(Ordering::Acquire) == key.0.get();
        set.iter().find(own).or_else(|| self.take(set, key)).map_or(&self.others, |slot| &slot.until)
    }

    fn set_of(&self, key: Key) -> &[Slot] {
        let sets = self.slots.len() / WAYS;
        // The number is random, so its upper bits are too. Less than `sets`, so it fits.
        let set = ((u128::from(key.0.get()) * sets as u128) >> 64) as usize;
        &self.slots[set * WAYS..(set + 1) * WAYS]
    }

    /// Takes a slot whose key is no longer of interest.
    fn take<'a>(&self, set: &'a [Slot], key: Key) -> Option<&'a Slot> {
        let now = self.clock.nanos();
        set.iter().find(|slot| {
            let before = slot.key.load(Ordering::Acquire);
            slot.until.load(Ordering::Acquire) <= now
                && slot.key.compare_exchange(before, key.0.get(), Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
}

/// The table by reference, since a rate limiter keeps its store to itself.
pub(super) struct Store(pub(super) std::sync::Arc<Table>);

impl StateStore for Store {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let time = self.0.time_of(*key);
        let mut until = time.load(Ordering::Acquire);
        loop {
            let (outcome, next) = decide((until > 0).then(|| until.into()))?;
            match time.compare_exchange_weak(until, next.into(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(outcome),
                Err(changed) => until = changed,
            }
        }
    }
}
