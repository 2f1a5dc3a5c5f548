//! The in-process backend: offsets come from one counter, and logs are in memory and end with the process.

mod graves;
mod keys;

use std::{sync::Arc, time::Instant};

use self::{graves::Graves, keys::Keys};
use crate::{
    footprint::Tally,
    log::{Epitaph, First, LaneId, Log, Remains, Tombstone},
    observe::Counters,
    random,
    sync::{AtomicU64, Mutex, Ordering, lock},
    wire::{
        cursor::{Cursor, Epoch, Offset},
        encode::{Draft, Sealed},
        name::{ChannelName, ClientId, CustomId, IdempotencyKey},
    },
};

/// What the logs of a hub share. In a hub with a remote backend, whose logs are mirrors, it is what the node knows.
pub(crate) struct Memory {
    /// The epoch. It changes only if the backend is remote.
    epoch: AtomicU64,
    /// The offset that was given last. For mirrors, the offset up to which they are whole.
    last: AtomicU64,
    tally: Arc<Tally>,
    graves: Mutex<Graves>,
    keys: Mutex<Keys>,
}

impl Memory {
    /// Creates the memory, which counts in `tally` what it takes. That is at most about a fifth of `max_bytes`, plus
    /// what is remembered of clients.
    pub(crate) fn new(tally: Arc<Tally>, max_bytes: usize) -> Self {
        // A different number in every process, and for every hub.
        let epoch = Epoch::from_bits(random::bits());
        Self {
            epoch: AtomicU64::new(epoch.bits()),
            last: AtomicU64::new(0),
            graves: Mutex::new(Graves::new(tally.clone(), max_bytes / 8)),
            keys: Mutex::new(Keys::new(tally.clone(), max_bytes / 16)),
            tally,
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::from_bits(self.epoch.load(Ordering::Acquire))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.bits(), Ordering::Release);
    }

    /// Returns the last offset. A caller that locks a log after this call finds every event up to that offset in it:
    /// the offset is given, and the event put in, under the log's lock.
    pub(crate) fn last(&self) -> Offset {
        Offset::new(self.last.load(Ordering::Acquire))
    }

    /// Sets the offset up to which all mirrors are whole.
    pub(crate) fn set_last(&self, last: Offset) {
        self.last.store(last.get(), Ordering::Release);
    }

    /// Gives the event its offset and puts it in `log`, whose lock the caller holds.
    pub(crate) fn append(
        &self,
        log: &mut Log,
        lane: LaneId,
        draft: Draft,
        now: Instant,
        counters: &Counters,
    ) -> Sealed {
        self.append_at(self.next(1), log, lane, draft, now, counters)
    }

    /// Gives the caller `count` consecutive offsets, and returns the first of them. The caller has to hold the lock of
    /// a log until it has [put](Self::append_at) the events there.
    pub(crate) fn next(&self, count: u64) -> Offset {
        Offset::new(self.last.fetch_add(count, Ordering::AcqRel) + 1)
    }

    /// Puts the event in `log` at an offset that was [given](Self::next).
    #[inline]
    pub(crate) fn append_at(
        &self,
        offset: Offset,
        log: &mut Log,
        lane: LaneId,
        mut draft: Draft,
        now: Instant,
        counters: &Counters,
    ) -> Sealed {
        if let Some(except) = draft.take_except() {
            log.exclude(lane, offset, except);
        }
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
        (event, custom): (&Sealed, Option<CustomId>),
        now: Instant,
        counters: &Counters,
    ) {
        counters.evicted.add(log.append(lane, event, custom, now));
    }

    /// Returns the first event with this key that is in the channel's `log`, or was lately. The caller holds the
    /// channel's lock.
    pub(crate) fn repeated(
        &self,
        log: &Log,
        channel: &ChannelName,
        key: &IdempotencyKey,
        now: Instant,
    ) -> Option<First> {
        log.first_with(key).cloned().or_else(|| lock(&self.keys).get(channel, key, now))
    }

    /// Remembers a key. The caller must have held the channel's lock since it [asked](Self::repeated) for the key. The
    /// channel's log remembers the key as long as it holds the event.
    pub(crate) fn remember(
        &self,
        log: &mut Log,
        channel: &ChannelName,
        key: IdempotencyKey,
        first: First,
        now: Instant,
    ) {
        log.remember(key.clone(), first.clone());
        lock(&self.keys).put(channel.clone(), key, first, now);
    }

    /// Remembers a channel that is dropped. Returns what is forgotten for it, which has to be freed where no lock is
    /// held.
    pub(crate) fn bury(&self, channel: ChannelName, tombstone: Tombstone) -> Option<Box<Remains>> {
        lock(&self.graves).bury(channel, tombstone)
    }

    /// Returns what is known of a dropped channel, for a client or for everybody.
    pub(crate) fn peek(&self, channel: &ChannelName, client: Option<&ClientId>) -> Epitaph {
        lock(&self.graves).peek(channel, client)
    }

    /// Forgets that a dropped channel was finished.
    pub(crate) fn reopen(&self, channel: &ChannelName) {
        lock(&self.graves).reopen(channel);
    }

    /// Forgets some of what is remembered of clients, if that is too much. Affects dropped channels that have more than
    /// their share.
    pub(crate) fn forget_marks(&self, most: usize) {
        if self.tally.has_too_many_marks() {
            lock(&self.graves).forget_marks(most);
        }
    }

    /// Returns what is known of a dropped channel. For a channel that is not remembered, that is the hub-wide
    /// watermark.
    pub(crate) fn exhume(&self, channel: &ChannelName) -> Tombstone {
        lock(&self.graves).exhume(channel)
    }
}
