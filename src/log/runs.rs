//! The events of a lane in few pieces of memory, most of which many readers can share.
//!
//! An event is copied behind those before it, into a [`Run`]: so events cost little more than their bytes, and a reader that
//! is behind takes many of them as one slice. A run that still grows can't be shared: what is wanted of it is copied, and
//! once that was as much as it costs to freeze it, it is frozen. So a channel with one reader that is now and then a little
//! behind does not fall to pieces, and of many readers that are behind at once most copy nothing.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    read::{Batch, Limit},
    run::{CHUNK, Gone, Held, Run},
};
use crate::{cursor::Offset, encode::EncodedEvent};

#[derive(Default)]
pub(super) struct Runs {
    /// None of them is empty. Two neighbours are more than a chunk together, but for a few that were dead in part.
    frozen: VecDeque<Run<Bytes>>,
    /// After all of them. May be empty.
    tail: Run<Vec<u8>>,
    /// How many bytes of the tail were copied for readers.
    copied: usize,
}

/// An event of this size is a run of its own, for which it need not be copied.
const LARGE: usize = CHUNK / 4;

/// Where an event is.
enum Place {
    Frozen { run: usize, index: usize },
    Tail(usize),
}

impl Runs {
    pub(super) fn push(&mut self, event: &EncodedEvent, at: u64) {
        if event.as_bytes().len() >= LARGE {
            self.freeze();
            self.frozen.push_back(Run::of(event, at));
            return;
        }
        if !self.tail.takes(event, at) {
            self.freeze();
        }
        self.tail.push(event, at);
    }

    /// Forgets the oldest event.
    pub(super) fn evict(&mut self) -> Option<Gone> {
        let Some(first) = self.frozen.front_mut() else { return self.tail.evict_and_compact() };
        let gone = first.evict_and_compact();
        if first.is_empty() {
            self.frozen.pop_front();
        }
        gone
    }

    /// Lets go of the memory of evicted events, and says what that cost. Only the oldest run has any.
    pub(super) fn compact(&mut self) -> usize {
        self.frozen.front_mut().map_or_else(|| self.tail.compact(), Run::<Bytes>::compact)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frozen.is_empty() && self.tail.is_empty()
    }

    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.frozen.front().map_or_else(|| self.tail.oldest_at(), Run::oldest_at)
    }

    /// The offset of the first event after `offset`.
    pub(super) fn first_after(&self, offset: Offset) -> Option<Offset> {
        Some(match self.place_after(offset)? {
            Place::Frozen { run, index } => self.frozen[run].offset(index),
            Place::Tail(index) => self.tail.offset(index),
        })
    }

    /// The events after `offset`, oldest first.
    pub(super) fn after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = Held<'_>> {
        let frozen = self.frozen.range(self.run_after(offset)..).flat_map(move |run| run.events_after(offset));
        frozen.chain(self.tail.after(offset, None))
    }

    /// The events after `offset`, as far as they lie in one piece and within `limit`.
    pub(super) fn read(&mut self, offset: Offset, limit: Limit) -> Option<Batch> {
        let mut place = self.place_after(offset)?;
        if let Place::Tail(index) = place
            && self.freeze_if_wanted(index, limit)
        {
            place = self.place_after(offset)?;
        }
        Some(match place {
            Place::Frozen { run, index } => {
                let run = &self.frozen[run];
                let stop = run.stop(index, limit);
                Batch::of_bytes(run.share(index, stop), stop - index, run.offset(stop - 1))
            }
            Place::Tail(index) => {
                let stop = self.tail.stop(index, limit);
                let bytes = Bytes::copy_from_slice(self.tail.slice(index, stop));
                Batch::of_bytes(bytes, stop - index, self.tail.offset(stop - 1))
            }
        })
    }

    /// The offset up to which [`read`](Self::read) would come.
    pub(super) fn reach(&self, offset: Offset, limit: Limit) -> Option<Offset> {
        Some(match self.place_after(offset)? {
            Place::Frozen { run, index } => self.frozen[run].offset(self.frozen[run].stop(index, limit) - 1),
            Place::Tail(index) => self.tail.offset(self.tail.stop(index, limit) - 1),
        })
    }

    /// Before single events after `offset` are taken out.
    pub(super) fn share_if_wanted(&mut self, offset: Offset, limit: Limit) {
        if let Some(Place::Tail(index)) = self.place_after(offset) {
            self.freeze_if_wanted(index, limit);
        }
    }

    /// Freezes the tail if what is wanted of it from `index` on, and was before, is as much as that costs.
    fn freeze_if_wanted(&mut self, index: usize, limit: Limit) -> bool {
        self.copied += self.tail.slice(index, self.tail.stop(index, limit)).len();
        let freeze = self.copied >= self.cost_of_freezing();
        if freeze {
            self.freeze();
        }
        freeze
    }

    /// How many bytes it takes to freeze the tail. None are copied if there is nothing to merge it with; but a tail of which
    /// most is not wanted may as well go on to grow.
    fn cost_of_freezing(&self) -> usize {
        let (last, tail) = (self.frozen.back().map_or(0, Run::size), self.tail.size());
        if last + tail > CHUNK { tail } else { last + tail }
    }

    /// Turns the tail into a frozen run, or a part of the one before it.
    fn freeze(&mut self) {
        self.copied = 0;
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() && !self.frozen.back_mut().is_some_and(|last| last.merge(&tail)) {
            self.frozen.push_back(tail.freeze());
        }
    }

    /// Where the first event after `offset` is.
    fn place_after(&self, offset: Offset) -> Option<Place> {
        if self.tail.first().is_none_or(|first| first > offset) {
            let run = self.run_after(offset);
            if let Some(found) = self.frozen.get(run) {
                return Some(Place::Frozen { run, index: found.first_after(offset) });
            }
        }
        let index = self.tail.first_after(offset);
        (index < self.tail.end()).then_some(Place::Tail(index))
    }

    /// The first frozen run with an event after `offset`; where it would be, if there is none.
    fn run_after(&self, offset: Offset) -> usize {
        self.frozen.partition_point(|run| run.last().is_none_or(|last| last <= offset))
    }
}
