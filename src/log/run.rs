//! A run: events one after the other in one piece of memory, and where each of them lies in it.
//!
//! A run that still grows is a `Vec`. Once it is frozen into `Bytes`, all readers share it, and events only leave it.
//! Neither kind is ever larger than a chunk, unless it consists of one large event.

use std::ops::Range;

use bytes::Bytes;

use super::{
    batch::{Batch, Limit},
    memory::SHARED,
    retention::EVENT_OVERHEAD,
};
use crate::{
    footprint::Elastic as _,
    wire::{cursor::Offset, encode::Sealed},
};

/// The most bytes that a run holds, and that a read returns.
pub(super) const CHUNK: usize = Limit::CHUNK.bytes;

#[derive(Default)]
pub(super) struct Run<B> {
    bytes: B,
    /// One place for each event, in ascending order of offset.
    places: Vec<Place>,
    /// How many of the first places belong to evicted events, whose bytes are still there.
    gone: usize,
    /// The time from which the events' ages are counted, in the log's milliseconds.
    since: u64,
    /// The unused room behind the bytes, if the run was frozen with some.
    spare: usize,
}

/// Where an event ends. It begins where the previous one ends.
#[derive(Clone, Copy)]
struct Place {
    offset: Offset,
    end: u32,
    /// When the event came, in milliseconds since the run's beginning.
    at: u32,
}

/// An event in a run.
pub(super) struct Held<'a> {
    pub(super) offset: Offset,
    pub(super) bytes: &'a [u8],
    /// The shared memory that the bytes are a part of, if there is any.
    pub(super) shared: Option<&'a Bytes>,
}

impl Held<'_> {
    /// Returns the event: as a slice of the run's memory if that is shared, and as a copy otherwise.
    pub(super) fn to_sealed(&self) -> Sealed {
        let bytes = match self.shared {
            Some(shared) => shared.slice_ref(self.bytes),
            None => Bytes::copy_from_slice(self.bytes),
        };
        Sealed::new(self.offset, bytes)
    }
}

/// An evicted event.
pub(super) struct Gone {
    pub(super) offset: Offset,
    /// What the event had cost.
    pub(super) cost: usize,
}

impl<B: AsRef<[u8]>> Run<B> {
    pub(super) fn is_empty(&self) -> bool {
        self.gone == self.places.len()
    }

    /// Returns the number of bytes, including dead ones.
    pub(super) fn size(&self) -> usize {
        self.bytes.as_ref().len()
    }

    fn held(&self) -> &[Place] {
        &self.places[self.gone..]
    }

    pub(super) fn first(&self) -> Option<Offset> {
        self.held().first().map(|place| place.offset)
    }

    pub(super) fn last(&self) -> Option<Offset> {
        self.held().last().map(|place| place.offset)
    }

