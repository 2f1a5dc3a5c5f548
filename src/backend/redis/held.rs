//! How much a node asks a hub to hold of its channels.

use std::time::Duration;

use redis::{ScriptInvocation, Value};

use super::value;
use crate::{
    log::Retention,
    sync::{Mutex, lock},
};

/// The number of milliseconds that scripts treat as for ever. Lua represents it exactly.
const FOREVER: u64 = 1 << 52;

/// The retention that nodes have set for all channels. If there are several, it has the highest value of each limit.
#[derive(Default)]
pub(super) struct OfAll(Mutex<Option<Retention>>);

/// What a wish is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Nothing: the node has no wish, and this counts only if no other node has one.
    Nobody,
    /// All channels of the node.
    All,
    /// This channel.
    This,
}

/// A node's wish, as a script takes it.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    of: Of,
    retention: Retention,
}

impl OfAll {
    pub(super) fn set(&self, retention: Retention) {
        let mut set = lock(&self.0);
        *set = Some(set.map_or(retention, |before| most(before, retention)));
    }

    pub(super) fn get(&self) -> Wish {
        match *lock(&self.0) {
            Some(retention) => Wish { of: Of::All, retention },
            None => Wish::NONE,
        }
    }

    /// Returns what a node asks for with a call about one channel.
    pub(super) fn with(&self, retention: Option<Retention>) -> Wish {
        let all = self.get();
        match retention {
            None => Wish::NONE,
            Some(retention) if all.of == Of::All && all.retention == retention => all,
            Some(retention) => Wish { of: Of::This, retention },
        }
    }
}

impl Wish {
    const NONE: Self = Self { of: Of::Nobody, retention: Retention::DEFAULT };

    /// Adds the wish as two arguments.
    pub(super) fn tell(self, ask: &mut ScriptInvocation<'_>) {
        let of = match self.of {
            Of::Nobody => "",
            Of::All => "all",
            Of::This => "this",
        };
        ask.arg(of).arg(words(self.retention));
    }
}

/// Returns a retention's numbers, as scripts take them. The last is 0 if nothing is to be held until the end.
pub(super) fn words(retention: Retention) -> String {
    // Scripts hold the newest event in any case.
    let (events, bytes, lag) =
        (limit(retention.max_events()), limit(retention.max_bytes()), limit(retention.max_lag()));
    let after = retention.max_age_after_finish().map_or(0, |age| (millis(age) + 1).min(FOREVER));
    format!("{events} {} {} {lag} {after}", bytes.max(1), millis(retention.max_age()))
}

/// Reads a wish's numbers from a script's answer.
pub(super) fn read(answer: &Value) -> Option<Retention> {
    let mut numbers = value::text(answer)?.split(' ').map(|number| number.parse::<u64>().ok());
    let mut number = || numbers.next().flatten();
    let (events, bytes, age, lag, after) = (number()?, number()?, number()?, number()?, number()?);
    let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let age_of = |millis| match millis {
        FOREVER.. => Duration::MAX,
        millis => Duration::from_millis(millis),
    };
    let retention = Retention::new().events(size(events)).bytes(size(bytes)).age(age_of(age)).lag(size(lag));
    Some(match after.checked_sub(1) {
        None => retention,
        Some(_) if after >= FOREVER => retention.after_finish(Duration::MAX),
        Some(millis) => retention.after_finish(age_of(millis)),
    })
}

/// Returns a duration in milliseconds. At least 1, since Redis treats 0 as an error.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, FOREVER)
}

fn limit(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX).min(FOREVER)
}

fn most(one: Retention, other: Retention) -> Retention {
    let most = Retention::new()
        .events(one.max_events().max(other.max_events()))
        .bytes(one.max_bytes().max(other.max_bytes()))
        .age(one.max_age().max(other.max_age()))
        .lag(one.max_lag().max(other.max_lag()));
    let after_finish = one.max_age_after_finish().max(other.max_age_after_finish());
    after_finish.map_or(most, |age| most.after_finish(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_good_as_for_ever_is_for_ever() {
        let answer = |age: &str| read(&Value::BulkString(format!("7 800 {age} 0 0").into())).unwrap();
        assert_eq!(answer("90"), Retention::new().events(7).bytes(800).age(Duration::from_millis(90)));
        assert_eq!(answer(&millis(Duration::MAX).to_string()).max_age(), Retention::new().age(Duration::MAX).max_age());
        assert_eq!((millis(Duration::ZERO), limit(usize::MAX)), (1, FOREVER));
        assert!(read(&Value::BulkString(b"7 800 9 0".to_vec())).is_none());
        let of = Retention::new().events(0).lag(9).bytes(800).age(Duration::from_millis(7));
        for retention in [of, of.after_finish(Duration::from_millis(90)), of.after_finish(Duration::MAX)] {
            assert_eq!(read(&Value::BulkString(words(retention).into())).unwrap(), retention);
        }
    }

    #[test]
    fn a_wish_for_all_channels_is_told_from_one_for_a_channel() {
        let (all, week) = (OfAll::default(), Retention::new().age(Duration::from_secs(604_800)));
        assert!(all.with(Some(week)).of == Of::This && all.with(None).of == Of::Nobody);
        all.set(week);
        all.set(Retention::new().events(5_000));
        assert!(all.get().of == Of::All && all.get().retention == week.events(5_000));
        assert!(all.with(Some(week.events(5_000))).of == Of::All && all.with(Some(week)).of == Of::This);
        assert!(all.with(None).of == Of::Nobody);
    }
}
