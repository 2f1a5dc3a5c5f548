//! How long it takes from a publish until a reader that waits for it takes the event: a sample.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence},
    time::{Duration, Instant},
};

use crate::wire::cursor::Offset;

/// At most one publish of a hub within this time is in the sample.
const EVERY: Duration = Duration::from_millis(10);
/// One in this many readers takes part, another one for each event.
const READERS: usize = 16;

/// The last publish that is in the sample. It is written by one publisher at a time, and read by any number of readers: a
/// reader that finds the offset unchanged has read what belongs to it.
pub(super) struct Pace {
    born: Instant,
    /// When the next publish is in the sample, in nanoseconds after `born`.
    next: AtomicU64,
    /// The offset of the event. 0 if there is none, or while the other fields change.
    offset: AtomicU64,
    /// The address of the channel.
    channel: AtomicUsize,
    /// When it was published, in nanoseconds after `born`.
    at: AtomicU64,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let (next, offset, channel, at) = Default::default();
        Self { born: now, next, offset, channel, at }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX)
    }

    /// An event for every reader of a channel was published.
    pub(super) fn published(&self, channel: usize, offset: Offset, now: Instant) {
        let (at, next) = (self.nanos(now), self.next.load(Ordering::Relaxed));
        let after = at.saturating_add(EVERY.as_nanos() as u64);
        if at < next || self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        self.offset.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        self.channel.store(channel, Ordering::Relaxed);
        self.at.store(at, Ordering::Relaxed);
        self.offset.store(offset.get(), Ordering::Release);
    }

    /// Returns whether the event of the sample is after `before` and not after `last`, and this reader takes part.
    pub(super) fn is_in(&self, reader: usize, before: Offset, last: Offset) -> bool {
        let offset = self.offset.load(Ordering::Relaxed);
        // The address of a reader is a multiple of this.
        let turn = (reader / 64).wrapping_add(offset as usize);
        before.get() < offset && offset <= last.get() && turn.is_multiple_of(READERS)
    }

    /// Returns how long ago the event was published, if it is one of the channel at this address, and after `before`.
    pub(super) fn since(&self, before: Offset, channels: impl Fn(usize) -> bool, now: Instant) -> Option<Duration> {
        let offset = self.offset.load(Ordering::Acquire);
        let (channel, at) = (self.channel.load(Ordering::Relaxed), self.at.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let is_same = self.offset.load(Ordering::Relaxed) == offset;
        (is_same && offset > before.get() && channels(channel))
            .then(|| Duration::from_nanos(self.nanos(now).saturating_sub(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_in_the_sample_if_the_last_one_was_some_time_ago() {
        let now = Instant::now();
        let (pace, at) = (Pace::new(now), |millis| now + Duration::from_millis(millis));
        let since = |before| pace.since(Offset::new(before), |channel| channel == 1, at(30));
        pace.published(1, Offset::new(5), at(1));
        pace.published(1, Offset::new(6), at(2));
        assert_eq!(since(4), Some(Duration::from_millis(29)));
        assert_eq!(since(5), None, "the reader had it before");
        pace.published(2, Offset::new(7), at(12));
        assert_eq!(since(6), None, "it is in another channel");
    }

    #[test]
    fn some_readers_take_part_and_others_next_time() {
        let now = Instant::now();
        let pace = Pace::new(now);
        let mut took_part = [0; READERS];
        for offset in 1..=READERS as u64 {
            pace.published(1, Offset::new(offset), now + u32::try_from(offset).unwrap() * EVERY);
            let is_in = |reader: usize| pace.is_in(64 * reader, Offset::new(offset - 1), Offset::new(offset));
            (0..READERS).filter(|reader| is_in(*reader)).for_each(|reader| took_part[reader] += 1);
            assert!(!pace.is_in(0, Offset::new(offset), Offset::new(offset + 1)));
        }
        assert_eq!(took_part, [1; READERS]);
    }
}
