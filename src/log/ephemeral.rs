//! Events that are not history: the last few of them, for readers that are connected.
//!
//! They have no offset. Each has a *place*, the offset after which it was published, and a number that grows from one to the
//! next. A reader gets those from its own number on, each before the first event behind its place. What falls out of here
//! before a reader has got it is dropped for that reader.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    batch::{Batch, Limit},
    lane_id::LaneId,
    memory::SHARED,
};
use crate::{
    footprint::Elastic as _,
    wire::{cursor::Offset, encode::Sealed, except::Except},
};

/// The last ephemeral events of a channel that has readers.
#[derive(Default)]
pub(crate) struct Ephemeral {
    held: VecDeque<Passing>,
    /// What their bytes and texts take from the allocator.
    bytes: usize,
    /// How many of them exclude somebody.
    excepting: u32,
    /// The number of the next one. Numbers wrap: no reader is so far behind that it matters.
    next: u32,
}

/// An event that is not kept.
pub(crate) struct Passing {
    pub(crate) place: Offset,
    pub(crate) lane: LaneId,
    pub(crate) except: Option<Box<Except>>,
    /// Whole, without an id.
    pub(crate) bytes: Bytes,
}

impl Passing {
    fn footprint(&self) -> usize {
        let except = self.except.as_ref().map_or(0, |except| size_of::<Except>() + except.heap());
        self.bytes.len() + SHARED + except
    }
}

impl Ephemeral {
    /// So many are held for the readers of a channel, and so many bytes, but the newest in any case.
    const EVENTS: usize = 64;
    const BYTES: usize = 64 << 10;

    /// The number with which a reader begins that comes now.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Takes one in, and drops the oldest for it as far as need be. If it takes more than `room` bytes alone, it is dropped
    /// itself; says whether it is not.
    pub(super) fn push(&mut self, passing: Passing, room: usize) -> bool {
        let len = passing.footprint();
        let most = room.min(Self::BYTES);
        while !self.held.is_empty() && (self.held.len() >= Self::EVENTS || self.bytes + len > most) {
            self.drop_oldest();
        }
        if len > room {
            return false;
        }
        self.bytes += len;
        self.excepting += u32::from(passing.except.is_some());
        self.held.make_room();
        self.held.push_back(passing);
        self.next = self.next.wrapping_add(1);
        true
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.held.pop_front() else { return };
        self.bytes -= oldest.footprint();
        self.excepting -= u32::from(oldest.except.is_some());
        self.held.give_back();
    }

    /// Some of them exclude somebody.
    pub(super) fn is_excepting(&self) -> bool {
        self.excepting > 0
    }

    /// Drops all of them. Numbers go on.
    pub(super) fn clear(&mut self) {
        (self.held, self.bytes, self.excepting) = (VecDeque::new(), 0, 0);
    }

    /// How many that a reader has not got were dropped, if the next one it gets would be `number`.
    pub(super) fn dropped(&self, number: u32) -> u32 {
        // Lossless: there are few.
        self.next.wrapping_sub(number).saturating_sub(self.held.len() as u32)
    }

    /// Those from `number` on that are for a reader, each with the number of the next.
    pub(super) fn from(&self, number: u32, is_for: impl Fn(&Passing) -> bool) -> impl Iterator<Item = (u32, &Passing)> {
        // Lossless: as many as are held at most.
        let left = self.held.len().min(self.next.wrapping_sub(number) as usize);
        let numbered = self
            .held
            .range(self.held.len() - left..)
            .enumerate()
            .map(move |(index, passing)| (self.next.wrapping_sub((left - index) as u32).wrapping_add(1), passing));
        numbered.filter(move |(_, passing)| is_for(passing))
    }

    /// Those from `number` on that are for a reader and whose place is before `end`, for a reader at `cursor`, and the number to
    /// go on with.
    pub(super) fn read(
        &self,
        number: u32,
        cursor: Offset,
        end: Offset,
        limit: Limit,
        is_for: impl Fn(&Passing) -> bool,
    ) -> (Option<Batch>, u32) {
        let mut ready = self.from(number, is_for).take_while(|(_, passing)| passing.place < end).peekable();
        let Some((mut next, passing)) = ready.next() else { return (None, number) };
        if limit.events == 1 || ready.peek().is_none() {
            let event = Sealed::new(cursor, passing.bytes.clone());
            return (Some(Batch::One(event)), next);
        }
        let mut bytes = passing.bytes.to_vec();
        let mut ends = vec![bytes.len()];
        for (behind, passing) in ready {
            if bytes.len() + passing.bytes.len() > limit.bytes {
                break;
            }
            bytes.extend_from_slice(&passing.bytes);
            ends.push(bytes.len());
            next = behind;
        }
        let bytes = Bytes::from(bytes);
        let batch = match limit.each {
            true => Batch::Each { events: split(&bytes, &ends, cursor), chunk: bytes },
            false => Batch::Many { bytes, last: cursor },
        };
        (Some(batch), next)
    }

    /// How many bytes it takes from the allocator.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.held.footprint() + self.bytes
    }
}

/// The events that lie in `chunk` up to each of these ends.
fn split(chunk: &Bytes, ends: &[usize], cursor: Offset) -> Vec<Sealed> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| Sealed::new(cursor, chunk.slice(start..*end))).collect()
}
