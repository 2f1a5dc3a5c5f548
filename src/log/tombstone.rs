//! What is remembered of a log that is gone.

use super::{exceptions::Exceptions, marks::Marks};
use crate::wire::cursor::Offset;

/// What remains of a log that was dropped: enough to know later whether a reader has missed something.
#[derive(Default)]
pub(crate) struct Tombstone {
    pub(crate) broadcast: Offset,
    /// Of clients, if there is something to remember of any.
    pub(crate) marks: Option<Box<Marks>>,
    /// Whom the last events were not for, if any was not for everybody.
    pub(crate) exceptions: Option<Box<Exceptions>>,
    pub(crate) finished: bool,
    /// The offset of the last event, if it is known and the channel was not closed after it.
    pub(crate) last: Offset,
    /// The highest fence of an append.
    pub(crate) fence: Option<u64>,
}

impl Tombstone {
    /// Remembers no more than that nothing up to `offset` is held for anybody.
    pub(crate) fn of_watermark(offset: Offset) -> Self {
        // What is gone of the broadcasts is gone for everybody.
        Self { broadcast: offset, ..Self::default() }
    }

    /// What is remembered of exceptions takes so much from the allocator.
    pub(crate) fn footprint_of_exceptions(&self) -> usize {
        self.exceptions.as_ref().map_or(0, |exceptions| exceptions.footprint())
    }

    /// It has to be remembered whatever else is forgotten.
    pub(crate) fn is_special(&self) -> bool {
        self.finished || self.fence.is_some()
    }

    /// Forgets that the channel was finished, and what its last event was: it was closed.
    pub(crate) fn reopen(&mut self) {
        (self.finished, self.last) = (false, Offset::START);
    }

    /// The highest offset that it says is gone.
    pub(crate) fn highest(&self) -> Offset {
        self.marks.as_ref().map_or(self.broadcast, |marks| marks.highest().max(self.broadcast))
    }
}
