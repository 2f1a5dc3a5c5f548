//! The events of a lane in few pieces of memory, most of which many readers can share.
//!
//! An event is copied behind those before it, into a [`Run`]: so events cost little more than their bytes, and a reader that
//! is behind takes many of them as one slice. A run that still grows can't be shared: what is wanted of it is copied, and
//! once that was as much as it costs to freeze it, it is frozen. So a channel with one reader that is now and then a little
//! behind does not fall to pieces, and of many readers that are behind at once most copy nothing.
//!
//! The more a lane holds, the larger the run that grows may become before a new one begins: so that growing copies little,
//! and room that is not used is little too. The first who reads several small ones puts them together.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    read::{Batch, Limit},
    run::{CHUNK, Gone, Held, Run},
};
use crate::{cursor::Offset, encode::EncodedEvent};

#[derive(Default)]
pub(super) struct Runs {
    /// None of them is empty.
    frozen: VecDeque<Run<Bytes>>,
    /// After all of them. May be empty.
    tail: Run<Vec<u8>>,
    /// How many bytes of the tail were copied for readers.
    copied: usize,
    /// How many bytes there are in all of them.
    size: usize,
}

/// An event of this size is a run of its own, for which it need not be copied.
const LARGE: usize = CHUNK / 4;

/// A run may always become this large.
const SMALL: usize = 2 << 10;

/// What is taken at once for a run that grows, of a lane that holds little: some events of an agent.
const ROOM: usize = 384;

/// Where an event is: in which run, and by what index.
enum Spot {
    Frozen { run: usize, index: usize },
    Tail(usize),
}

impl Runs {
    pub(super) fn push(&mut self, event: &EncodedEvent, at: u64) {
        #[cfg(test)]
        assert_eq!(self.size, self.frozen.iter().map(Run::size).sum::<usize>() + self.tail.size());
        let len = event.as_bytes().len();
        self.size += len;
        if len >= LARGE {
            self.freeze();
            self.frozen.push_back(Run::of(event, at));
            return;
        }
        if !self.tail.takes(len, at, (self.size / 4).clamp(SMALL, CHUNK)) {
            self.freeze();
        }
        self.tail.push(event, at, (self.size / 16).clamp(ROOM, LARGE));
    }

    /// Forgets the oldest event.
    pub(super) fn evict(&mut self) -> Option<Gone> {
        let Some(first) = self.frozen.front_mut() else {
            let gone = self.tail.evict_and_compact();
            self.size = self.tail.size();
            return gone;
        };
        let before = first.size();
        let gone = first.evict_and_compact();
        self.size -= before;
        if first.is_empty() {
            self.frozen.pop_front();
        } else {
            self.size += first.size();
        }
        gone
    }

    /// Lets go of the memory of evicted events, and says what that cost. Only the oldest run has any.
    pub(super) fn compact(&mut self) -> usize {
        match self.frozen.front_mut() {
            Some(first) => {
                let before = first.size();
                let released = first.compact();
                self.size -= before - first.size();
                released
            }
            None => {
                let released = self.tail.compact();
                self.size = self.tail.size();
                released
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frozen.is_empty() && self.tail.is_empty()
    }

    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.frozen.front().map_or_else(|| self.tail.oldest_at(), Run::oldest_at)
    }

    /// The offset of the first event after `offset`.
    pub(super) fn first_after(&self, offset: Offset) -> Option<Offset> {
        Some(match self.spot_after(offset)? {
            Spot::Frozen { run, index } => self.frozen[run].offset(index),
            Spot::Tail(index) => self.tail.offset(index),
        })
    }

    /// The events after `offset`, oldest first.
    pub(super) fn after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = Held<'_>> {
        let frozen = self.frozen.range(self.run_after(offset)..).flat_map(move |run| run.events_after(offset));
        frozen.chain(self.tail.after(offset, None))
    }

