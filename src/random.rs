//! Random numbers to spread clients and nodes: fast, not guessable by chance, and not fit for secrets.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Returns 64 random bits. The standard library seeds each thread once from the system, and each state differs from
/// the one before.
pub(crate) fn bits() -> u64 {
    RandomState::new().hash_one(())
}

/// Returns a random time from `min` to `max`, both included, in whole milliseconds counted from `min`. If `max` is
/// below `min`, returns `min`.
pub(crate) fn between(min: Duration, max: Duration) -> Duration {
    let spread = u64::try_from(max.saturating_sub(min).as_millis()).unwrap_or(u64::MAX);
    let millis = spread.checked_add(1).map_or_else(bits, |choices| bits() % choices);
    min.saturating_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_time_between_two_is_any_of_those() {
        let millis = Duration::from_millis;
        let drawn: HashSet<_> = (0..1_000).map(|_| between(millis(2), millis(4))).collect();
        assert_eq!(drawn, [2, 3, 4].map(millis).into());
        assert_eq!(between(millis(2), millis(2)), millis(2));
        assert_eq!(between(millis(4), millis(2)), millis(4));
        assert!(between(Duration::ZERO, Duration::MAX) <= Duration::MAX);
        assert_eq!(between(Duration::MAX, Duration::MAX), Duration::MAX);
    }
}
