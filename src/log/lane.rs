//! One lane of a channel's log: the broadcasts, or the events of one client.

use super::{
    batch::{Batch, Limit},
    custom::CustomIds,
    run::{Gone, Held},
    runs::Runs,
};
use crate::wire::{cursor::Offset, encode::Sealed, name::CustomId};

/// The events of a lane that are held, and what is known of those that are not.
#[derive(Default)]
pub(super) struct Lane {
    /// None if none are held.
    runs: Option<Box<Runs>>,
    /// The newest event in the memory that it was published in, if there was a reader: all who are level take that as it
    /// is, and need not look any further.
    newest: Option<Sealed>,
    /// The offset of the event that came last, held or not, and of the one before it.
    last: Offset,
    before_last: Offset,
    /// The highest offset that was evicted: below it a reader may have missed something.
    evicted: Offset,
    /// The events up to here are too old. They count as evicted, which they will be.
    hidden: Offset,
    /// The custom ids among the held events, if there are any: few channels have one.
    custom: Option<Box<CustomIds>>,
}

impl Lane {
    pub(super) fn new(evicted: Offset) -> Self {
        Self { evicted, ..Self::default() }
    }

    pub(super) fn push(&mut self, event: &Sealed, custom: Option<CustomId>, at: u64) {
        if let Some(id) = custom {
            self.custom.get_or_insert_default().insert(id, event.offset());
        }
        (self.before_last, self.last) = (self.last, event.offset());
        self.newest = None;
        self.runs.get_or_insert_default().push(event, at);
    }

    /// Keeps what came last as it was published, until something else comes. Not if a mark says that it is gone: where the
    /// log lives elsewhere, a mark of many clients may be too high for one.
    pub(super) fn keep(&mut self, event: Sealed) {
        if event.offset() == self.last && self.last > self.evicted() {
            self.newest = Some(event);
        }
    }

    /// Forgets the oldest event, and remembers that it did. Gives its custom id too, unless a later event has the same.
    pub(super) fn evict(&mut self) -> Option<(Gone, Option<CustomId>)> {
        let runs = self.runs.as_mut()?;
        let gone = runs.evict()?;
        if runs.is_empty() {
            // An idle lane costs no more than a new one.
            (self.runs, self.newest) = (None, None);
        }
        self.evicted = self.evicted.max(gone.offset);
        let forgotten = self.custom.as_mut().and_then(|custom| custom.forget(gone.offset));
        self.custom.take_if(|custom| custom.is_empty());
        Some((gone, forgotten))
    }

    /// Hides the events that came before `time`, in the log's milliseconds: without a look at each of them.
    pub(super) fn hide_before(&mut self, time: u64) {
        let last = self.runs.as_ref().and_then(|runs| runs.last_before(time));
        self.hidden = last.unwrap_or_default().max(self.hidden);
        if self.hidden >= self.last {
            self.newest = None;
        }
    }

    /// The highest offset that is not held any more.
    pub(super) fn evicted(&self) -> Offset {
        self.evicted.max(self.hidden)
    }

    /// The highest offset that is not held any more once nothing is.
    pub(super) fn evicted_with_all(&self) -> Offset {
        self.evicted.max(self.last)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_none()
    }

    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.runs.as_ref()?.oldest_at()
    }

    /// The offset of the oldest event that takes memory, hidden or not.
    pub(super) fn oldest(&self) -> Option<Offset> {
        self.runs.as_ref()?.first_after(Offset::START)
    }

    pub(super) fn find(&self, id: &CustomId) -> Option<Offset> {
        self.custom.as_ref()?.get(id).filter(|offset| *offset > self.hidden)
    }

    /// The offset of the first event after `offset`.
    pub(super) fn first_after(&self, offset: Offset) -> Option<Offset> {
        match self.newest_after(offset)? {
            Some(newest) => Some(newest.offset()),
            None => self.runs.as_ref()?.first_after(offset.max(self.hidden)),
        }
    }

    /// The held events after `offset`, oldest first.
    pub(super) fn after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = Held<'_>> {
        let offset = offset.max(self.hidden);
        let held = self.runs.as_ref().map(|runs| runs.after(offset)).into_iter().flatten();
        held.map(|held| self.as_published(held))
    }

    /// The held events before `end`, newest first.
    pub(super) fn newest_before(&self, end: Offset) -> impl Iterator<Item = Held<'_>> {
        let hidden = self.hidden;
        let held = self.runs.as_ref().map(|runs| runs.newest_before(end)).into_iter().flatten();
        held.take_while(move |held| held.offset > hidden).map(|held| self.as_published(held))
    }

    /// With the memory that it was published in, if that is kept.
    fn as_published<'a>(&'a self, held: Held<'a>) -> Held<'a> {
        match &self.newest {
            Some(newest) if newest.offset() == held.offset => {
                Held { offset: held.offset, bytes: newest.as_bytes(), shared: Some(newest.as_bytes()) }
            }
            _ => held,
        }
    }

    /// What is after `offset` and before `end`, from its first event on as far as it lies in one piece and within `limit`.
    pub(super) fn read(&mut self, offset: Offset, end: Offset, limit: Limit) -> Option<Batch> {
        match self.newest_after(offset)? {
            Some(newest) => Some(Batch::One(newest.clone())),
            None => self.runs.as_mut()?.read(offset.max(self.hidden), end, limit),
        }
    }

    /// The offset up to which [`read`](Self::read) comes at least, if nothing ends it.
    pub(super) fn reach(&self, offset: Offset, limit: Limit) -> Option<Offset> {
        match self.newest_after(offset)? {
            Some(newest) => Some(newest.offset()),
            None => self.runs.as_ref()?.reach(offset.max(self.hidden), limit),
        }
    }

    /// Nothing if there is nothing after `offset`; the newest event if that is all there is, as most who are level will
    /// find, and it was kept.
    fn newest_after(&self, offset: Offset) -> Option<Option<&Sealed>> {
        (self.last > offset).then(|| self.newest.as_ref().filter(|_| self.before_last <= offset))
    }

    /// Frees at most so many pieces of what it holds, and counts them down. Says whether that was all. Then the lane is of no use
    /// any more.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        let custom = self.custom.as_mut().is_none_or(|custom| custom.free_some(most));
        custom && self.runs.as_mut().is_none_or(|runs| runs.free_some(most))
    }

    /// How many bytes it takes from the allocator.
    pub(super) fn footprint(&self) -> usize {
        let newest = self.newest.as_ref().map_or(0, |newest| Runs::footprint_of_newest(newest.as_bytes().len()));
        let custom = self.custom.as_ref().map_or(0, |custom| custom.footprint());
        self.runs.as_ref().map_or(0, |runs| runs.footprint()) + newest + custom
    }
}
