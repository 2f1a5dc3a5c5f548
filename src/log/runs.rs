//! The events of a lane in a few pieces of memory, most of which readers can share.
//!
//! An event is copied behind the previous ones, into a [`Run`]. So events cost little more than their bytes, and a
//! reader that is behind takes many of them as one slice. A run that still grows can't be shared, so what a reader
//! wants of it is copied. Once as much was copied as it costs to freeze the run, it is frozen. So a channel whose one
//! reader is slightly behind now and then does not fall to pieces, and if many readers are behind at once, most of them
//! copy nothing.
//!
//! The more a lane holds, the larger a growing run may become before a new one begins. So growing copies little, and
//! little room stays unused. The first reader that reads several small runs joins them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    batch::{Batch, Limit},
    custom::CustomIds,
    memory::SHARED,
    run::{CHUNK, Gone, Held, Run},
};
use crate::{
    footprint::Elastic as _,
    wire::{cursor::Offset, encode::Sealed},
};

#[derive(Default)]
pub(super) struct Runs {
    /// The frozen runs, none of which is empty.
    frozen: VecDeque<Run<Bytes>>,
    /// The run that grows, which comes after all frozen ones. It may be empty.
    tail: Run<Vec<u8>>,
    /// How many bytes of the tail were copied for readers.
    copied: usize,
    /// The number of bytes in all runs.
    size: usize,
    /// The bytes that the frozen runs take from the allocator.
    frozen_footprint: usize,
    /// The custom ids among the events, if there are any: few channels have one.
    pub(super) custom: Option<Box<CustomIds>>,
}

/// An event of this size is a run of its own, so that it need not be copied.
const LARGE: usize = CHUNK / 4;

/// A run may always become this large.
const SMALL: usize = 2 << 10;

/// How much room a growing run takes at once in a lane that holds little: a few events of an agent.
const ROOM: usize = 384;

/// Where an event is: its run, and its index there.
enum Spot {
    Frozen { run: usize, index: usize },
    Tail(usize),
}

impl Runs {
    pub(super) fn push(&mut self, event: &Sealed, at: u64) {
        #[cfg(test)]
        {
            assert_eq!(self.size, self.frozen.iter().map(Run::size).sum::<usize>() + self.tail.size());
            assert_eq!(self.frozen_footprint, self.frozen.iter().map(Run::<Bytes>::footprint).sum::<usize>());
        }
        let len = event.as_bytes().len();
        self.size += len;
        if len >= LARGE {
            self.freeze();
            self.push_frozen(Run::of(event, at));
            return;
        }
        if !self.tail.takes(len, at, (self.size / 4).clamp(SMALL, CHUNK)) {
            self.freeze();
        }
        self.tail.push(event, at, (self.size / 16).clamp(ROOM, LARGE));
    }

    fn push_frozen(&mut self, run: Run<Bytes>) {
        self.frozen_footprint += run.footprint();
        self.frozen.make_room();
        self.frozen.push_back(run);
    }

    fn pop_frozen(&mut self) {
        if let Some(run) = self.frozen.pop_front() {
            self.frozen_footprint -= run.footprint();
            self.frozen.give_back();
        }
    }

    /// Evicts the oldest event.
    pub(super) fn evict(&mut self) -> Option<Gone> {
        let Some(first) = self.frozen.front_mut() else {
            let gone = self.tail.evict_and_compact();
            self.size = self.tail.size();
            return gone;
        };
        let (size, footprint) = (first.size(), first.footprint());
        let gone = first.evict_and_compact();
        self.size -= size;
        self.frozen_footprint -= footprint;
        self.frozen_footprint += first.footprint();
        if first.is_empty() {
            self.pop_frozen();
        } else {
            self.size += first.size();
        }
        gone
    }

    /// Returns the last event that came before `time`, in the log's milliseconds.
    pub(super) fn last_before(&self, time: u64) -> Option<Offset> {
        self.tail.last_before(time).or_else(|| {
            let before = self.frozen.partition_point(|run| run.oldest_at().is_some_and(|at| at < time));
            self.frozen.get(before.checked_sub(1)?)?.last_before(time)
        })
    }