    /// Returns when the oldest event came.
    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.held().first().map(|place| self.since + u64::from(place.at))
    }

    /// Returns when the event at an index came.
    #[cfg(feature = "metrics")]
    pub(super) fn came(&self, index: usize) -> u64 {
        self.since + u64::from(self.places[index].at)
    }

    /// Returns the index of the first event after `offset`. Most readers miss only a few events at the end, which need
    /// no search.
    pub(super) fn first_after(&self, offset: Offset) -> usize {
        let len = self.places.len();
        let is_read = |index: usize| self.places[index].offset <= offset;
        if len == self.gone || is_read(len - 1) {
            len
        } else if len == self.gone + 1 || is_read(len - 2) {
            len - 1
        } else {
            self.gone + self.held().partition_point(|place| place.offset <= offset)
        }
    }

    /// Returns how many events there are after `offset`.
    pub(super) fn count_after(&self, offset: Offset) -> usize {
        self.places.len() - self.first_after(offset)
    }

    /// Returns the index behind the last event.
    pub(super) fn end(&self) -> usize {
        self.places.len()
    }

    /// Returns where the event's bytes begin, or where the run ends.
    pub(super) fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.places[before].end())
    }

    pub(super) fn offset(&self, index: usize) -> Offset {
        self.places[index].offset
    }

    /// Returns where a read that begins with the event `from` stops: behind as many events as are within the limit, but
    /// at least one.
    pub(super) fn stop(&self, from: usize, limit: Limit) -> usize {
        let rest = &self.places[from..];
        let rest = &rest[..rest.len().min(limit.events)];
        let max = self.start(from).saturating_add(limit.bytes);
        let fit = match rest.last() {
            Some(last) if last.end() <= max => rest.len(),
            _ => rest.partition_point(|place| place.end() <= max),
        };
        from + fit.max(1)
    }

    /// Returns the bytes of the events from one index to another.
    pub(super) fn slice(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes.as_ref()[self.start(from)..self.start(to)]
    }

    /// Returns the events from one index to another as a batch. `bytes` are their bytes.
    pub(super) fn batch(&self, bytes: Bytes, from: usize, to: usize, limit: Limit) -> Batch {
        if !limit.each || to - from == 1 {
            return Batch::of_bytes(bytes, to - from, self.offset(to - 1));
        }
        let (start, mut at) = (self.start(from), 0);
        let events = self.places[from..to].iter().map(|place| {
            let begin = at;
            at = place.end() - start;
            Sealed::new(place.offset, bytes.slice(begin..at))
        });
        Batch::Each { events: events.collect(), chunk: bytes }
    }

    pub(super) fn after<'a>(
        &'a self,
        offset: Offset,
        shared: Option<&'a Bytes>,
    ) -> impl DoubleEndedIterator<Item = Held<'a>> {
        self.within(self.first_after(offset)..self.places.len(), shared)
    }

    pub(super) fn before<'a>(
        &'a self,
        end: Offset,
        shared: Option<&'a Bytes>,
    ) -> impl DoubleEndedIterator<Item = Held<'a>> {
        self.within(self.gone..self.first_after(end.before()), shared)
    }

    fn within<'a>(
        &'a self,
        indices: Range<usize>,
        shared: Option<&'a Bytes>,
    ) -> impl DoubleEndedIterator<Item = Held<'a>> {
        indices.map(move |index| Held {
            offset: self.places[index].offset,
            bytes: self.slice(index, index + 1),
            shared,
        })
    }

    /// Returns when an event came, counted from `since`; `None` if the run began before that.
    fn age_of(&self, place: &Place, since: u64) -> Option<u64> {
        Some(self.since.checked_sub(since)? + u64::from(place.at))
    }

    /// Evicts the oldest event. The caller drops the run if that empties it.
    fn evict(&mut self) -> Option<Gone> {
        let offset = self.first()?;
        let cost = self.slice(self.gone, self.gone + 1).len() + EVENT_OVERHEAD;
        self.gone += 1;
        Some(Gone { offset, cost })
    }

    /// Returns how many bytes belong to evicted events.
    fn dead(&self) -> usize {
        self.start(self.gone)
    }

    /// Returns the last event that came before `time`.
    pub(super) fn last_before(&self, time: u64) -> Option<Offset> {
        let before = self.held().partition_point(|place| self.since + u64::from(place.at) < time);
        Some(self.held()[before.checked_sub(1)?].offset)
    }
}

impl Run<Vec<u8>> {
    /// Returns whether an event of this size fits behind the others, if the run may have `max` bytes.
    pub(super) fn takes(&self, len: usize, at: u64, max: usize) -> bool {
        self.places.is_empty()
            || (self.bytes.len() + len <= max && at.checked_sub(self.since).is_some_and(|at| u32::try_from(at).is_ok()))
    }

