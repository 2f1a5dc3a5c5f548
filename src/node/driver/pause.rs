//! How long a driver waits before it tries again.

use std::time::Duration;

/// How often a session looks at what is due.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(5);

/// Returns the pause after this many failures in a row.
pub(super) fn patience(failures: u32) -> Duration {
    TICK.saturating_mul(1 << failures.min(6)).min(LONGEST)
}

/// Returns a random duration between half of `most` and all of it, so that nodes that lost the same store do not all
/// return at once.
pub(super) fn spread(most: Duration, random: u64) -> Duration {
    most / 2 + most / 2_000 * u32::try_from(random % 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_quarter_of_a_second_up_to_five() {
        let millis = |failures| patience(failures).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7, 100].map(millis),
            [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000, 5_000]
        );
    }

    #[test]
    fn a_pause_is_a_random_part_of_its_second_half() {
        let millis = |random| spread(Duration::from_secs(2), random).as_millis();
        assert_eq!([0, 500, 999, 1_000, 12_345_678].map(millis), [1_000, 1_500, 1_999, 1_000, 1_678]);
    }
}
