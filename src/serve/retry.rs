//! How long a client is told to wait before it reconnects: one time for all streams, or a random one for each.

use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

use crate::random;

/// How long a client waits before it reconnects; what [`Route::retry`](crate::Route::retry) and
/// [`SseBody::retry`](crate::SseBody::retry) take.
///
/// It is made from a `Duration`, which all streams then have in common, from a range of them, in which each stream has a
/// random time of its own, or from `None`, which leaves the time to the client. All count in whole milliseconds, at most
/// 2,147,483,647 (24 days).
///
/// When a server crashes it says no goodbye, so that all clients reconnect after the time that their streams began with. A
/// range spreads them:
///
/// ```
/// use std::time::Duration;
/// use tower_sse::Route;
///
/// let route = Route::new("/sse/{channel}").retry(Duration::from_secs(2)..Duration::from_secs(4));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry(
    /// The shortest and the longest; `None` leaves it to the client.
    Option<(Duration, Duration)>,
);

impl Retry {
    /// The time for one stream.
    pub(crate) fn draw(self) -> Option<Duration> {
        match self.0 {
            Some((min, max)) if min < max => Some(random::between(min, max)),
            times => times.map(|(min, _)| min),
        }
    }
}

/// Three seconds: about what browsers wait by themselves.
impl Default for Retry {
    fn default() -> Self {
        Duration::from_secs(3).into()
    }
}

impl From<Duration> for Retry {
    fn from(time: Duration) -> Self {
        Self(Some((time, time)))
    }
}

/// `None` leaves it to the client.
impl From<Option<Duration>> for Retry {
    fn from(time: Option<Duration>) -> Self {
        time.map_or(Self(None), Self::from)
    }
}

/// A random time for each stream. A range without any time in it is its start.
impl From<Range<Duration>> for Retry {
    fn from(times: Range<Duration>) -> Self {
        Self(Some((times.start, times.end.saturating_sub(Duration::from_millis(1)))))
    }
}

/// A random time for each stream. A range without any time in it is its start.
impl From<RangeInclusive<Duration>> for Retry {
    fn from(times: RangeInclusive<Duration>) -> Self {
        Self(Some(times.into_inner()))
    }
}
