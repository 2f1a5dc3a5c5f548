//! The in-process backend: offsets from one counter, logs in memory, gone with the process.

mod keys;

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use self::keys::Keys;
use crate::{
    log::{Evicted, LaneId, Log, Tombstone},
    observe::Counters,
    random,
    sync::{AtomicU64, AtomicUsize, Mutex, Ordering, lock},
    wire::{
        cursor::{Cursor, Epoch, Offset},
        encode::{Draft, EncodedEvent},
        name::{ChannelName, CustomId, IdempotencyKey},
    },
};

/// What the logs of a hub share. Of a hub with a remote backend, whose logs are mirrors, it is what the node knows.
pub(crate) struct Memory {
    /// Changes only where the backend is remote.
    epoch: AtomicU64,
    /// The offset that was given last; of mirrors the one up to which they are whole.
    last: AtomicU64,
    /// What all held events cost.
    bytes: AtomicUsize,
    graves: Mutex<Graves>,
    keys: Mutex<Keys>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        // Another number in every process, and for every hub.
        let epoch = Epoch::from_bits(random::bits());
        Self {
            epoch: AtomicU64::new(epoch.bits()),
            last: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            graves: Mutex::new(Graves::default()),
            keys: Mutex::new(Keys::default()),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::from_bits(self.epoch.load(Ordering::Acquire))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.bits(), Ordering::Release);
    }

    /// Every event up to this offset is in its log for whoever locks that log from now on: the offset is given, and the
    /// event put in, under the log's lock.
    pub(crate) fn last(&self) -> Offset {
        Offset::new(self.last.load(Ordering::Acquire))
    }

    /// For mirrors: they are whole up to here.
    pub(crate) fn set_last(&self, last: Offset) {
        self.last.store(last.get(), Ordering::Release);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Gives the event its offset and puts it in `log`, whose lock the caller holds.
    pub(crate) fn append(
        &self,
        log: &mut Log,
        lane: LaneId,
        draft: Draft,
        now: Instant,
        counters: &Counters,
    ) -> EncodedEvent {
        let offset = Offset::new(self.last.fetch_add(1, Ordering::AcqRel) + 1);
        let (event, custom) = draft.seal(Cursor { epoch: self.epoch(), offset });
        self.put(log, lane, (&event, custom), now, counters);
        event
    }

    /// Puts an event that has its offset in `log`, whose lock the caller holds.
    #[inline]
    pub(crate) fn put(
        &self,
        log: &mut Log,
        lane: LaneId,
        (event, custom): (&EncodedEvent, Option<CustomId>),
        now: Instant,
        counters: &Counters,
    ) {
        self.bytes.fetch_add(crate::log::cost(event), Ordering::Relaxed);
        let evicted = log.append(lane, event, custom, now);
        self.release(evicted, counters);
    }

    /// Where the event with this key is in the channel, or was, whose lock the caller holds.
    pub(crate) fn repeated(&self, channel: &ChannelName, key: &IdempotencyKey, now: Instant) -> Option<Offset> {
        lock(&self.keys).get(channel, key, now)
    }

    /// Remembers where it is; the channel's lock is held since it was [asked](Self::repeated).
    pub(crate) fn remember(&self, channel: &ChannelName, key: IdempotencyKey, offset: Offset, now: Instant) {
        lock(&self.keys).put(channel.clone(), key, offset, now);
    }

    /// Gives back what a mirror held, which is not evicted by that.
    pub(crate) fn forget(&self, dropped: Evicted) {
        self.bytes.fetch_sub(dropped.bytes, Ordering::Relaxed);
    }

    /// Counts what a log evicted.
    pub(crate) fn release(&self, evicted: Evicted, counters: &Counters) {
        if evicted != Evicted::default() {
            self.bytes.fetch_sub(evicted.bytes, Ordering::Relaxed);
            counters.evicted.add(evicted.events);
        }
    }

    /// Remembers a channel that is dropped.
    pub(crate) fn bury(&self, channel: ChannelName, tombstone: Tombstone) {
        lock(&self.graves).bury(channel, tombstone);
    }

    /// Forgets of a dropped channel that it was finished.
    pub(crate) fn reopen(&self, channel: &ChannelName) {
        if let Some((_, tombstone)) = lock(&self.graves).by_channel.get_mut(channel) {
            tombstone.finished = false;
        }
    }

    /// What is known of a channel that was dropped; for one that nobody remembers, the hub-wide watermark.
    pub(crate) fn exhume(&self, channel: &ChannelName) -> Tombstone {
        lock(&self.graves).exhume(channel)
    }
}

