//! The idempotency keys that were seen lately: bounded in time and number.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::wire::{
    cursor::Offset,
    name::{ChannelName, IdempotencyKey},
};

#[derive(Default)]
pub(super) struct Keys {
    by_key: HashMap<(ChannelName, IdempotencyKey), Offset>,
    /// In the order in which they came.
    order: VecDeque<(Instant, (ChannelName, IdempotencyKey))>,
}

impl Keys {
    const WINDOW: Duration = Duration::from_secs(300);
    /// Some MiB, with keys of usual lengths.
    const MAX: usize = 16_384;

    pub(super) fn get(&mut self, channel: &ChannelName, key: &IdempotencyKey, now: Instant) -> Option<Offset> {
        self.forget(now);
        self.by_key.get(&(channel.clone(), key.clone())).copied()
    }

    pub(super) fn put(&mut self, channel: ChannelName, key: IdempotencyKey, offset: Offset, now: Instant) {
        let key = (channel, key);
        self.by_key.insert(key.clone(), offset);
        self.order.push_back((now, key));
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) > Self::WINDOW;
        while self.order.len() > Self::MAX || self.order.front().is_some_and(is_old) {
            let Some((_, key)) = self.order.pop_front() else { break };
            self.by_key.remove(&key);
        }
        if self.order.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> IdempotencyKey {
        IdempotencyKey::try_from(n.to_string()).unwrap()
    }

    #[test]
    fn a_key_is_known_for_its_window_in_its_channel() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        let [a, b] = ["a", "b"].map(ChannelName::from_static);
        keys.put(a.clone(), key(1), Offset::new(7), now);
        assert_eq!(keys.get(&a, &key(1), now + Keys::WINDOW), Some(Offset::new(7)));
        assert_eq!((keys.get(&b, &key(1), now), keys.get(&a, &key(2), now)), (None, None));
        assert_eq!(keys.get(&a, &key(1), now + 2 * Keys::WINDOW), None);
        assert!(keys.order.is_empty() && keys.by_key.capacity() == 0);
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        let a = ChannelName::from_static("a");
        for n in 0..=Keys::MAX {
            keys.put(a.clone(), key(n), Offset::new(n as u64), now);
        }
        assert_eq!((keys.order.len(), keys.by_key.len()), (Keys::MAX, Keys::MAX));
        assert_eq!((keys.get(&a, &key(0), now), keys.get(&a, &key(1), now)), (None, Some(Offset::new(1))));
    }
}
