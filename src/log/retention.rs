//! How many events a channel holds, and for how long.

use std::time::Duration;

/// Sets how much a channel holds for readers that reconnect: a number of events, a number of bytes, and an age. The
/// first limit that is reached evicts the oldest events, both targeted events and broadcasts.
///
/// Live readers read from the same log. A reader that falls further behind than the log reaches has
/// [lagged](crate::GapReason::Lagged). A channel should therefore hold at least as much as its largest burst, or have a
/// [lag](Self::lag) of its own. The newest event is always held until it is too old.
///
/// An event that is too old is never replayed: a channel is checked for such events when you publish to it, open it or
/// ask it for [recent](crate::Channel::recent) events. To free the memory of channels that nobody uses, publishes and
/// opens on any channel also sweep a few others, and a background task does the rest if many are due, so that each
/// channel is checked about once a minute. A hub that nobody publishes to or opens keeps what it holds. Outside of a
/// tokio runtime, a hub with many channels that is hardly used takes longer. A channel that has neither a reader nor an
/// event left is dropped.
///
/// With a remote [`Backend`](crate::backend::Backend), the retention applies to the store and to each node's mirror of
/// it. If nodes have different settings, the longest wins for each limit. In Redis, a longer setting stops counting a
/// day after a node last asked for it. A node may evict events from a mirror for its own
/// [`Limits::hub_bytes`](crate::Limits::hub_bytes). The store still has them, but readers on this node get a gap.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::{Publisher, Retention};
///
/// let retention = Retention::new().events(200).age(Duration::from_secs(600));
/// let publisher = Publisher::builder().retention(retention).build();
/// # drop(publisher);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a retention does nothing until it is set on a publisher"]
pub struct Retention {
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// The age in the log's milliseconds.
    pub(super) age_millis: u64,
    /// How many more events are held for connected readers.
    pub(super) lag: usize,
    /// For how many milliseconds everything is held after the end, if it is held until then.
    pub(super) after_finish_millis: Option<u64>,
}

/// What an event counts besides its bytes when bytes are limited: its place in a run, and its share of the run's unused
/// room.
pub(super) const EVENT_OVERHEAD: usize = 32;

impl Default for Retention {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Retention {
    pub(crate) const DEFAULT: Self =
        Self { events: 1_000, bytes: 4 << 20, age_millis: 3_600_000, lag: 0, after_finish_millis: None };

    /// Creates the default retention: 1,000 events, 4 MiB, one hour.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many events are held. The default is 1,000. 0 means 1, here and in every backend, because the newest
    /// event is always held. Only a channel with a [lag](Self::lag) can be without history.
    pub fn events(mut self, max: usize) -> Self {
        self.events = max;
        self
    }

    /// Sets how many more events than the history are held for connected readers, so that a burst does not overrun
    /// them. The default is 0: a reader may lag by as much as the history has.
    ///
    /// A reader that connects or reconnects later does not get what is held beyond the history; it gets a gap instead
    /// if it resumes from before. The limits in bytes and by age apply to everything that is held. In process, a
    /// channel without readers holds only its history.
    ///
    /// ```
    /// use tower_sse::Retention;
    ///
    /// // Prices: no history, and no gap for a reader that misses a hundred of them for a moment.
    /// let live = Retention::new().events(0).lag(100);
    /// assert_eq!((live.max_events(), live.max_lag()), (0, 100));
    /// ```
    pub fn lag(mut self, max: usize) -> Self {
        self.lag = max;
        self
    }

    /// Holds everything while the channel is in progress, and for this long after it was
    /// [finished](crate::Channel::finish), in whole milliseconds. By default this is not set.
    ///
    /// Use it for a run: an answer that a reader must be able to read from its first token, however long it takes. With
    /// it, neither the number of events nor their age evicts anything, and all events are history, whatever the
    /// [lag](Self::lag). The limit in bytes still evicts, and so does [`Limits::hub_bytes`](crate::Limits::hub_bytes); a
    /// gap then tells the reader. So finish each channel: one that never ends stays until the hub is full or somebody
    /// [closes](crate::Channel::close) it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_sse::{Publisher, Retention};
    ///
    /// let run = Retention::new().bytes(16 << 20).after_finish(Duration::from_secs(600));
    /// let publisher = Publisher::builder().retention_by(move |channel| match channel.as_str().starts_with("run/") {
    ///     true => run,
    ///     false => Retention::new(),
    /// });
    /// # drop(publisher);
    /// ```
    pub fn after_finish(mut self, age: Duration) -> Self {
        self.after_finish_millis = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sets how many bytes on the wire are held, counting 32 more for each event. The default is 4 MiB. The newest
    /// event is held even if it alone is larger.
    pub fn bytes(mut self, max: usize) -> Self {
        self.bytes = max;
        self
    }

    /// Returns how many events the history has at most: at least one, unless there is a [lag](Self::max_lag).
    pub fn max_events(&self) -> usize {
        if self.lag == 0 { self.events.max(1) } else { self.events }
    }

    /// Returns how many more events are held for connected readers.
    pub fn max_lag(&self) -> usize {
        self.lag
    }

    /// Returns for how long everything is held after the channel was finished, or `None` if the channel does not hold
    /// everything until then.
    pub fn max_age_after_finish(&self) -> Option<Duration> {
        self.after_finish_millis.map(Duration::from_millis)
    }

    /// Returns how many bytes are held at most, as [`cost`](Self::cost) counts them.
    pub fn max_bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the age beyond which no event is held.
    pub fn max_age(&self) -> Duration {
        Duration::from_millis(self.age_millis)
    }

    /// Some of what is held is for connected readers only. Nothing is where everything is held until the end.
    pub(crate) fn is_lag_apart(&self) -> bool {
        self.lag > 0 && self.after_finish_millis.is_none()
    }

    /// Returns how many events a store holds at most: the history and the lag, or any number if everything is held
    /// until the end.
    pub fn most_events(&self) -> usize {
        match self.after_finish_millis {
            Some(_) => usize::MAX,
            None => self.max_events().saturating_add(self.lag),
        }
    }

    /// Returns whether an event is too old to be held, in a channel whose last event is as old as `newest`.
    pub fn is_too_old(&self, age: Duration, newest: Duration, is_finished: bool) -> bool {
        match self.max_age_after_finish() {
            None => age > self.max_age(),
            // All events of a channel expire together.
            Some(after_finish) => is_finished && newest >= after_finish,
        }
    }

    /// Returns what an event of `len` bytes on the wire counts.
    pub const fn cost(len: usize) -> usize {
        len + EVENT_OVERHEAD
    }

    /// Sets the age beyond which no event is held, in whole milliseconds. The default is one hour. With
    /// [`Duration::MAX`], a channel is never dropped by itself.
    pub fn age(mut self, max: Duration) -> Self {
        self.age_millis = u64::try_from(max.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_was_told() {
        let retention = Retention::new().events(7).bytes(8).age(Duration::from_millis(1_009));
        let says = (retention.max_events(), retention.max_bytes(), retention.max_age());
        assert_eq!(says, (7, 8, Duration::from_millis(1_009)));
        assert_eq!(Retention::cost(100), 132);
    }

    #[test]
    fn the_newest_event_is_always_held() {
        assert_eq!(Retention::new().events(0).max_events(), 1);
    }
}