    /// Copies an event behind the others. `room` says how much room is taken at once. That is less than the twofold
    /// that a `Vec` takes by itself, because there are many channels and most are small. A first event gets no room
    /// behind it, because it may be the only one.
    pub(super) fn push(&mut self, event: &Sealed, at: u64, room: usize) {
        let len = self.bytes.len() + event.as_bytes().len();
        if len > self.bytes.capacity() {
            let room = if self.places.is_empty() { 0 } else { room };
            self.bytes.reserve_exact((len + room).min(CHUNK.max(len)) - self.bytes.len());
        }
        self.bytes.extend_from_slice(event.as_bytes());
        if self.places.is_empty() {
            self.since = at;
        }
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact((self.places.len() / 8).max(4));
        }
        self.places.push(Place::new(event.offset(), len, at.saturating_sub(self.since)));
    }

    /// Evicts the oldest event. At most an eighth of the run is ever dead. The rest is moved in place, which is cheap
    /// because most channels are small.
    pub(super) fn evict_and_compact(&mut self) -> Option<Gone> {
        let gone = self.evict()?;
        if self.is_empty() {
            // It keeps its room, because either the next event comes soon or the lane drops the whole run.
            self.bytes.clear();
            self.places.clear();
            self.gone = 0;
        } else if 8 * self.dead() > self.size() {
            self.compact();
        }
        Some(gone)
    }

    /// Frees the dead bytes.
    fn compact(&mut self) {
        let dead = self.dead();
        self.bytes.drain(..dead);
        self.places.drain(..std::mem::take(&mut self.gone));
        self.places.iter_mut().for_each(|place| place.move_back(dead));
        if self.bytes.capacity() > 2 * self.bytes.len() {
            self.bytes.shrink_to(self.bytes.len() + self.bytes.len() / 8);
        }
        self.places.give_back();
    }

    pub(super) fn freeze(mut self) -> Run<Bytes> {
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / 8 {
            self.bytes.shrink_to_fit();
        }
        self.places.shrink_to_fit();
        let spare = self.bytes.capacity() - self.bytes.len();
        Run { bytes: self.bytes.into(), places: self.places, gone: self.gone, since: self.since, spare }
    }

    /// Returns how many bytes the run takes from the allocator.
    pub(super) fn footprint(&self) -> usize {
        self.bytes.capacity() + self.places.footprint()
    }
}

impl Run<Bytes> {
    /// Creates a run of one event, without copying it.
    pub(super) fn of(event: &Sealed, at: u64) -> Self {
        let bytes = event.as_bytes().clone();
        Self { places: vec![Place::new(event.offset(), bytes.len(), 0)], bytes, gone: 0, since: at, spare: 0 }
    }

    /// Returns how many bytes the run takes from the allocator. Readers may share them.
    pub(super) fn footprint(&self) -> usize {
        self.bytes.len() + self.spare + SHARED + self.places.footprint()
    }

    /// Returns the bytes of the events from one index to another, without copying them.
    pub(super) fn share(&self, from: usize, to: usize) -> Bytes {
        self.bytes.slice(self.start(from)..self.start(to))
    }

    pub(super) fn events_after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = Held<'_>> {
        self.after(offset, Some(&self.bytes))
    }

    pub(super) fn events_before(&self, end: Offset) -> impl DoubleEndedIterator<Item = Held<'_>> {
        self.before(end, Some(&self.bytes))
    }

    /// Joins other runs to this one in new memory, if together they are no more than a chunk and nothing in it is dead.
    /// Returns whether it did.
    pub(super) fn join<B: AsRef<[u8]>>(&mut self, others: &[&Run<B>]) -> bool {
        let size = self.size() + others.iter().map(|other| other.size()).sum::<usize>();
        let since = self.since;
        let fits = |other: &&Run<B>| {
            let last = other.places.last().and_then(|last| other.age_of(last, since));
            other.gone == 0 && last.is_some_and(|age| u32::try_from(age).is_ok())
        };
        if size > CHUNK || self.gone > 0 || !others.iter().all(fits) {
            return false;
        }
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&self.bytes);
        self.places.reserve_exact(others.iter().map(|other| other.places.len()).sum());
        for other in others {
            let before = bytes.len();
            let age = |place: &Place| other.age_of(place, since).unwrap_or_default();
            let moved = |place: &Place| Place::new(place.offset, before + place.end(), age(place));
            self.places.extend(other.places.iter().map(moved));
            bytes.extend_from_slice(other.bytes.as_ref());
        }
        (self.bytes, self.spare) = (bytes.into(), 0);
        true
    }

    /// Evicts the oldest event. At most half of the run is ever dead, so each held byte is copied about once in all.
    pub(super) fn evict_and_compact(&mut self) -> Option<Gone> {
        let gone = self.evict()?;
        if !self.is_empty() && 2 * self.dead() > self.size() {
            self.compact();
        }
        Some(gone)
    }

    /// Lets go of what is dead.
    fn compact(&mut self) {
        let dead = self.dead();
        self.bytes = Bytes::copy_from_slice(&self.bytes[dead..]);
        self.places = self.held().to_vec();
        self.places.iter_mut().for_each(|place| place.move_back(dead));
        (self.gone, self.spare) = (0, 0);
    }
}

