//! What is remembered of a log that is gone.

use super::{
    exceptions::{Exceptions, Who},
    marks::Marks,
};
use crate::wire::{cursor::Offset, name::ClientId};

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
    /// The channel as it is known began after this. What is gone up to here was of an earlier one, or of one that is forgotten.
    pub(crate) since: Offset,
}

/// What is known of a log, for one reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// The highest offset that is gone of what the reader would get.
    pub(crate) missed: Offset,
    pub(crate) since: Offset,
    pub(crate) finished: bool,
}

/// What a tombstone says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epitaph {
    /// The highest offset that is gone of what a client would get, or everybody, and of all.
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
        let (missed, highest) = (self.missed(client), self.highest().max(self.last));
        Epitaph { missed, highest, since: self.since, finished: self.finished }
    }

    /// Remembers no more than that nothing up to `offset` is held for anybody.
    pub(crate) fn of_watermark(offset: Offset) -> Self {
        // What is gone of the broadcasts is gone for everybody.
        Self { broadcast: offset, since: offset, ..Self::default() }
    }

    /// The highest offset that it says is gone of what a client gets, or everybody.
    fn missed(&self, client: Option<&ClientId>) -> Offset {
        let who = Who { client, connection: None };
        let for_them = |mut missed| {
            while let Some(previous) = self.exceptions.as_ref().and_then(|exceptions| exceptions.before(missed, who)) {
                missed = previous;
            }
            missed
        };
        let own = client.zip(self.marks.as_ref()).map(|(client, marks)| for_them(marks.of_client(client)));
        for_them(self.broadcast).max(own.unwrap_or_default())
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
        let highest = self.highest().max(self.last);
        (self.finished, self.last, self.since) = (false, Offset::START, highest);
    }

    /// The highest offset that it says is gone.
    pub(crate) fn highest(&self) -> Offset {
        self.marks.as_ref().map_or(self.broadcast, |marks| marks.highest().max(self.broadcast))
    }
}
