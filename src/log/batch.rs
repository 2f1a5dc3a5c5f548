//! What one read returns, and its limits.

use bytes::Bytes;

use crate::wire::{cursor::Offset, encode::Sealed};

/// The limits of one read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    /// Whether several events are returned one by one instead of as one slice of bytes.
    pub(crate) each: bool,
}

impl Limit {
    /// One event.
    pub(crate) const ONE: Limit = Limit { events: 1, bytes: 0, each: false };
    /// One body chunk. hyper sends at most 16 buffers in one `writev`, so a reader that is behind gets one large
    /// buffer. Anything beyond this size would only wait in hyper's own buffers.
    pub(crate) const CHUNK: Limit = Limit { events: usize::MAX, bytes: 32 << 10, each: false };
    /// The events of one body chunk, one by one.
    pub(crate) const RUN: Limit = Limit { each: true, ..Self::CHUNK };
}

/// The result of one read.
pub(crate) enum Batch {
    /// One event, shared with the log and with every other reader.
    One(Sealed),
    /// Several events, one after the other, up to and including the offset `last`.
    Many { bytes: Bytes, count: usize, last: Offset },
    /// Several events one by one, at least one. Their bytes lie in `chunk`, one after the other.
    Each { chunk: Bytes, events: Vec<Sealed> },
}

impl Batch {
    /// Creates a batch of `count` events whose bytes are `bytes`, up to and including the offset `last`.
    pub(super) fn of_bytes(bytes: Bytes, count: usize, last: Offset) -> Batch {
        match count {
            1 => Batch::One(Sealed::new(last, bytes)),
            _ => Batch::Many { bytes, count, last },
        }
    }

    /// Sets the cursor of a batch of ephemeral events, which leaves a reader at `cursor` although the batch was read
    /// from `after` on.
    pub(crate) fn leaving_at(mut self, cursor: Offset, after: Offset) -> Batch {
        if cursor < after && self.last() == after {
            match &mut self {
                Batch::One(event) => *event = Sealed::new(cursor, event.as_bytes().clone()),
                Batch::Many { last, .. } => *last = cursor,
                Batch::Each { events, .. } => {
                    events.iter_mut().for_each(|event| *event = Sealed::new(cursor, event.as_bytes().clone()));
                }
            }
        }
        self
    }

    /// Returns the slices of bytes that the batch consists of.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        let (whole, each) = match self {
            Batch::One(event) => (None, std::slice::from_ref(event)),
            Batch::Many { bytes, .. } => (Some(bytes), &[][..]),
            Batch::Each { events, .. } => (None, &events[..]),
        };
        whole.into_iter().chain(each.iter().map(Sealed::as_bytes))
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    /// Returns the number of events.
    pub(crate) fn count(&self) -> usize {
        match self {
            Batch::One(_) => 1,
            Batch::Many { count, .. } => *count,
            Batch::Each { events, .. } => events.len(),
        }
    }

    pub(crate) fn last(&self) -> Offset {
        match self {
            Batch::One(event) => event.offset(),
            Batch::Many { last, .. } => *last,
            Batch::Each { events, .. } => events.last().map_or(Offset::START, Sealed::offset),
        }
    }
}
