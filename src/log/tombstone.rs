//! What is remembered of a log that was dropped.

use super::{
    exceptions::{Exceptions, Who},
    marks::Marks,
};
use crate::wire::{cursor::Offset, name::ClientId};

/// What remains of a dropped log: enough to tell later whether a reader has missed something.
#[derive(Default)]
pub(crate) struct Tombstone {
    pub(crate) broadcast: Offset,
    /// The clients' marks, if there is anything to remember of clients.
    pub(crate) marks: Option<Box<Marks>>,
    /// What few channels have. `None` if this channel has none of it.
    pub(crate) rare: Option<Box<Bequest>>,
    /// The channel began after this offset. Anything up to here that is gone belonged to an earlier channel, or to one
    /// that is forgotten.
    pub(crate) since: Offset,
    pub(crate) finished: bool,
    /// Whether the highest evicted offset is that of the last event. `false` if the channel was closed after that event, or
    /// if the last event is not known.
    pub(crate) knows_last: bool,
}

/// The part of a tombstone that most channels don't have.
#[derive(Default)]
pub(crate) struct Bequest {
    /// Whom the last events excluded, if they excluded anybody.
    pub(crate) exceptions: Option<Box<Exceptions>>,
    /// The highest fence of an append.
    pub(crate) fence: Option<u64>,
}

impl Bequest {
    /// Returns `None` if there is neither.
    pub(super) fn of(exceptions: Option<Box<Exceptions>>, fence: Option<u64>) -> Option<Box<Self>> {
        (exceptions.is_some() || fence.is_some()).then(|| Box::new(Self { exceptions, fence }))
    }
}

/// What is known of a log, for one reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// The highest evicted offset of those that the reader would get.
    pub(crate) missed: Offset,
    pub(crate) since: Offset,
    pub(crate) finished: bool,
}

/// What a tombstone says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epitaph {
    /// The highest evicted offset of those that a client, or a reader without one, would get, and the highest of all.
    pub(crate) missed: Offset,
    pub(crate) highest: Offset,
    pub(crate) since: Offset,
    pub(crate) finished: bool,
}

impl Epitaph {
    pub(crate) fn known(self) -> Known {
        let Self { missed, since, finished, .. } = self;
        Known { missed, since, finished }
    }
}

impl Tombstone {
    pub(crate) fn read(&self, client: Option<&ClientId>) -> Epitaph {
        let (missed, highest) = (self.missed(client), self.highest());
        Epitaph { missed, highest, since: self.since, finished: self.finished }
    }

    /// Creates a tombstone that says only that nothing up to `offset` is held for anybody.
    pub(crate) fn of_watermark(offset: Offset) -> Self {
        // An evicted broadcast is gone for every reader.
        Self { broadcast: offset, since: offset, ..Self::default() }
    }

    /// Returns the highest evicted offset of those that a client, or a reader without one, would get.
    fn missed(&self, client: Option<&ClientId>) -> Offset {
        let who = Who { client, connection: None };
        let for_them =
            |missed, others| self.exceptions().map_or(missed, |exceptions| exceptions.last_shown(missed, others, who));
        let own = client.zip(self.marks.as_ref());
        let own = own.map(|(client, marks)| for_them(marks.of_client(client), marks.others()));
        for_them(self.broadcast, Offset::START).max(own.unwrap_or_default())
    }

    fn exceptions(&self) -> Option<&Exceptions> {
        self.rare.as_ref()?.exceptions.as_deref()
    }

    /// The highest fence of an append.
    pub(crate) fn fence(&self) -> Option<u64> {
        self.rare.as_ref()?.fence
    }

    /// Returns the offset of the last event, or the start if it is not known or the channel was closed after it.
    pub(crate) fn last(&self) -> Offset {
        if self.knows_last { self.highest() } else { Offset::START }
    }

    /// Returns how many bytes the rare part takes from the allocator.
    pub(crate) fn footprint_of_rare(&self) -> usize {
        let exceptions = self.exceptions().map_or(0, Exceptions::footprint);
        self.rare.as_ref().map_or(0, |_| size_of::<Bequest>()) + exceptions
    }

    /// Returns whether the tombstone must be kept whatever else is forgotten.
    pub(crate) fn is_special(&self) -> bool {
        self.finished || self.fence().is_some()
    }

    /// Forgets that the channel was finished and what its last event was, because the channel was closed.
    pub(crate) fn reopen(&mut self) {
        (self.finished, self.knows_last, self.since) = (false, false, self.highest());
    }

    /// Returns the highest evicted offset.
    pub(crate) fn highest(&self) -> Offset {
        self.marks.as_ref().map_or(self.broadcast, |marks| marks.highest().max(self.broadcast))
    }
}
