//! Tells which of a log's events are history, where some are held for connected readers only, and whether there are
//! such readers.

use std::{collections::VecDeque, time::Instant};

use super::Log;
use crate::{footprint::Elastic as _, wire::cursor::Offset};

/// The history of a log: the last ones of its events.
#[derive(Default)]
pub(super) struct History {
    offsets: VecDeque<Offset>,
    /// Events up to here are no longer history.
    before: Offset,
}

impl History {
    /// Adds an event to the history, which may have at most `max` events.
    pub(super) fn push(&mut self, offset: Offset, max: usize) {
        self.offsets.make_room();
        self.offsets.push_back(offset);
        while self.offsets.len() > max {
            self.before = self.offsets.pop_front().unwrap_or_default();
        }
        self.offsets.give_back();
    }

    /// Notes that everything up to here was evicted.
    pub(super) fn evict(&mut self, upto: Offset) {
        while self.offsets.front().is_some_and(|first| *first <= upto) {
            self.offsets.pop_front();
        }
        self.offsets.give_back();
    }

    pub(super) fn before(&self) -> Offset {
        self.before
    }

    /// Returns how many bytes the history owns.
    pub(super) fn footprint(&self) -> usize {
        self.offsets.footprint()
    }
}

impl Log {
    pub(super) fn add_to_history(&mut self, offset: Offset) {
        let max = self.max_history;
        if let Some(history) = self.rare.as_mut().and_then(|rare| rare.history.as_mut()) {
            history.push(offset, max);
        }
    }

    /// Returns how many events the log may hold now.
    pub(super) fn max_events(&self) -> usize {
        let Some(rare) = &self.rare else { return self.max_history };
        match rare.after_finish_millis {
            Some(_) => usize::MAX,
            None if self.is_read => self.max_history.saturating_add(rare.lag),
            None => self.max_history,
        }
    }

    /// Notes that the channel has a reader.
    pub(crate) fn is_read(&mut self) {
        self.is_read = true;
    }

    /// Notes that the last reader has left.
    pub(crate) fn is_unread(&mut self) {
        (self.is_read, self.ephemeral) = (false, None);
    }

    /// Evicts at most `most` events that were held for readers that have left. Returns how many.
    pub(crate) fn evict_lag(&mut self, most: usize) -> u64 {
        let mut evicted = 0;
        while evicted < most && self.events > self.max_events() && self.evict() {
            evicted += 1;
        }
        u64::try_from(evicted).unwrap_or(u64::MAX)
    }

    /// Returns whether nothing was appended for a minute.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.millis(now) >= self.newest_at.saturating_add(60_000)
    }

    /// Returns the highest offset that is no longer history. Events up to it may still be held for connected readers.
    pub(crate) fn before_history(&self) -> Offset {
        self.rare.as_ref().and_then(|rare| rare.history.as_ref()).map_or(Offset::START, History::before)
    }

    /// Returns the offsets of all held events, in order.
    pub(super) fn all_offsets(&self) -> Vec<Offset> {
        let lanes = self.clients.iter().flat_map(|clients| clients.all()).chain([&self.broadcast]);
        let mut all: Vec<_> = lanes.flat_map(|lane| lane.after(Offset::START)).map(|held| held.offset).collect();
        all.sort_unstable();
        all
    }
}
