//! How much of a channel's log is here, if the log lives elsewhere and its events arrive over time.
//!
//! Readers query it under the channel's lock. The side that brings the events updates it under the same lock.

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
    /// The previous epoch, and the offset up to which its offsets continue in this log.
    pub(crate) before: Option<Cursor>,
    /// Whether the log has been loaded in this epoch.
    pub(crate) loaded: bool,
    /// Whether something is known to be missing at the end of the log.
    pub(crate) broken: bool,
    /// The hub's last offset when the log [broke](Self::breaks): no reader of several channels was further then.
    pub(crate) passed: Offset,
    /// The channel's last event that is in the log, or was.
    pub(crate) tail: Offset,
    /// The hub's last offset when the log was last loaded or found to be whole.
    pub(crate) loaded_at: Offset,
    /// The channel's last event of all, if this process has published it. It may still be on its way here.
    pub(crate) finish: Offset,
    /// How often the channel was closed before this log began, as far as is known.
    pub(crate) closed: u64,
    /// Events that arrived late.
    pub(crate) late: Late,
    /// The progress of the last read, if one was started.
    pub(crate) progress: Option<Progress>,
    /// What has arrived since the current read began. `None` if the channel is not being read.
    pub(crate) early: Option<Box<Early>>,
    /// Whether the side that brings the events has been told that somebody reads the channel.
    pub(crate) wanted: bool,
}

/// Events that arrived when readers of several channels may already have passed them.
#[derive(Default)]
pub(crate) struct Late {
    /// How many times events arrived late.
    times: u16,
    /// The range of the last time: it begins after what the log had before, and ends where readers may have been.
    after: Offset,
    upto: Offset,
    /// Whether some of those events had already been evicted. Only in that case do the marks, which may be too high,
    /// decide whom the events may have been for.
    evicted: bool,
}

impl Late {
    /// Records that events after `after` have arrived when readers may have been as far as `level`. `first` is the
    /// first of these events that is held, with its predecessor in the channel.
    pub(crate) fn note(&mut self, after: Offset, level: Offset, first: Option<(Offset, Offset)>) {
        let evicted = first.is_none_or(|(_, previous)| previous > after);
        if after < level && (evicted || first.is_some_and(|(first, _)| first <= level)) {
            *self = Self { times: self.times.wrapping_add(1), after, upto: level, evicted };
        }
    }
}

impl Coverage {
    /// Returns the coverage of a log in which nothing has arrived yet.
    pub(crate) fn none(epoch: Epoch) -> Self {
        Self {
            epoch,
            before: None,
            loaded: false,
            broken: false,
            passed: Offset::START,
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

    /// Returns an empty log.
    pub(crate) fn log(retention: Retention, now: Instant) -> Log {
        Log::new(retention, Tombstone::default(), Self::began(retention, now))
    }

    /// Returns when the time of an empty log begins: long enough ago for events that have an age when they arrive.
    pub(crate) fn began(retention: Retention, now: Instant) -> Instant {
        let longest = retention.max_age().max(retention.max_age_after_finish().unwrap_or_default());
        let before = longest.saturating_add(Duration::from_secs(60));
        now.checked_sub(before).unwrap_or(now)
    }

    /// Returns how many bytes the events that arrived since a read began take from the allocator.
    pub(crate) fn footprint_of_early(&self) -> usize {
        self.early.as_ref().map_or(0, |early| early.footprint())
    }

    /// Records that something is missing at the end of the log. Readers of several channels may be as far as `last`, the
    /// hub's last offset.
    pub(crate) fn breaks(&mut self, last: Offset) {
        if !std::mem::replace(&mut self.broken, true) {
            self.passed = last;
        }
    }

    /// Returns the offset up to which readers of several channels may go as long as something is missing at the end of the
    /// log, or `None` if nothing is. Beyond it there may be events of this channel that are not here. The cursor of a reader
    /// that went on with another channel would pass these, and then nobody could tell the reader where it reconnects.
    pub(crate) fn limit(&self) -> Option<Offset> {
        (!self.is_whole()).then(|| self.whole_up_to().max(self.passed))
    }

    /// Returns whether nothing is known to be missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.loaded && !self.broken
    }

    /// Returns the place in this log of a cursor of the previous epoch, if its offsets continue here.
    pub(crate) fn translate(&self, cursor: Cursor) -> Option<Offset> {
        Self::place_in(self.before, cursor)
    }

    /// Like [`translate`](Self::translate), for a log whose previous epoch is `before`.
    pub(crate) fn place_in(before: Option<Cursor>, cursor: Cursor) -> Option<Offset> {
        let before = before.filter(|before| before.epoch == cursor.epoch)?;
        // A reader may have got more of that epoch than is left.
        Some(cursor.offset.min(before.offset))
    }

    /// Returns the offset up to which everything is in the log, or was, no matter what was lost on the way here.
    pub(crate) fn whole_up_to(&self) -> Offset {
        self.tail.max(self.loaded_at)
    }

    /// Returns whether `head` tells how far the channel has come. It does not if it only tells that events have been
    /// forgotten and these may not be here.
    pub(crate) fn knows(&self, head: Head) -> bool {
        head.offset > Offset::START || head.forgotten <= self.whole_up_to()
    }

    /// Returns whether the channel takes no more events while its last one is still on its way here.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finish > self.whole_up_to()
    }

    /// Records that this process has published the channel's last event.
    pub(crate) fn finishes_at(&mut self, last: Cursor) {
        if self.epoch == last.epoch {
            self.finish = self.finish.max(last.offset);
        }
    }

    /// Returns how many times events arrived late.
    pub(crate) fn times_late(&self) -> u16 {
        self.late.times
    }

    /// Returns whether a reader at `cursor` has passed an event of `log` that arrived late since the reader last
    /// asked. At that time events had arrived late `seen` times, and the reader had been told of everything up to
    /// `told`. Only the last time is known exactly.
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
