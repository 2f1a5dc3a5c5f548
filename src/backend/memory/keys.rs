//! The idempotency keys that were seen lately: bounded in time and number.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    footprint::{Elastic as _, Table, Tally},
    log::First,
    wire::name::{ChannelName, IdempotencyKey},
};

type Key = (ChannelName, IdempotencyKey);

pub(super) struct Keys {
    /// Each key with the first event that had it.
    by_key: Table<Key, (Instant, First)>,
    /// The keys in the order in which they arrived.
    order: VecDeque<(Instant, Key)>,
    /// What the texts of the keys take from the allocator.
    texts: usize,
    max_bytes: usize,
    tally: Arc<Tally>,
    counted: usize,
}

impl Keys {
    const WINDOW: Duration = Duration::from_secs(300);
    /// The number of keys that are remembered at most. They take some MiB if they have usual lengths.
    const MAX: usize = 16_384;
    /// The number of keys that are forgotten at once.
    const SLICE: usize = 64;

    pub(super) fn new(tally: Arc<Tally>, max_bytes: usize) -> Self {
        let (by_key, order) = (Table::default(), VecDeque::new());
        Self { by_key, order, texts: 0, max_bytes, tally, counted: 0 }
    }

    pub(super) fn get(&mut self, channel: &ChannelName, key: &IdempotencyKey, now: Instant) -> Option<First> {
        self.forget(now);
        let (at, first) = self.by_key.get(&(channel.clone(), key.clone()))?;
        (!is_old(*at, now)).then(|| first.clone())
    }

    pub(super) fn put(&mut self, channel: ChannelName, key: IdempotencyKey, first: First, now: Instant) {
        let key = (channel, key);
        self.texts += heap(&key) + first.heap();
        if let Some((_, before)) = self.by_key.insert(key.clone(), (now, first)) {
            self.texts -= before.heap();
        }
        self.order.make_room();
        self.order.push_back((now, key));
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        for _ in 0..Self::SLICE {
            let is_oldest_old = self.order.front().is_some_and(|(at, _)| is_old(*at, now));
            if !is_oldest_old && self.order.len() <= Self::MAX && self.footprint() <= self.max_bytes {
                break;
            }
            let Some((at, key)) = self.order.pop_front() else { break };
            self.texts -= heap(&key);
            // The key may have arrived again after it became too old.
            if self.by_key.get(&key).is_some_and(|(last, _)| *last == at)
                && let Some((_, first)) = self.by_key.remove(&key)
            {
                self.texts -= first.heap();
            }
            self.order.give_back();
        }
        if self.order.is_empty() {
            (self.by_key, self.order) = (Table::default(), VecDeque::new());
        }
        let now = self.footprint();
        self.tally.change_all(std::mem::replace(&mut self.counted, now), now);
    }

    fn footprint(&self) -> usize {
        self.by_key.footprint() + self.order.footprint() + self.texts
    }
}

/// Returns what a key takes from the allocator. The channel's name counts for each key, since the keys keep it after
/// the channel is dropped.
fn heap((channel, key): &Key) -> usize {
    channel.heap() + key.heap()
}

fn is_old(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) > Keys::WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{cursor::Offset, name::CustomId};

    fn key(n: usize) -> IdempotencyKey {
        IdempotencyKey::try_from(n.to_string()).unwrap()
    }

    fn id(offset: u64) -> First {
        First { offset: Offset::new(offset), custom: None }
    }

    fn keys(max_bytes: usize) -> Keys {
        Keys::new(Arc::new(Tally::new(0)), max_bytes)
    }

    #[test]
    fn a_key_is_known_for_its_window_in_its_channel() {
        let (mut keys, now) = (keys(usize::MAX), Instant::now());
        let [a, b] = ["a", "b"].map(ChannelName::from_static);
        keys.put(a.clone(), key(1), id(7), now);
        assert_eq!(keys.get(&a, &key(1), now + Keys::WINDOW), Some(id(7)));
        assert_eq!((keys.get(&b, &key(1), now), keys.get(&a, &key(2), now)), (None, None));
        assert_eq!(keys.get(&a, &key(1), now + 2 * Keys::WINDOW), None);
        assert!(keys.order.is_empty() && keys.tally.all() == 0);
    }

    #[test]
    fn keys_that_are_too_old_are_forgotten_a_few_at_a_time() {
        let (mut keys, now) = (keys(usize::MAX), Instant::now());
        let a = ChannelName::from_static("a");
        (0..200).for_each(|n| keys.put(a.clone(), key(n), id(7), now));
        let later = now + 2 * Keys::WINDOW;
        assert_eq!(keys.get(&a, &key(199), later), None);
        assert_eq!(keys.order.len(), 200 - Keys::SLICE);
        keys.put(a.clone(), key(199), id(8), later);
        (0..3).for_each(|_| assert_eq!(keys.get(&a, &key(199), later), Some(id(8))));
        assert_eq!((keys.order.len(), keys.by_key.len()), (1, 1));
    }

    #[test]
    fn keys_take_no_more_memory_than_they_may() {
        let (mut keys, now) = (keys(100_000), Instant::now());
        for n in 0..10_000 {
            keys.put(ChannelName::from_static("a"), key(n), id(n as u64), now);
            // A table that has grown takes some calls to shrink.
            assert!(keys.footprint() <= 150_000 && keys.tally.all() == keys.footprint());
        }
        assert!(keys.by_key.len() > 200);
    }

    #[test]
    fn a_key_counts_the_name_of_its_channel() {
        let footprint = |len: usize| {
            let (mut keys, now) = (keys(usize::MAX), Instant::now());
            for n in 0..100 {
                keys.put(ChannelName::try_from(format!("{n:0len$}")).unwrap(), key(n), id(7), now);
            }
            keys.tally.all()
        };
        assert_eq!(footprint(208) - footprint(8), 100 * 200);
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let (mut keys, now) = (keys(usize::MAX), Instant::now());
        let a = ChannelName::from_static("a");
        for n in 0..=Keys::MAX {
            keys.put(a.clone(), key(n), id(n as u64), now);
        }
        assert_eq!((keys.order.len(), keys.by_key.len()), (Keys::MAX, Keys::MAX));
        assert_eq!((keys.get(&a, &key(0), now), keys.get(&a, &key(1), now)), (None, Some(id(1))));
    }

    #[test]
    fn a_key_is_answered_with_its_last_id_and_counts_that() {
        let (mut keys, now) = (keys(usize::MAX), Instant::now());
        let (a, custom) = (ChannelName::from_static("a"), CustomId::try_from("x".repeat(100)).unwrap());
        let long = First { custom: Some(custom), ..id(3) };
        keys.put(a.clone(), key(1), long.clone(), now);
        let with_long = keys.tally.all();
        assert_eq!(keys.get(&a, &key(1), now), Some(long));
        let later = now + 2 * Keys::WINDOW;
        keys.put(a.clone(), key(1), id(7), later);
        assert_eq!((keys.get(&a, &key(1), later), with_long - keys.tally.all()), (Some(id(7)), 120));
    }
}
