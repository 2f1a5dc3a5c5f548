//! What is remembered of a log that is gone.

use super::marks::Marks;
use crate::wire::cursor::Offset;

/// What remains of a log that was dropped: enough to know later whether a reader has missed something.
#[derive(Default)]
pub(crate) struct Tombstone {
    pub(crate) broadcast: Offset,
    /// Of clients, if there is something to remember of any.
    pub(crate) marks: Option<Box<Marks>>,
    pub(crate) finished: bool,
}

impl Tombstone {
    /// Remembers no more than that nothing up to `offset` is held for anybody.
    pub(crate) fn of_watermark(offset: Offset) -> Self {
        // What is gone of the broadcasts is gone for everybody.
        Self { broadcast: offset, ..Self::default() }
    }

    /// The highest offset that it says is gone.
    pub(crate) fn highest(&self) -> Offset {
        self.marks.as_ref().map_or(self.broadcast, |marks| marks.highest().max(self.broadcast))
    }
}
