//! What is noted of a reader when it takes events, and which reader of a channel is the slowest.

#[cfg(feature = "metrics")]
use super::SLICE;
use super::{ReaderId, Readers, visit::Visit};
use crate::{meter::Seen, wire::cursor::Offset};

impl Readers {
    /// Whether the events that a reader takes are counted.
    pub(crate) const COUNTS_EVENTS: bool = Visit::IS_KEPT;

    /// Notes that a reader has taken everything up to an offset.
    #[inline]
    pub(crate) fn saw(&mut self, id: ReaderId, upto: Offset) {
        if Seen::IS_KEPT
            && let Some(reader) = self.all.get_mut(id.key())
        {
            reader.seen.set(upto);
        }
    }

    /// Notes that a reader has taken events.
    #[inline]
    pub(crate) fn took(&mut self, id: ReaderId, events: usize) {
        if Visit::IS_KEPT
            && let Some(reader) = self.all.get_mut(id.key())
        {
            reader.visit.took(events);
        }
    }

    /// Notes that a reader has not taken these events after all.
    pub(crate) fn gave_back(&mut self, id: ReaderId, events: usize) {
        if let Some(reader) = self.all.get_mut(id.key()) {
            reader.visit.gave_back(events);
        }
    }

    /// Returns how far the slowest live reader of a slice has come, if it has not come to `last`. Sets `from`, the place
    /// where the slice begins, to the next one, if there is one. A reader that has not looked yet is not slow.
    #[cfg(feature = "metrics")]
    pub(crate) fn slowest_in(&self, slice: u32, last: Offset, from: &mut Option<u32>) -> Option<Offset> {
        let end = slice.saturating_add(SLICE as u32).min(self.numbers);
        *from = (end < self.numbers).then_some(end);
        let readers = (slice..end).filter_map(|key| self.all.get(key));
        let live = readers.filter(|reader| reader.generation == self.generation && reader.ending.is_none());
        live.filter_map(|reader| reader.seen.get()).filter(|seen| *seen < last).min()
    }
}