    /// The events after `offset` and before `end`, as far as they lie in one piece and within `limit`.
    pub(super) fn read(&mut self, offset: Offset, end: Offset, limit: Limit) -> Option<Batch> {
        let mut spot = self.spot_after(offset)?;
        if let Spot::Tail(index) = spot
            && self.freeze_if_wanted(index, limit)
        {
            spot = self.spot_after(offset)?;
        }
        Some(match spot {
            Spot::Frozen { run, index } => {
                self.join(run, index, limit);
                let run = &self.frozen[run];
                let stop = run.stop(index, limit).min(run.first_after(end.before()));
                Batch::of_bytes(run.share(index, stop), stop - index, run.offset(stop - 1))
            }
            Spot::Tail(index) => {
                let stop = self.tail.stop(index, limit).min(self.tail.first_after(end.before()));
                let bytes = Bytes::copy_from_slice(self.tail.slice(index, stop));
                Batch::of_bytes(bytes, stop - index, self.tail.offset(stop - 1))
            }
        })
    }

    /// The offset up to which [`read`](Self::read) comes at least, if nothing ends it.
    pub(super) fn reach(&self, offset: Offset, limit: Limit) -> Option<Offset> {
        Some(match self.spot_after(offset)? {
            Spot::Frozen { run, index } => self.frozen[run].offset(self.frozen[run].stop(index, limit) - 1),
            Spot::Tail(index) => self.tail.offset(self.tail.stop(index, limit) - 1),
        })
    }

    /// Before single events after `offset` are taken out.
    pub(super) fn share_if_wanted(&mut self, offset: Offset, limit: Limit) {
        if let Some(Spot::Tail(index)) = self.spot_after(offset) {
            self.freeze_if_wanted(index, limit);
        }
    }

    /// Freezes the tail if what is wanted of it from `index` on, and was before, is as much as that costs.
    fn freeze_if_wanted(&mut self, index: usize, limit: Limit) -> bool {
        self.copied += self.tail.slice(index, self.tail.stop(index, limit)).len();
        if self.copied < self.cost_of_freezing() {
            return false;
        }
        if self.frozen.back_mut().is_some_and(|last| last.join(&[&self.tail])) {
            (self.tail, self.copied) = (Run::default(), 0);
        } else {
            self.freeze();
        }
        true
    }

    /// Puts a run and those after it together, if a reader that begins within it wants all of them as one chunk. The next
    /// one who does finds them so.
    fn join(&mut self, run: usize, index: usize, limit: Limit) {
        // No further than a chunk, however many there are: a lane may hold many runs.
        let end = self.frozen[run].start(index).saturating_add(limit.bytes);
        let fits = |size: usize, next: &Run<Bytes>| Some(size + next.size()).filter(|size| *size <= end);
        let all = self.frozen.range(run..).try_fold(self.tail.size(), fits);
        if all.is_some() && !self.tail.is_empty() {
            self.freeze_if_wanted(self.tail.end() - self.tail.len(), limit);
        }
        // With what was read of the first already: behind that the rest may be too little to copy the whole for.
        let mut size = self.frozen[run].size();
        let fit = self.frozen.range(run + 1..).take_while(|next| {
            size += next.size();
            size <= limit.bytes
        });
        let fit = fit.count();
        if fit == 0 {
            return;
        }
        let mut joined = std::mem::take(&mut self.frozen[run]);
        let others: Vec<&Run<Bytes>> = self.frozen.range(run + 1..=run + fit).collect();
        let done = joined.join(&others);
        self.frozen[run] = joined;
        if done {
            self.frozen.drain(run + 1..=run + fit);
        }
    }

    /// How many bytes it takes to freeze the tail. None are copied if there is nothing to merge it with; but a tail of which
    /// most is not wanted may as well go on to grow.
    fn cost_of_freezing(&self) -> usize {
        let (last, tail) = (self.frozen.back().map_or(0, Run::size), self.tail.size());
        if last + tail > CHUNK { tail } else { last + tail }
    }

    /// Turns the tail into a frozen run.
    fn freeze(&mut self) {
        self.copied = 0;
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.frozen.push_back(tail.freeze());
        }
    }

    /// Where the first event after `offset` is.
    fn spot_after(&self, offset: Offset) -> Option<Spot> {
        if self.tail.first().is_none_or(|first| first > offset) {
            let run = self.run_after(offset);
            if let Some(found) = self.frozen.get(run) {
                return Some(Spot::Frozen { run, index: found.first_after(offset) });
            }
        }
        let index = self.tail.first_after(offset);
        (index < self.tail.end()).then_some(Spot::Tail(index))
    }

    /// The first frozen run with an event after `offset`; where it would be, if there is none.
    fn run_after(&self, offset: Offset) -> usize {
        self.frozen.partition_point(|run| run.last().is_none_or(|last| last <= offset))
    }
}
