//! One lane of a channel's log: the broadcasts, or the events of one client.

use bytes::Bytes;

use super::{
    batch::{Batch, Limit},
    run::{Gone, Held},
    runs::Runs,
};
use crate::wire::{cursor::Offset, encode::Sealed, name::CustomId};

/// The held events of a lane, and what is known of evicted ones.
pub(super) struct Lane {
    /// `None` if no event is held. Custom ids lie with them.
    runs: Option<Box<Runs>>,
    /// The newest event in the memory that it was published in, if there was a reader. A reader that is level takes the
    /// event from here and need not look any further.
    newest: Option<Bytes>,
    /// The offset of the last event, held or not, and of the one before it.
    last: Offset,
    before_last: Offset,
    /// The highest offset that was evicted. A reader below it may have missed something.
    evicted: Offset,
    /// The events up to here are too old. They count as evicted, and will be.
    hidden: Offset,
}

impl Lane {
    /// A lane that has neither held nor evicted an event.
    pub(super) const UNUSED: Self = Self {
        runs: None,
        newest: None,
        last: Offset::START,
        before_last: Offset::START,
        evicted: Offset::START,
        hidden: Offset::START,
    };

    pub(super) fn new(evicted: Offset) -> Self {
        Self { evicted, ..Self::UNUSED }
    }

    pub(super) fn push(&mut self, event: &Sealed, custom: Option<CustomId>, at: u64) {
        (self.before_last, self.last) = (self.last, event.offset());
        self.newest = None;
        let runs = self.runs.get_or_insert_default();
        if let Some(id) = custom {
            runs.custom.get_or_insert_default().insert(id, event.offset());
        }
        runs.push(event, at);
    }

    /// Keeps the last event in the memory that it was published in, until the next one comes. It does not keep an event
    /// that a mark declares evicted: if the log lives elsewhere, a mark that stands for many clients may be too high
    /// for one of them.
    pub(super) fn keep(&mut self, event: Sealed) {
        if event.offset() == self.last && self.last > self.evicted() {
            self.newest = Some(event.into_bytes());
        }
    }

    /// Evicts the oldest event, and notes that. Also returns its custom id, unless a later event has the same one.
    pub(super) fn evict(&mut self) -> Option<(Gone, Option<CustomId>)> {
        let runs = self.runs.as_mut()?;
        let gone = runs.evict()?;
        let forgotten = runs.custom.as_mut().and_then(|custom| custom.forget(gone.offset));
        runs.custom.take_if(|custom| custom.is_empty());
        if runs.is_empty() {
            // An idle lane costs as much as a new one.
            (self.runs, self.newest) = (None, None);
        }
        self.evicted = self.evicted.max(gone.offset);
        Some((gone, forgotten))
    }

    /// Hides the events that came before `time`, in the log's milliseconds, without looking at each of them.
    pub(super) fn hide_before(&mut self, time: u64) {
        let last = self.runs.as_ref().and_then(|runs| runs.last_before(time));
        self.hidden = last.unwrap_or_default().max(self.hidden);
        if self.hidden >= self.last {
            self.newest = None;
        }
    }

    /// Returns the highest offset that is no longer held.
    pub(super) fn evicted(&self) -> Offset {
        self.evicted.max(self.hidden)
    }

    /// Returns what [`evicted`](Self::evicted) would be if all events were evicted.
    pub(super) fn evicted_with_all(&self) -> Offset {
        self.evicted.max(self.last)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_none()
    }

    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.runs.as_ref()?.oldest_at()
    }

    /// Returns the offset of the oldest event in memory, hidden or not.
    pub(super) fn oldest(&self) -> Option<Offset> {
        self.runs.as_ref()?.first_after(Offset::START)
    }

    pub(super) fn find(&self, id: &CustomId) -> Option<Offset> {
        self.runs.as_ref()?.custom.as_ref()?.get(id).filter(|offset| *offset > self.hidden)
    }

    /// Returns the offset of the first event after `offset`.
    pub(super) fn first_after(&self, offset: Offset) -> Option<Offset> {
        match self.newest_after(offset)? {
            Some(_) => Some(self.last),
            None => self.runs.as_ref()?.first_after(offset.max(self.hidden)),
        }
    }

    /// Returns when the first held event after `offset` came, in the log's milliseconds.
    #[cfg(feature = "metrics")]
    pub(super) fn first_came(&self, offset: Offset) -> Option<u64> {
        self.runs.as_ref()?.first_came(offset.max(self.hidden))
    }

    /// Returns how many events are held after `offset`.
    pub(super) fn count_after(&self, offset: Offset) -> usize {
        self.runs.as_ref().map_or(0, |runs| runs.count_after(offset.max(self.hidden)))
    }

    /// Returns the held events after `offset`, oldest first.
    pub(super) fn after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = Held<'_>> {
        let offset = offset.max(self.hidden);
        let held = self.runs.as_ref().map(|runs| runs.after(offset)).into_iter().flatten();
        held.map(|held| self.as_published(held))
    }

    /// Returns the held events before `end`, newest first.
    pub(super) fn newest_before(&self, end: Offset) -> impl Iterator<Item = Held<'_>> {
        let hidden = self.hidden;
        let held = self.runs.as_ref().map(|runs| runs.newest_before(end)).into_iter().flatten();
        held.take_while(move |held| held.offset > hidden).map(|held| self.as_published(held))
    }

    /// Returns the event in the memory that it was published in, if that is kept.
    fn as_published<'a>(&'a self, held: Held<'a>) -> Held<'a> {
        match &self.newest {
            Some(newest) if self.last == held.offset => {
                Held { offset: held.offset, bytes: newest, shared: Some(newest) }
            }
            _ => held,
        }
    }

    /// Reads the events after `offset` and before `end`, as far as they lie in one piece and within `limit`.
    pub(super) fn read(&mut self, offset: Offset, end: Offset, limit: Limit) -> Option<Batch> {
        match self.newest_after(offset)? {
            Some(newest) => Some(Batch::One(Sealed::new(self.last, newest.clone()))),
            None => self.runs.as_mut()?.read(offset.max(self.hidden), end, limit),
        }
    }

    /// Returns the offset that [`read`](Self::read) reaches at least, if nothing ends it.
    pub(super) fn reach(&self, offset: Offset, limit: Limit) -> Option<Offset> {
        match self.newest_after(offset)? {
            Some(_) => Some(self.last),
            None => self.runs.as_ref()?.reach(offset.max(self.hidden), limit),
        }
    }

    /// Returns `Some(None)` if there is nothing after `offset`, and the newest event if it is the only one and was
    /// kept. Most readers that are level need no more than this.
    fn newest_after(&self, offset: Offset) -> Option<Option<&Bytes>> {
        (self.last > offset).then(|| self.newest.as_ref().filter(|_| self.before_last <= offset))
    }

    /// Frees at most `most` pieces of memory, and counts `most` down. Returns whether none are left. Don't use the lane
    /// after this.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        self.runs.as_mut().is_none_or(|runs| runs.free_some(most))
    }

    /// Returns how many bytes the lane takes from the allocator.
    pub(super) fn footprint(&self) -> usize {
        let newest = self.newest.as_ref().map_or(0, |newest| Runs::footprint_of_newest(newest.len()));
        self.runs.as_ref().map_or(0, |runs| runs.footprint()) + newest
    }
}
