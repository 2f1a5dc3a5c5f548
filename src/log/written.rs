//! What a log knows of its writers: the idempotency keys of the events that it holds. Most logs have none.

use std::collections::VecDeque;

use super::Log;
use crate::{
    footprint::{Elastic as _, Table},
    wire::{
        cursor::Offset,
        name::{CustomId, IdempotencyKey},
    },
};

/// The first event with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) offset: Offset,
    /// Its custom id, if it has one.
    pub(crate) custom: Option<CustomId>,
}

impl First {
    /// Returns how many bytes the custom id takes from the allocator, as if it were not shared.
    pub(crate) fn heap(&self) -> usize {
        self.custom.as_ref().map_or(0, |custom| custom.heap())
    }
}

#[derive(Default)]
pub(super) struct Written {
    by_key: Table<IdempotencyKey, First>,
    /// The keys of the held events, in the order of the events.
    held: VecDeque<(Offset, IdempotencyKey)>,
    /// The bytes that the texts take from the allocator.
    texts: usize,
}

impl Written {
    /// Remembers the key of the last event. The log must not hold another event with that key.
    pub(super) fn remember(&mut self, key: IdempotencyKey, first: First) {
        self.texts += key.heap() + first.heap();
        self.held.make_room();
        self.held.push_back((first.offset, key.clone()));
        self.by_key.insert(key, first);
    }

    pub(super) fn first_with(&self, key: &IdempotencyKey) -> Option<&First> {
        self.by_key.get(key)
    }

    /// Forgets the oldest key if its event had this offset.
    pub(super) fn forget(&mut self, evicted: Offset) {
        if self.held.front().is_some_and(|(offset, _)| *offset <= evicted) {
            self.forget_oldest();
            self.held.give_back();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.held.pop_front() else { return };
        let first = self.by_key.remove(&key);
        self.texts -= key.heap() + first.map_or(0, |first| first.heap());
    }

    pub(super) fn holds_keys(&self) -> bool {
        !self.held.is_empty()
    }

    /// Frees at most `most` keys, and counts `most` down. Returns whether none are left.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        while *most > 0 && !self.held.is_empty() {
            self.forget_oldest();
            *most -= 1;
        }
        self.held.is_empty()
    }

    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.by_key.footprint() + self.held.footprint() + self.texts
    }
}

/// What a log knows of its writers.
impl Log {
    /// Returns the offset of the last event, held or not; the start if there was none, or if it is no longer known.
    pub(crate) fn last_of_all(&self) -> Offset {
        self.last
    }

    /// The highest fence of an append.
    pub(crate) fn fence(&self) -> Option<u64> {
        self.rare.as_ref()?.fence
    }

    /// Notes an append with this fence.
    pub(crate) fn raise_fence(&mut self, fence: u64) {
        let rare = self.rare.get_or_insert_default();
        rare.fence = rare.fence.max(Some(fence));
    }

    /// Returns the first event with this key, if it is held.
    pub(crate) fn first_with(&self, key: &IdempotencyKey) -> Option<&First> {
        self.rare.as_ref()?.written.as_ref()?.first_with(key)
    }

    /// Remembers the key of the last event for as long as the event is held.
    pub(crate) fn remember(&mut self, key: IdempotencyKey, first: First) {
        // The event may have been evicted by later events of the same append.
        if self.oldest().is_some_and(|oldest| oldest <= first.offset) {
            self.rare.get_or_insert_default().written.get_or_insert_default().remember(key, first);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        log::{BROADCAST, Retention, Tombstone},
        wire::{
            cursor::{Cursor, Epoch},
            encode::Draft,
            event::Event,
        },
    };

    fn first(n: u64) -> First {
        let custom = n.is_multiple_of(2).then(|| CustomId::try_from(format!("id.{n}")).unwrap());
        First { offset: Offset::new(n), custom }
    }

    fn key(n: u64) -> IdempotencyKey {
        IdempotencyKey::try_from(format!("key {n}")).unwrap()
    }

    #[test]
    fn keys_go_with_their_events_and_leave_no_memory() {
        let mut written = Written::default();
        (1..=1_000).for_each(|n| written.remember(key(n), first(n)));
        let full = written.footprint();
        assert_eq!(written.first_with(&key(8)), Some(&first(8)));
        // Events without a key are evicted too.
        (1..=990).for_each(|n| written.forget(Offset::new(n)));
        assert_eq!((written.first_with(&key(990)), written.first_with(&key(991))), (None, Some(&first(991))));
        assert!(written.holds_keys() && written.footprint() < full / 20);
        (991..=1_000).for_each(|n| written.forget(Offset::new(n)));
        assert_eq!((written.holds_keys(), written.texts), (false, 0));
    }

    #[test]
    fn keys_are_freed_a_few_at_a_time() {
        let mut written = Written::default();
        (1..=10).for_each(|n| written.remember(key(n), first(n)));
        let mut free_some = |mut most| (written.free_some(&mut most), most);
        assert_eq!([free_some(4), free_some(4), free_some(4)], [(false, 0), (false, 0), (true, 2)]);
    }

    #[test]
    fn a_log_that_is_buried_remembers_its_fence_and_its_last_event_and_frees_its_keys() {
        let (now, retention) = (Instant::now(), Retention::new().events(5));
        let mut log = Log::new(retention, Tombstone::default(), now);
        assert_eq!((log.last_of_all(), log.fence()), (Offset::START, None));
        for n in 1..=10 {
            let cursor = Cursor { epoch: Epoch::from_bits(1), offset: Offset::new(n) };
            let (event, _) = Draft::new(Event::text("x"), cursor.offset).seal(cursor);
            log.append(BROADCAST, &event, None, now);
            log.remember(key(n), first(n));
        }
        assert_eq!((log.first_with(&key(5)), log.first_with(&key(6))), (None, Some(&first(6))));
        // An event of a batch that later events of the batch evict.
        log.remember(key(1), first(1));
        assert_eq!(log.first_with(&key(1)), None);
        log.raise_fence(7);
        log.raise_fence(3);
        let (tombstone, remains) = log.bury();
        assert_eq!((log.footprint().all, tombstone.last(), tombstone.fence()), (0, Offset::new(10), Some(7)));
        let mut remains = remains.unwrap();
        assert!(remains.free_some(3) && !remains.free_some(100));
        let again = Log::new(retention, tombstone, now);
        assert_eq!((again.last_of_all(), again.fence(), again.first_with(&key(10))), (Offset::new(10), Some(7), None));
    }
}
