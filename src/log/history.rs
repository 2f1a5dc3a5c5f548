//! Which of a log's events are history, where some are held for connected readers only.

use std::collections::VecDeque;

use super::retention::Retention;
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
