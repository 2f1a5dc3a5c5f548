//! How long a client is told to wait before it reconnects: one time for all streams, or a random time for each.

use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

use crate::random;

/// How long a client waits before it reconnects, as passed to [`Route::retry`](crate::Route::retry) and
/// [`SseBody::retry`](crate::SseBody::retry).
///
/// Convert it from one of these:
///
/// - a `Duration`: all streams get the same time
/// - a range of `Duration`s: each stream gets a random time of its own
/// - `None`: the client decides
///
/// Times are sent in whole milliseconds, at most 2,147,483,647 (24 days).
///
/// When a server crashes, all of its clients reconnect after the time that their streams began with. A range spreads
/// them:
///
/// ```
/// use std::time::Duration;
/// use tower_sse::Route;
///
/// let route = Route::new("/sse/{channel}").retry(Duration::from_secs(2)..Duration::from_secs(4));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry(
    /// The shortest and the longest time. `None` leaves the time to the client.
    Option<(Duration, Duration)>,
);

impl Retry {
    /// Draws the time for one stream.
    pub(crate) fn draw(self) -> Option<Duration> {
        match self.0 {
            Some((min, max)) if min < max => Some(random::between(min, max)),
            times => times.map(|(min, _)| min),
        }
    }
}

/// Three seconds, which is about what browsers wait by default.
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

/// `None` leaves the time to the client.
impl From<Option<Duration>> for Retry {
    fn from(time: Option<Duration>) -> Self {
        time.map_or(Self(None), Self::from)
    }
}

/// Draws a random time for each stream. An empty range stands for its start.
impl From<Range<Duration>> for Retry {
    fn from(times: Range<Duration>) -> Self {
        Self(Some((times.start, times.end.saturating_sub(Duration::from_millis(1)))))
    }
}

/// Draws a random time for each stream. An empty range stands for its start.
impl From<RangeInclusive<Duration>> for Retry {
    fn from(times: RangeInclusive<Duration>) -> Self {
        Self(Some(times.into_inner()))
    }
}
