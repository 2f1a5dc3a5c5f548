//! Counts one kind of thing for every principal.

use std::{sync::Arc, time::Duration};

use governor::{RateLimiter, clock::Clock as _};

use super::{
    clock::Ticks,
    principal::Key,
    rate::Rate,
    table::{Store, Table},
};

pub(super) struct Limiter {
    limiter: RateLimiter<Key, Store, Ticks>,
    table: Arc<Table>,
    clock: Ticks,
    /// How many nanoseconds one thing uses up.
    each: u64,
    /// How much a principal can have used up, in nanoseconds.
    most: u64,
}

/// The longest time that a principal has to wait for what it has used beyond its burst.
const LONGEST: Duration = Duration::from_secs(86_400);

impl Limiter {
    /// Creates a limiter that has room for this many principals.
    pub(super) fn new(rate: Rate, keys: usize) -> Self {
        let clock = Ticks::new();
        let table = Arc::new(Table::new(keys, clock));
        let quota = rate.quota();
        let limiter = RateLimiter::new(quota, Store(table.clone()), clock);
        // Both fit, because a rate has longest times.
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let most = nanos(quota.burst_size_replenished_in().saturating_add(LONGEST));
        Self { limiter, table, clock, each: nanos(quota.replenish_interval()), most }
    }

    /// Counts something that costs as much as `cost` of its kind. Admits it if the principal may do at least one, even if it
    /// costs more than is left. The principal then has to make up for the rest before the next one. If it is not admitted,
    /// returns how long to wait.
    pub(super) fn charge(&self, key: Key, cost: u64) -> Result<(), Duration> {
        let checked = self.limiter.check_key(&key);
        checked.map_err(|not_until| not_until.wait_time_from(self.clock.now()))?;
        if cost > 1 {
            self.add(key, cost - 1);
        }
        Ok(())
    }

    /// Counts something that has happened.
    pub(super) fn add(&self, key: Key, cost: u64) {
        self.table.add(key, cost.saturating_mul(self.each), self.most);
    }
}
