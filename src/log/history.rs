//! Which of a log's events are history, where some are held for connected readers only, and whether there are such readers.

use std::{collections::VecDeque, time::Instant};

use super::{Log, retention::Retention};
use crate::{footprint::Elastic as _, wire::cursor::Offset};

/// The history of a log: the last of its events.
#[derive(Default)]
pub(super) struct History {
    offsets: VecDeque<Offset>,
    /// What is up to here is no history any more.
    before: Offset,
}

impl History {
    /// `None` if everything that is held is history.
    pub(super) fn of(retention: Retention) -> Option<Box<Self>> {
        (retention.max_lag() > 0).then(Box::default)
    }

    /// An event came, and the history may have so many.
    pub(super) fn push(&mut self, offset: Offset, max: usize) {
        self.offsets.make_room();
        self.offsets.push_back(offset);
        while self.offsets.len() > max {
            self.before = self.offsets.pop_front().unwrap_or_default();
        }
        self.offsets.give_back();
    }

    /// Everything up to here was evicted.
    pub(super) fn evict(&mut self, upto: Offset) {
        while self.offsets.front().is_some_and(|first| *first <= upto) {
            self.offsets.pop_front();
        }
        self.offsets.give_back();
    }

    pub(super) fn before(&self) -> Offset {
        self.before
    }

    /// How many bytes it takes from the allocator.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.offsets.footprint()
    }
}

impl Log {
    pub(super) fn add_to_history(&mut self, offset: Offset) {
        if let Some(history) = &mut self.history {
            history.push(offset, self.retention.max_events());
        }
    }

    /// How many events it may hold now.
    pub(super) fn max_events(&self) -> usize {
        match self.retention.after_finish_millis {
            Some(_) => usize::MAX,
            None if self.is_read => self.retention.max_events().saturating_add(self.retention.lag),
            None => self.retention.max_events(),
        }
    }

    /// There is a reader.
    pub(crate) fn is_read(&mut self) {
        self.is_read = true;
    }

    /// There are no readers any more.
    pub(crate) fn is_unread(&mut self) {
        (self.is_read, self.ephemeral) = (false, None);
    }

    /// Evicts what was held for readers that are gone, at most so many events. Says how many.
    pub(crate) fn evict_lag(&mut self, most: usize) -> u64 {
        let mut evicted = 0;
        while evicted < most && self.events > self.max_events() && self.evict() {
            evicted += 1;
        }
        u64::try_from(evicted).unwrap_or(u64::MAX)
    }

    /// Nothing came for a minute.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.millis(now) >= self.newest_at.saturating_add(60_000)
    }

    /// The highest offset that is no history any more, though events up to it may be held for readers that are connected.
    pub(crate) fn before_history(&self) -> Offset {
        self.history.as_ref().map_or(Offset::START, |history| history.before())
    }

    /// The offsets of all events that are held, in order.
    pub(super) fn all_offsets(&self) -> Vec<Offset> {
        let lanes = self.clients.iter().flat_map(|clients| clients.all()).chain([&self.broadcast]);
        let mut all: Vec<_> = lanes.flat_map(|lane| lane.after(Offset::START)).map(|held| held.offset).collect();
        all.sort_unstable();
        all
    }
}
