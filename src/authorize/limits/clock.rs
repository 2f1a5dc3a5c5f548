//! The clock of rate limiters: tokio's, so that tests can stop it.

use std::time::Instant;

use governor::{clock::Clock, nanos::Nanos};

use crate::hub::engine::now;

/// Counts the time since it was created.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticks {
    began: Instant,
}

impl Ticks {
    pub(super) fn new() -> Self {
        Self { began: now() }
    }

    /// Returns how many nanoseconds have passed. They fit for 584 years.
    pub(super) fn nanos(self) -> u64 {
        u64::try_from(now().saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.nanos().into()
    }
}