    /// Frees at most `most` custom ids and runs, and counts `most` down. Returns whether none are left. Don't use it after this.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        let custom = self.custom.as_mut().is_none_or(|custom| custom.free_some(most));
        while *most > 0 && !self.frozen.is_empty() {
            self.pop_frozen();
            *most -= 1;
        }
        custom && self.frozen.is_empty()
    }

    /// Returns how many bytes the runs take from the allocator.
    pub(super) fn footprint(&self) -> usize {
        let custom = self.custom.as_ref().map_or(0, |custom| custom.footprint());
        size_of::<Self>() + self.frozen.footprint() + self.frozen_footprint + self.tail.footprint() + custom
    }

    /// Returns how many bytes an event of this length takes if it is also kept as it was published.
    pub(super) fn footprint_of_newest(len: usize) -> usize {
        // A large event shares its memory with its run.
        if len >= LARGE { 0 } else { len + SHARED }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frozen.is_empty() && self.tail.is_empty()
    }

    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.frozen.front().map_or_else(|| self.tail.oldest_at(), Run::oldest_at)
    }

    /// Returns the offset of the first event after `offset`.
    pub(super) fn first_after(&self, offset: Offset) -> Option<Offset> {
        Some(match self.spot_after(offset)? {
            Spot::Frozen { run, index } => self.frozen[run].offset(index),
            Spot::Tail(index) => self.tail.offset(index),
        })
    }

    /// Returns when the first event after `offset` came.
    #[cfg(feature = "metrics")]
    pub(super) fn first_came(&self, offset: Offset) -> Option<u64> {
        Some(match self.spot_after(offset)? {
            Spot::Frozen { run, index } => self.frozen[run].came(index),
            Spot::Tail(index) => self.tail.came(index),
        })
    }

    /// Returns how many events there are after `offset`. It looks at each run once.
    pub(super) fn count_after(&self, offset: Offset) -> usize {
        let frozen = self.frozen.range(self.run_after(offset)..).map(|run| run.count_after(offset));
        frozen.sum::<usize>() + self.tail.count_after(offset)
    }

    /// Returns the events after `offset`, oldest first.
    pub(super) fn after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = Held<'_>> {
        let frozen = self.frozen.range(self.run_after(offset)..).flat_map(move |run| run.events_after(offset));
        frozen.chain(self.tail.after(offset, None))
    }

    /// Returns the events before `end`, newest first.
    pub(super) fn newest_before(&self, end: Offset) -> impl Iterator<Item = Held<'_>> {
        let begun = self.frozen.partition_point(|run| run.first().is_some_and(|first| first < end));
        let frozen = self.frozen.range(..begun).flat_map(move |run| run.events_before(end));
        frozen.chain(self.tail.before(end, None)).rev()
    }

    /// Reads the events after `offset` and before `end`, as far as they lie in one piece and within `limit`.
    pub(super) fn read(&mut self, offset: Offset, end: Offset, limit: Limit) -> Option<Batch> {
        let mut spot = self.spot_after(offset)?;
        if let Spot::Tail(index) = spot {
            let stop = self.tail.stop(index, limit).min(self.tail.first_after(end.before()));
            if self.freeze_if_wanted(index, stop) {
                spot = self.spot_after(offset)?;
            }
        }
        Some(match spot {
            Spot::Frozen { run, index } => {
                if self.frozen[run].last().is_some_and(|last| last < end) {
                    self.join(run, index, limit);
                }
                let run = &self.frozen[run];
                let stop = run.stop(index, limit).min(run.first_after(end.before()));
                run.batch(run.share(index, stop), index, stop, limit)
            }
            Spot::Tail(index) => {
                let stop = self.tail.stop(index, limit).min(self.tail.first_after(end.before()));
                let bytes = Bytes::copy_from_slice(self.tail.slice(index, stop));
                self.tail.batch(bytes, index, stop, limit)
            }
        })
    }

    /// Returns the offset that [`read`](Self::read) reaches at least, if nothing ends it.
    pub(super) fn reach(&self, offset: Offset, limit: Limit) -> Option<Offset> {
        Some(match self.spot_after(offset)? {
            Spot::Frozen { run, index } => self.frozen[run].offset(self.frozen[run].stop(index, limit) - 1),
            Spot::Tail(index) => self.tail.offset(self.tail.stop(index, limit) - 1),
        })
    }

    /// Freezes the tail if the part that is wanted, from `index` to `stop`, and what was copied before together reach
    /// the cost of freezing it.
    fn freeze_if_wanted(&mut self, index: usize, stop: usize) -> bool {
        self.copied += self.tail.slice(index, stop).len();
        if self.copied < self.cost_of_freezing() {
            return false;
        }
        let Some(last) = self.frozen.back_mut() else {
            self.freeze();
            return true;
        };
        let before = last.footprint();
        if last.join(&[&self.tail]) {
            self.frozen_footprint = self.frozen_footprint - before + last.footprint();
            (self.tail, self.copied) = (Run::default(), 0);
        } else {
            self.freeze();
        }
        true
    }

    /// Joins a run and those after it, if a reader that begins within it wants all of them as one chunk. The next such
    /// reader finds them joined.
    fn join(&mut self, run: usize, index: usize, limit: Limit) {
        // Single events are not joined.
        if limit.events == 1 {
            return;
        }
        // Looks no further than a chunk, because a lane may hold many runs.
        let end = self.frozen[run].start(index).saturating_add(limit.bytes);
        let fits = |size: usize, next: &Run<Bytes>| Some(size + next.size()).filter(|size| *size <= end);
        let all = self.frozen.range(run..).try_fold(self.tail.size(), fits);
        if all.is_some() && !self.tail.is_empty() {
            // Joins from the run's first event on, because the evicted ones before it are not needed.
            self.freeze_if_wanted(0, self.tail.stop(0, limit));
        }
        // Counts what was already read of the first run. Otherwise, the rest behind that might never justify a copy of
        // the whole.
        let mut size = self.frozen[run].size();
        let fit = self.frozen.range(run + 1..).take_while(|next| {
            size += next.size();
            size <= limit.bytes
        });
        let fit = fit.count();
        if fit == 0 {
            return;
        }
        let before: usize = self.frozen.range(run..=run + fit).map(Run::<Bytes>::footprint).sum();
        let mut joined = std::mem::take(&mut self.frozen[run]);
        let others: Vec<&Run<Bytes>> = self.frozen.range(run + 1..=run + fit).collect();
        let done = joined.join(&others);
        if done {
            self.frozen_footprint = self.frozen_footprint - before + joined.footprint();
            self.frozen.drain(run + 1..=run + fit);
        }
        self.frozen[run] = joined;
    }

    /// Returns how many bytes are copied to freeze the tail. If there is no run to merge it with, none are copied; but
    /// a tail that is mostly not wanted may as well continue to grow.
    fn cost_of_freezing(&self) -> usize {
        let (last, tail) = (self.frozen.back().map_or(0, Run::size), self.tail.size());
        if last + tail > CHUNK { tail } else { last + tail }
    }

    /// Turns the tail into a frozen run.
    fn freeze(&mut self) {
        self.copied = 0;
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.push_frozen(tail.freeze());
        }
    }

    /// Returns where the first event after `offset` is.
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

    /// Returns the first frozen run that has an event after `offset`, or where it would be.
    fn run_after(&self, offset: Offset) -> usize {
        self.frozen.partition_point(|run| run.last().is_none_or(|last| last <= offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: u64, len: usize) -> Sealed {
        Sealed::new(Offset::new(offset), vec![b'x'; len].into())
    }

    /// Creates `count` runs of ten events with a hundred bytes each. The last run is the tail.
    fn tens(count: u64) -> Runs {
        let mut runs = Runs::default();
        for offset in 1..=10 * count {
            runs.push(&event(offset, 100), 0);
            if offset % 10 == 0 && offset < 10 * count {
                runs.freeze();
            }
        }
        runs
    }

    /// Reads, and returns how far the reader gets and how many frozen runs there are then.
    fn read(runs: &mut Runs, after: u64, bytes: usize) -> (u64, usize) {
        let limit = Limit { events: usize::MAX, bytes, each: false };
        let batch = runs.read(Offset::new(after), Offset::new(u64::MAX), limit).unwrap();
        (batch.last().get(), runs.frozen.len())
    }

    #[test]
    fn the_more_is_held_the_larger_a_run_becomes() {
        let mut runs = Runs::default();
        for offset in 1..=10_000 {
            runs.push(&event(offset, 100), 0);
        }
        let sizes: Vec<_> = runs.frozen.iter().map(Run::size).collect();
        assert_eq!((sizes[0], sizes[1], sizes[sizes.len() - 1]), (2_000, 2_000, 32_700));
        let (mut all, most) = (0, |all: usize| (all / 4).clamp(SMALL, CHUNK));
        for size in &sizes {
            all += size;
            assert!(*size <= most(all) && size + 100 > most(all + 100), "a run of {size} in {all}");
        }
        assert!((30..50).contains(&sizes.len()), "{} runs for a megabyte", sizes.len());
    }

    #[test]
    fn the_more_is_held_the_more_room_is_taken_at_once() {
        for (held, room) in [(0, ROOM), (158, 1_000), (10_000, LARGE)] {
            let mut runs = Runs::default();
            (1..=held).for_each(|offset| runs.push(&event(offset, 100), 0));
            runs.freeze();
            (1..=2).for_each(|next| runs.push(&event(held + next, 100), 0));
            assert_eq!(runs.tail.capacity(), 200 + room);
        }
    }

    #[test]
    fn a_large_event_is_a_run_of_its_own() {
        let mut runs = Runs::default();
        runs.push(&event(1, LARGE - 1), 0);
        assert_eq!((runs.frozen.len(), runs.tail.size()), (0, LARGE - 1));
        runs.push(&event(2, LARGE), 0);
        assert_eq!((runs.frozen.len(), runs.tail.size(), runs.size), (2, 0, 2 * LARGE - 1));
    }

    #[test]
    fn what_is_after_an_offset_is_found_wherever_it_lies() {
        let mut runs = tens(4);
        for offset in 0..40 {
            let (after, next) = (Offset::new(offset), Offset::new(offset + 1));
            let run = (offset / 10 + 1) * 10;
            assert_eq!(runs.first_after(after), Some(next));
            assert_eq!(runs.reach(after, Limit::CHUNK).unwrap().get(), run);
            assert_eq!(runs.reach(after, Limit::ONE), Some(next));
            let one = runs.read(after, Offset::new(u64::MAX), Limit::ONE);
            assert!(matches!(one, Some(Batch::One(event)) if event.offset() == next));
            assert_eq!(runs.after(after).count(), 40 - usize::try_from(offset).unwrap());
            for end in offset + 2..=run {
                let limit = Limit { events: 9, bytes: 1_000, each: false };
                let last = runs.read(after, Offset::new(end), limit).unwrap().last().get();
                assert_eq!(last, (end - 1).min(offset + 9));
            }
        }
        assert!(runs.first_after(Offset::new(40)).is_none() && runs.reach(Offset::new(40), Limit::ONE).is_none());
    }

    #[test]
    fn what_grows_is_frozen_once_as_much_of_it_was_copied_as_that_costs() {
        let mut runs = tens(1);
        assert_eq!([read(&mut runs, 5, CHUNK), read(&mut runs, 5, CHUNK)], [(10, 0), (10, 1)]);
        (11..=20).for_each(|offset| runs.push(&event(offset, 100), 0));
        assert_eq!([15; 4].map(|after| read(&mut runs, after, CHUNK)), [(20, 1); 4]);
        assert!(runs.tail.is_empty(), "in one with what was there");
    }

    #[test]
    fn what_can_not_be_one_with_what_was_there_costs_less_to_freeze() {
        for (len, reads, frozen) in [(CHUNK / 64, 8, 5), (CHUNK / 64 + 1, 2, 6)] {
            let mut runs = Runs::default();
            (1..=7).for_each(|offset| runs.push(&event(offset, LARGE), 0));
            assert_eq!(read(&mut runs, 4, CHUNK), (7, 5), "three quarters of a chunk in one run");
            (8..24).for_each(|offset| runs.push(&event(offset, len), 0));
            for _ in 1..reads {
                assert_eq!(read(&mut runs, 15, CHUNK), (23, 5));
                assert!(!runs.tail.is_empty());
            }
            assert_eq!(read(&mut runs, 15, CHUNK), (23, frozen));
            assert!(runs.tail.is_empty());
        }
    }

    #[test]
    fn single_events_are_shared_by_the_same_measure() {
        let mut runs = tens(1);
        for after in 0..10 {
            assert_eq!(runs.frozen.len(), 0);
            runs.read(Offset::new(after), Offset::new(u64::MAX), Limit::ONE);
        }
        assert_eq!(runs.frozen.len(), 1, "all of it was copied once");
    }

    #[test]
    fn what_is_beyond_the_end_of_a_read_is_neither_copied_nor_put_together() {
        let mut runs = tens(2);
        (0..10).for_each(|after| drop(runs.read(Offset::new(10), Offset::new(12 + after % 2), Limit::CHUNK)));
        assert!(!runs.tail.is_empty(), "fifteen events were copied, and twenty pay");
        (0..3).for_each(|_| drop(runs.read(Offset::new(5), Offset::new(7), Limit::CHUNK)));
        assert!(!runs.tail.is_empty());
    }

    #[test]
    fn a_reader_of_several_runs_puts_them_together_as_far_as_a_read_goes() {
        assert_eq!(read(&mut tens(5), 0, 3_500), (30, 2));
        assert_eq!(read(&mut tens(5), 0, 3_000), (30, 2));
        assert_eq!(read(&mut tens(5), 0, 2_999), (20, 3));
        assert_eq!(read(&mut tens(5), 10, 2_000), (30, 3));
        assert_eq!(read(&mut tens(5), 5, 100), (6, 4));
        let mut runs = tens(5);
        runs.read(Offset::START, Offset::new(u64::MAX), Limit::ONE);
        assert_eq!(runs.frozen.len(), 4, "one event is read from where it is");
        // The tail is joined too once that pays; until then it would be copied with the run before it.
        assert_eq!([0; 4].map(|after| read(&mut runs, after, CHUNK)), [(40, 1); 4]);
        assert_eq!(read(&mut runs, 0, CHUNK), (50, 1));
    }
}