impl Place {
    /// Both conversions fit: a run only takes what fits, and [`Limits`](crate::Limits) allow no event of 4 GiB.
    fn new(offset: Offset, end: usize, at: u64) -> Self {
        Self { offset, end: u32::try_from(end).unwrap_or(u32::MAX), at: u32::try_from(at).unwrap_or(u32::MAX) }
    }

    fn end(&self) -> usize {
        self.end as usize
    }

    /// Moves the place after `dead` bytes before it were cut. They are less than 4 GiB, because the end is.
    fn move_back(&mut self, dead: usize) {
        self.end -= u32::try_from(dead).unwrap_or(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Retention;

    const LEN: usize = 10;

    impl Run<Vec<u8>> {
        pub(in crate::log) fn capacity(&self) -> usize {
            self.bytes.capacity()
        }
    }

    fn event(offset: u64) -> Sealed {
        Sealed::new(Offset::new(offset), vec![b'x'; LEN].into())
    }

    /// The events from one to another, with room for so many.
    fn run(offsets: std::ops::RangeInclusive<u64>, room: usize) -> Run<Vec<u8>> {
        let mut run = Run::default();
        offsets.for_each(|offset| run.push(&event(offset), 0, room * LEN));
        run
    }

    /// How many events' bytes are gone after the oldest is evicted.
    fn released<B: AsRef<[u8]>>(run: &mut Run<B>, evict: fn(&mut Run<B>) -> Option<Gone>) -> usize {
        let before = run.size();
        assert_eq!(evict(run).unwrap().cost, Retention::cost(LEN));
        (before - run.size()) / LEN
    }

    #[test]
    fn a_run_takes_what_fits_behind_its_others_and_is_not_too_late_for_them() {
        const DAY: u64 = 86_400_000;
        let mut run = Run::default();
        assert!(run.takes(usize::MAX, 0, 0), "whatever comes first");
        run.push(&event(1), DAY, 0);
        assert!(run.takes(7, DAY, LEN + 7) && !run.takes(8, DAY, LEN + 7));
        assert!(run.takes(7, DAY + u64::from(u32::MAX), 99) && !run.takes(7, DAY + u64::from(u32::MAX) + 1, 99));
        assert!(!run.takes(7, DAY - 1, 99), "ages are counted from the first");
    }

    #[test]
    fn a_run_that_grows_takes_room_as_told_and_none_behind_its_first() {
        let mut grown = run(1..=1, 5);
        assert_eq!((grown.bytes.capacity(), grown.places.capacity()), (LEN, 4));
        for (offset, capacity) in [(2, 7), (7, 7), (8, 13)] {
            grown = run(1..=offset, 5);
            assert_eq!(grown.bytes.capacity(), capacity * LEN);
        }
        assert_eq!(grown.places.capacity(), 8);
        let mut sizes = std::collections::BTreeSet::new();
        for offset in 9..CHUNK as u64 / LEN as u64 {
            grown.push(&event(offset), 0, CHUNK);
            sizes.insert(grown.places.capacity());
        }
        assert_eq!(grown.bytes.capacity(), CHUNK, "and no more than a chunk");
        assert!(sizes.len() < 60, "a few places at a time would be copied too often");
        assert!(grown.places.capacity() < grown.places.len() * 9 / 8);
    }

    #[test]
    fn a_run_that_grows_lets_go_of_what_is_dead_beyond_an_eighth_and_of_room_beyond_half() {
        let mut grown = run(1..=16, 14);
        let evict = Run::<Vec<u8>>::evict_and_compact;
        assert_eq!([released(&mut grown, evict), released(&mut grown, evict), released(&mut grown, evict)], [0, 0, 3]);
        assert_eq!((grown.held().len(), grown.size(), grown.bytes.capacity()), (13, 13 * LEN, 16 * LEN));
        for _ in 0..5 {
            grown.evict();
        }
        grown.compact();
        assert_eq!(grown.held().len(), 8);
        assert_eq!((grown.size(), grown.bytes.capacity()), (8 * LEN, 16 * LEN));
        grown.evict();
        grown.compact();
        assert_eq!(grown.bytes.capacity(), 7 * LEN + 7 * LEN / 8);
        assert_eq!((grown.first(), grown.last()), (Some(Offset::new(10)), Some(Offset::new(16))));
        for _ in 0..7 {
            grown.evict_and_compact();
        }
        assert_eq!((grown.size(), grown.end(), grown.gone), (0, 0, 0));
    }

    #[test]
    fn a_frozen_run_has_no_room_beyond_an_eighth_and_lets_go_of_what_is_dead_beyond_half() {
        for (room, capacity) in [(6, 8), (7, 9), (8, 8)] {
            let frozen = run(1..=8, room).freeze();
            assert_eq!(frozen.places.capacity(), 8);
            // A `BytesMut` that was a vector has its capacity.
            assert_eq!(frozen.bytes.try_into_mut().unwrap().capacity(), capacity * LEN);
        }
        let mut frozen = run(1..=8, 0).freeze();
        let evict = Run::<Bytes>::evict_and_compact;
        assert_eq!((0..5).map(|_| released(&mut frozen, evict)).collect::<Vec<_>>(), [0, 0, 0, 0, 5]);
        assert_eq!((frozen.held().len(), frozen.size()), (3, 3 * LEN));
        assert_eq!((0..3).map(|_| released(&mut frozen, evict)).collect::<Vec<_>>(), [0, 2, 0]);
        assert!(frozen.is_empty());
    }

    #[test]
    fn a_read_stops_behind_the_last_that_is_within_its_limit() {
        let mut run = run(1..=8, 0);
        run.evict();
        let stop = |from, events, bytes| run.stop(from, Limit { events, bytes, each: false });
        assert_eq!([0, LEN, 2 * LEN - 1, 2 * LEN, 7 * LEN, 9 * LEN].map(|bytes| stop(1, 9, bytes)), [2, 2, 2, 3, 8, 8]);
        assert_eq!([1, 2, 7, 9].map(|events| stop(1, events, 99 * LEN)), [2, 3, 8, 8]);
        assert_eq!(stop(7, 9, 0), 8);
    }

    #[test]
    fn the_first_after_an_offset_is_found_wherever_it_is() {
        let mut run = Run::default();
        (1..=8).for_each(|n| run.push(&event(2 * n), 0, 0));
        for gone in 0..=8 {
            for offset in 0..=17 {
                let expected = (gone..8).find(|index| run.places[*index].offset.get() > offset).unwrap_or(8);
                assert_eq!(run.first_after(Offset::new(offset)), expected, "after {offset} with {gone} gone");
            }
            run.evict();
        }
    }

    #[test]
    fn runs_are_joined_if_they_are_a_chunk_at_most_and_nothing_in_them_is_dead() {
        let of = |offset, at| Run::of(&event(offset), at);
        let mut first = of(1, 1_000);
        let mut second = of(2, 2_000);
        second.places[0].at = 5;
        assert!(first.join(&[&second, &of(3, 3_000)]));
        assert_eq!((first.size(), first.held().len(), first.last()), (3 * LEN, 3, Some(Offset::new(3))));
        assert_eq!([0, 1, 2].map(|index| first.slice(index, index + 1).len()), [LEN; 3]);
        for at in [1_000, 2_005, 3_000] {
            assert_eq!(first.oldest_at(), Some(at));
            first.evict();
        }

        let (mut first, mut dead) = (of(1, 1_000), run(2..=3, 0));
        dead.since = 1_000;
        assert!(!first.join(&[&of(2, 999)]), "older than what it counts from");
        assert!(first.join(&[&of(2, 1_000 + u64::from(u32::MAX))]));
        assert!(!first.join(&[&of(3, 1_001 + u64::from(u32::MAX))]), "too young");
        dead.evict();
        assert!(!first.join(&[&dead]));
        first.evict();
        assert!(!first.join(&[&of(3, 1_000)]));

        let whole = |len| Run::of(&Sealed::new(Offset::new(1), vec![b'x'; len].into()), 0);
        assert!(whole(LEN).join(&[&whole(CHUNK - 2 * LEN), &whole(LEN)]));
        assert!(!whole(LEN).join(&[&whole(CHUNK - 2 * LEN), &whole(LEN + 1)]));
    }
}
