//! How often something may happen.

use std::{num::NonZeroU32, time::Duration};

use governor::Quota;

/// How often something may happen: an average per period, and a burst that is allowed at once.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::limits::Rate;
///
/// // Ten at once after a pause, and one every 200 ms after that.
/// let rate = Rate::per_second(5).burst(10);
/// let same = Rate::new(50, Duration::from_secs(10)).burst(10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a rate does nothing until it is set on a `RateLimit`"]
pub struct Rate {
    /// The time after which one more may happen.
    every: Duration,
    burst: NonZeroU32,
}

/// The longest time after which one more may happen.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The longest time that a whole burst may take to come back. Sums of such times fit into 64 bits of nanoseconds.
const LONGEST_BURST: Duration = Duration::from_secs(10 * 365 * 86_400);

impl Rate {
    /// Allows `count` per second on average, and as many at once. 0 counts as 1.
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// Allows `count` per minute on average, and as many at once. 0 counts as 1.
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// Allows `count` per period on average, and as many at once. 0 counts as 1.
    ///
    /// After a burst, one more may happen after each `count`-th of the period. That time is at least 1 ns and at most a day.
    pub fn new(count: u32, period: Duration) -> Self {
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self { every: (period / count.get()).clamp(Duration::from_nanos(1), LONGEST), burst: count }
    }

    /// Sets how many may happen at once after a pause. The default is the count. 0 counts as 1.
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        self
    }

    pub(super) fn quota(self) -> Quota {
        let most = LONGEST_BURST.as_nanos() / self.every.as_nanos();
        let most = u32::try_from(most).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        // The time is not zero.
        Quota::with_period(self.every).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(self.burst.min(most))
    }
}
