//! Ephemeral events: the last few of them, for connected readers.
//!
//! An ephemeral event has no offset. It has a *place*, which is the offset after which it was published, and a number,
//! which is one higher than that of the previous one. A reader gets the events from its own number on, each before the
//! first log event behind its place. If an event leaves the ring before a reader got it, it is dropped for that reader.

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
    /// The bytes that the events and their texts take from the allocator.
    bytes: usize,
    /// The number of events that exclude a reader.
    excepting: u32,
    /// The number of the next event. Numbers wrap, but no reader is far enough behind for that to matter.
    next: u32,
}

/// An ephemeral event on its way to the readers.
pub(crate) struct Passing {
    pub(crate) place: Offset,
    pub(crate) lane: LaneId,
    pub(crate) except: Option<Box<Except>>,
    /// The whole event, without an id.
    pub(crate) bytes: Bytes,
}

impl Passing {
    fn footprint(&self) -> usize {
        let except = self.except.as_ref().map_or(0, |except| size_of::<Except>() + except.heap());
        self.bytes.len() + SHARED + except
    }
}

impl Ephemeral {
    /// The most events that a channel holds for its readers, and the most bytes. The newest event is always held.
    const EVENTS: usize = 64;
    const BYTES: usize = 64 << 10;

    /// Returns the number at which a new reader begins.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Returns the newest event if it has this number.
    #[inline]
    pub(super) fn newest(&self, number: u32) -> Option<&Passing> {
        if self.next.wrapping_sub(number) == 1 { self.held.back() } else { None }
    }

    /// Adds an event, and drops the oldest ones to make room. An event that alone takes more than `room` bytes is
    /// dropped itself. Returns whether the event was added.
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

    /// Returns whether any event excludes a reader.
    pub(super) fn is_excepting(&self) -> bool {
        self.excepting > 0
    }

    /// Drops all events. Their numbers are not used again.
    pub(super) fn clear(&mut self) {
        (self.held, self.bytes, self.excepting) = (VecDeque::new(), 0, 0);
    }

    /// Returns how many events were dropped before a reader got them, if the next one that it would get has this
    /// `number`.
    pub(super) fn dropped(&self, number: u32) -> u32 {
        // Lossless, because few events are held.
        self.next.wrapping_sub(number).saturating_sub(self.held.len() as u32)
    }

    /// Returns the events from `number` on that are for a reader, each with the number of the event after it.
    pub(super) fn from(&self, number: u32, is_for: impl Fn(&Passing) -> bool) -> impl Iterator<Item = (u32, &Passing)> {
        // Lossless, because at most the held events are skipped.
        let left = self.held.len().min(self.next.wrapping_sub(number) as usize);
        let numbered = self
            .held
            .range(self.held.len() - left..)
            .enumerate()
            .map(move |(index, passing)| (self.next.wrapping_sub((left - index) as u32).wrapping_add(1), passing));
        numbered.filter(move |(_, passing)| is_for(passing))
    }

    /// Returns the events from `number` on that are for a reader at `cursor` and whose place is before `end`, and the
    /// number to continue from.
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
            false => Batch::Many { bytes, count: ends.len(), last: cursor },
        };
        (Some(batch), next)
    }

    /// Returns how many bytes the events take from the allocator.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.held.footprint() + self.bytes
    }
}

/// Splits `chunk` into the events that end at each of `ends`.
fn split(chunk: &Bytes, ends: &[usize], cursor: Offset) -> Vec<Sealed> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| Sealed::new(cursor, chunk.slice(start..*end))).collect()
}
