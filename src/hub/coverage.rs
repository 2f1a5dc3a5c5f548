//! How much of a channel's log is here, where the log lives elsewhere and its events arrive over time.
//!
//! Readers ask it under the channel's lock. Whoever brings the events keeps it right under the same lock.

use std::time::{Duration, Instant};

use super::early::Early;
use crate::{
    backend::{Head, Progress},
    log::{Log, Retention, Tombstone, View},
    wire::cursor::{Cursor, Epoch, Offset},
};

/// What is known about a log that is a copy.
pub(crate) struct Coverage {
    /// The log's epoch.
    pub(crate) epoch: Epoch,
    /// The epoch before, and up to where its offsets go on in this log.
    pub(crate) before: Option<Cursor>,
    /// The log has been loaded in this epoch.
    pub(crate) loaded: bool,
    /// Something is known to be missing at its end.
    pub(crate) broken: bool,
    /// The channel's last event that is in the log, or was.
    pub(crate) tail: Offset,
    /// The hub's last offset when the log was loaded last, or found to be whole.
    pub(crate) loaded_at: Offset,
    /// The channel's last event of all, if this process has published it. It may still be on its way here.
    pub(crate) finish: Offset,
    /// How often the channel was closed before this log began, as far as is known.
    pub(crate) closed: u64,
    /// Events that came late.
    pub(crate) late: Late,
    /// The progress of the last read, if one was started.
    pub(crate) progress: Option<Progress>,
    /// What has arrived since the read that is under way began. `None` if the channel is not being read.
    pub(crate) early: Option<Box<Early>>,
    /// Whoever brings the events has been told that somebody reads the channel.
    pub(crate) wanted: bool,
}

/// Events that arrived when readers of several channels may have passed them already.
#[derive(Default)]
pub(crate) struct Late {
    /// How many times some came.
    times: u16,
    /// The last time: after what the log had before, and up to where readers may have been.
    after: Offset,
    upto: Offset,
    /// Some of that was evicted by then. Only then do the marks, which may be too high, say for whom it may have been.
    evicted: bool,
}

impl Late {
    /// Takes note that events after `after` have arrived, when readers may have been as far as `level`. `first` is the first of
    /// them that is held, with its predecessor in the channel.
    pub(crate) fn note(&mut self, after: Offset, level: Offset, first: Option<(Offset, Offset)>) {
        let evicted = first.is_none_or(|(_, previous)| previous > after);
        if after < level && (evicted || first.is_some_and(|(first, _)| first <= level)) {
            *self = Self { times: self.times.wrapping_add(1), after, upto: level, evicted };
        }
    }
}

impl Coverage {
    /// The coverage of a log in which nothing has arrived yet.
    pub(crate) fn none(epoch: Epoch) -> Self {
        Self {
            epoch,
            before: None,
            loaded: false,
            broken: false,
            tail: Offset::START,
            loaded_at: Offset::START,
            finish: Offset::START,
            closed: 0,
            late: Late::default(),
            progress: None,
            early: None,
            wanted: false,
        }
    }

    /// An empty log.
    pub(crate) fn log(retention: Retention, now: Instant) -> Log {
        Log::new(retention, Tombstone::default(), Self::began(retention, now))
    }

    /// When the time of an empty log begins: long enough ago for events that arrive with an age.
    pub(crate) fn began(retention: Retention, now: Instant) -> Instant {
        let longest = retention.max_age().max(retention.max_age_after_finish().unwrap_or_default());
        let before = longest.saturating_add(Duration::from_secs(60));
        now.checked_sub(before).unwrap_or(now)
    }

    /// What has arrived since a read began takes this many bytes from the allocator.
    pub(crate) fn footprint_of_early(&self) -> usize {
        self.early.as_ref().map_or(0, |early| early.footprint())
    }

    /// Nothing is known to be missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.loaded && !self.broken
    }

    /// The place of a cursor of the epoch before in this log, if its offsets go on.
    pub(crate) fn translate(&self, cursor: Cursor) -> Option<Offset> {
        Self::place_in(self.before, cursor)
    }

    /// The same, of a log of which this was the epoch before.
    pub(crate) fn place_in(before: Option<Cursor>, cursor: Cursor) -> Option<Offset> {
        let before = before.filter(|before| before.epoch == cursor.epoch)?;
        // A reader may have got more of that epoch than is left.
        Some(cursor.offset.min(before.offset))
    }

    /// Everything up to here is in the log, or was, whatever got lost on the way here.
    pub(crate) fn whole_up_to(&self) -> Offset {
        self.tail.max(self.loaded_at)
    }

    /// `head` says how far the channel is, and not that events have been forgotten that may not be here.
    pub(crate) fn knows(&self, head: Head) -> bool {
        head.offset > Offset::START || head.forgotten <= self.whole_up_to()
    }

    /// The channel takes no more events, and its last one is on its way here.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finish > self.whole_up_to()
    }

    /// This process has published the channel's last event.
    pub(crate) fn finishes_at(&mut self, last: Cursor) {
        if self.epoch == last.epoch {
            self.finish = self.finish.max(last.offset);
        }
    }

    /// How many times events came late.
    pub(crate) fn times_late(&self) -> u16 {
        self.late.times
    }

    /// Whether a reader at `cursor` has passed an event of `log` that came late since the reader last asked. Then events had come
    /// late `seen` times, and the reader has been told of everything up to `told`. Only the last time is known exactly.
    pub(crate) fn has_passed_late(&self, log: &Log, view: View<'_>, seen: u16, told: Offset, cursor: Offset) -> bool {
        let late = &self.late;
        let (from, upto) = (told.max(late.after), cursor.min(late.upto));
        let is_held = || log.first_after(view, from).is_some_and(|first| first <= upto);
        let is_evicted = || late.evicted && from < upto && log.missed(view) > from;
        match late.times.wrapping_sub(seen) {
            0 => false,
            1 => is_held() || is_evicted(),
            _ => true,
        }
    }
}
