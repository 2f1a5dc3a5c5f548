//! How much of a channel's log is here, where the log lives elsewhere and its events arrive over time.
//!
//! Readers ask it, under the channel's lock. Whoever brings the events keeps it right, under the same lock.

use std::time::{Duration, Instant};

use crate::{
    backend::{Head, Progress},
    log::{Log, Retention, Tombstone, View},
    wire::cursor::{Cursor, Epoch, Offset},
};

/// What is known of a log that is a copy.
pub(crate) struct Coverage {
    /// The log's epoch.
    pub(crate) epoch: Epoch,
    /// The epoch before, and up to where its offsets go on in this log.
    pub(crate) before: Option<Cursor>,
    /// It was loaded once in this epoch.
    pub(crate) loaded: bool,
    /// Something is known to be missing at its end.
    pub(crate) broken: bool,
    /// The channel's last event that is in the log, or was.
    pub(crate) tail: Offset,
    /// The hub's last offset when the log was loaded last, or found to be whole.
    pub(crate) loaded_at: Offset,
    /// The channel's last event of all, as this process was told when it published it. It may be on its way here.
    pub(crate) finish: Offset,
    /// How often the channel was closed before this log began, as far as is known.
    pub(crate) closed: u64,
    /// Events that came late.
    pub(crate) late: Late,
    /// Of the last read, if one was begun.
    pub(crate) progress: Option<Progress>,
    /// Whoever brings the events was told that somebody reads the channel.
    pub(crate) wanted: bool,
}

/// Events that came in when readers of other channels too may have passed them already.
#[derive(Default)]
pub(crate) struct Late {
    /// How often some came.
    times: u16,
    /// The last time: after what the log had until then, and up to where readers may have been.
    after: Offset,
    upto: Offset,
    /// Some of that was evicted by then: the marks, which may be too high otherwise, say whose it may have been.
    evicted: bool,
}

impl Late {
    /// Something came after `after`, when readers may have been up to `level`. The first event of that which is held is
    /// `first`, whose predecessor in the channel is given with it.
    pub(crate) fn note(&mut self, after: Offset, level: Offset, first: Option<(Offset, Offset)>) {
        let evicted = first.is_none_or(|(_, previous)| previous > after);
        if after < level && (evicted || first.is_some_and(|(first, _)| first <= level)) {
            *self = Self { times: self.times.wrapping_add(1), after, upto: level, evicted };
        }
    }
}

impl Coverage {
    /// Of a log in which nothing has arrived yet.
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
            wanted: false,
        }
    }

    /// An empty log.
    pub(crate) fn log(retention: Retention, now: Instant) -> Log {
        Log::new(retention, Tombstone::default(), Self::began(retention, now))
    }

    /// When the time of an empty log begins: so long ago that what arrives later has its age.
    pub(crate) fn began(retention: Retention, now: Instant) -> Instant {
        let before = retention.max_age().saturating_add(Duration::from_secs(60));
        now.checked_sub(before).unwrap_or(now)
    }

    /// Nothing is known to be missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.loaded && !self.broken
    }

    /// Where a cursor of the epoch before lies in this log, if its offsets go on.
    pub(crate) fn translate(&self, cursor: Cursor) -> Option<Offset> {
        let before = self.before.filter(|before| before.epoch == cursor.epoch)?;
        // A reader may have got more of it than is left.
        Some(cursor.offset.min(before.offset))
    }

    /// Everything up to here is in the log, or was, whatever got lost on the way here.
    pub(crate) fn whole_up_to(&self) -> Offset {
        self.tail.max(self.loaded_at)
    }

    /// The store says of the channel how far it is, and not that it has forgotten events which may not be here.
    pub(crate) fn knows(&self, head: Head) -> bool {
        head.offset > Offset::START || head.forgotten <= self.whole_up_to()
    }

    /// The channel takes no more events, of which the last is on its way here.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finish > self.whole_up_to()
    }

    /// This process has published the channel's last event.
    pub(crate) fn finishes_at(&mut self, last: Cursor) {
        if self.epoch == last.epoch {
            self.finish = self.finish.max(last.offset);
        }
    }

    /// How often events came late.
    pub(crate) fn times_late(&self) -> u16 {
        self.late.times
    }

    /// Whether a reader at `cursor` has passed an event of `log` that came late since it last asked, when some had come `seen`
    /// times. It knows of all up to `told`. What came the time before the last is not known any more.
    pub(crate) fn has_passed_late(&self, log: &Log, view: View, seen: u16, told: Offset, cursor: Offset) -> bool {
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