/// The tombstones of dropped channels, bounded: the oldest ones become one watermark.
#[derive(Default)]
struct Graves {
    by_channel: HashMap<ChannelName, (u64, Tombstone)>,
    /// The order in which they were buried. An entry whose number is not the channel's current one is void.
    order: VecDeque<(u64, ChannelName)>,
    next: u64,
    /// How many numbers all tombstones hold.
    len: usize,
    /// The highest offset that a forgotten tombstone said was gone.
    watermark: Offset,
}

impl Graves {
    /// How many numbers are remembered before the oldest tombstones are forgotten: a few MiB.
    const MAX: usize = 32_768;

    fn bury(&mut self, channel: ChannelName, tombstone: Tombstone) {
        if !tombstone.finished && tombstone.highest() <= self.watermark {
            return;
        }
        let number = self.next;
        self.next += 1;
        self.len += tombstone.len();
        if let Some((_, before)) = self.by_channel.insert(channel.clone(), (number, tombstone)) {
            self.len -= before.len();
        }
        self.order.push_back((number, channel));
        let current = |by_channel: &HashMap<_, (u64, _)>, (number, channel): &(u64, ChannelName)| {
            by_channel.get(channel).is_some_and(|(current, _)| current == number)
        };
        // A channel that comes and goes leaves a void entry each time.
        if self.order.len() > 2 * self.by_channel.len() + 64 {
            self.order.retain(|entry| current(&self.by_channel, entry));
        }
        while self.len > Self::MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            if current(&self.by_channel, &oldest) {
                let channel = oldest.1;
                let tombstone = self.remove(&channel);
                self.watermark = self.watermark.max(tombstone.map_or(Offset::START, |gone| gone.highest()));
            }
        }
    }

    fn exhume(&mut self, channel: &ChannelName) -> Tombstone {
        self.remove(channel).unwrap_or_else(|| Tombstone::of_watermark(self.watermark))
    }

    fn remove(&mut self, channel: &ChannelName) -> Option<Tombstone> {
        let (_, tombstone) = self.by_channel.remove(channel)?;
        self.len -= tombstone.len();
        Some(tombstone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(n: usize) -> ChannelName {
        ChannelName::try_from(format!("channel{n}")).unwrap()
    }

    fn tombstone(offset: usize) -> Tombstone {
        Tombstone { broadcast: Offset::new(offset as u64), ..Tombstone::default() }
    }

    #[test]
    fn forgotten_tombstones_become_a_watermark_that_hides_no_loss() {
        let mut graves = Graves::default();
        let count = Graves::MAX + 100;
        for n in 1..=count {
            graves.bury(channel(n), tombstone(n));
            assert!(graves.len <= Graves::MAX && graves.order.len() <= 2 * Graves::MAX + 64);
        }
        assert_eq!(graves.watermark, Offset::new(100));
        assert_eq!(graves.exhume(&channel(1)), Tombstone::of_watermark(Offset::new(100)));
        assert_eq!(graves.exhume(&channel(101)), tombstone(101));
        assert_eq!(graves.exhume(&channel(count)), tombstone(count));
        assert_eq!(graves.exhume(&channel(count + 1)), Tombstone::of_watermark(Offset::new(100)), "one never seen");
    }

    #[test]
    fn a_channel_that_comes_and_goes_does_not_push_out_the_others() {
        let mut graves = Graves::default();
        (1..=10).for_each(|n| graves.bury(channel(n), tombstone(n)));
        for _ in 0..2 * Graves::MAX {
            let tombstone = graves.exhume(&channel(10));
            graves.bury(channel(10), tombstone);
            assert!(graves.order.len() <= 2 * graves.by_channel.len() + 64);
        }
        assert_eq!(graves.watermark, Offset::START);
        assert_eq!(graves.len, 10);
        (1..=10).for_each(|n| assert_eq!(graves.exhume(&channel(n)), tombstone(n)));
        assert_eq!(graves.len, 0);
    }

    #[test]
    fn what_the_watermark_says_already_needs_no_tombstone() {
        let mut graves = Graves { watermark: Offset::new(7), ..Graves::default() };
        graves.bury(channel(1), tombstone(7));
        assert!(graves.by_channel.is_empty());
        graves.bury(channel(1), Tombstone { finished: true, ..tombstone(7) });
        assert!(graves.exhume(&channel(1)).finished, "that it was finished it does not say");
    }
}
