//! One lane of a channel's log: the broadcasts, or the events of one client.

use std::collections::{HashMap, VecDeque};

use super::{
    batch::{Batch, Limit},
    run::{Gone, Held},
    runs::Runs,
};
use crate::wire::{cursor::Offset, encode::EncodedEvent, name::CustomId};

/// The events of a lane that are held, and what is known of those that are not.
#[derive(Default)]
pub(super) struct Lane {
    /// None if none are held.
    runs: Option<Box<Runs>>,
    /// The newest event in the memory that it was published in, if there was a reader: all who are level take that as it
    /// is, and need not look any further.
    newest: Option<EncodedEvent>,
    /// The offset of the event that came last, held or not, and of the one before it.
    last: Offset,
    before_last: Offset,
    /// The highest offset that was evicted: below it a reader may have missed something.
    evicted: Offset,
    /// The custom ids among the held events, if there are any: few channels have one.
    custom: Option<Box<CustomIds>>,
}

#[derive(Default)]
struct CustomIds {
    by_id: HashMap<CustomId, Offset>,
    /// In the order of their events.
    held: VecDeque<(Offset, CustomId)>,
}

impl CustomIds {
    /// Forgets the id of the oldest event, if that is the one that had this offset.
    fn forget(&mut self, evicted: Offset) {
        if self.held.front().is_some_and(|(offset, _)| *offset == evicted)
            && let Some((_, id)) = self.held.pop_front()
        {
            self.by_id.remove(&id);
        }
    }
}

impl Lane {
    pub(super) fn new(evicted: Offset) -> Self {
        Self { evicted, ..Self::default() }
    }

    pub(super) fn push(&mut self, event: &EncodedEvent, custom: Option<CustomId>, at: u64) {
        if let Some(id) = custom {
            let custom = self.custom.get_or_insert_default();
            custom.by_id.insert(id.clone(), event.offset());
            custom.held.push_back((event.offset(), id));
        }
        (self.before_last, self.last) = (self.last, event.offset());
        self.newest = None;
        self.runs.get_or_insert_default().push(event, at);
    }

    /// Keeps what came last as it was published, until something else comes. Not if a mark says that it is gone: where the
    /// log lives elsewhere, a mark of many clients may be too high for one.
    pub(super) fn keep(&mut self, event: EncodedEvent) {
        if event.offset() == self.last && self.last > self.evicted {
            self.newest = Some(event);
        }
    }

    /// Forgets the oldest event, and remembers that it did.
    pub(super) fn evict(&mut self) -> Option<Gone> {
        let runs = self.runs.as_mut()?;
        let gone = runs.evict()?;
        if runs.is_empty() {
            // An idle lane costs no more than a new one.
            (self.runs, self.newest) = (None, None);
        }
        self.evicted = gone.offset;
        if let Some(custom) = &mut self.custom {
            custom.forget(self.evicted);
            if custom.held.is_empty() {
                self.custom = None;
            }
        }
        Some(gone)
    }

    /// Lets go of the memory of evicted events, and says what that cost.
    pub(super) fn compact(&mut self) -> usize {
        self.runs.as_mut().map_or(0, |runs| runs.compact())
    }

    pub(super) fn evicted(&self) -> Offset {
        self.evicted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_none()
    }

    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.runs.as_ref()?.oldest_at()
    }

    pub(super) fn find(&self, id: &CustomId) -> Option<Offset> {
        self.custom.as_ref()?.by_id.get(id).copied()
    }

    /// The offset of the first event after `offset`.
    pub(super) fn first_after(&self, offset: Offset) -> Option<Offset> {
        match self.newest_after(offset)? {
            Some(newest) => Some(newest.offset()),
            None => self.runs.as_ref()?.first_after(offset),
        }
    }

    /// The held events after `offset`, oldest first.
    pub(super) fn after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = Held<'_>> {
        let held = self.runs.as_ref().map(|runs| runs.after(offset)).into_iter().flatten();
        let newest = self.newest.as_ref().map(|newest| (newest.offset(), newest.as_bytes()));
        held.map(move |held| match newest {
            Some((offset, bytes)) if offset == held.offset => Held { offset, bytes, shared: Some(bytes) },
            _ => held,
        })
    }

    /// What is after `offset` and before `end`, from its first event on as far as it lies in one piece and within `limit`.
    pub(super) fn read(&mut self, offset: Offset, end: Offset, limit: Limit) -> Option<Batch> {
        match self.newest_after(offset)? {
            Some(newest) => Some(Batch::One(newest.clone())),
            None => self.runs.as_mut()?.read(offset, end, limit),
        }
    }

    /// The offset up to which [`read`](Self::read) comes at least, if nothing ends it.
    pub(super) fn reach(&self, offset: Offset, limit: Limit) -> Option<Offset> {
        match self.newest_after(offset)? {
            Some(newest) => Some(newest.offset()),
            None => self.runs.as_ref()?.reach(offset, limit),
        }
    }

    /// Nothing if there is nothing after `offset`; the newest event if that is all there is, as most who are level will
    /// find, and it was kept.
    fn newest_after(&self, offset: Offset) -> Option<Option<&EncodedEvent>> {
        (self.last > offset).then(|| self.newest.as_ref().filter(|_| self.before_last <= offset))
    }
}
