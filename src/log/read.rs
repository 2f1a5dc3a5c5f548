//! Reads a log: what comes after a cursor, for one reader, in publish order.

use bytes::Bytes;

use super::{
    BROADCAST, LaneId, Log,
    batch::{Batch, Limit},
    exceptions::Who,
    run::Held,
};
use crate::wire::{
    cursor::Offset,
    encode::Sealed,
    name::{ClientId, ConnectionId},
};

/// What a reader sees of a log: the broadcasts, and the lane of its client if there is one, except for events that
/// exclude the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View<'a> {
    pub(crate) client: Option<LaneId>,
    /// The client's name, if the view was made for a name. The client may have no lane.
    pub(super) name: Option<&'a ClientId>,
    /// The id of the reader's connection, where that matters.
    pub(crate) connection: Option<&'a ConnectionId>,
}

impl<'a> View<'a> {
    /// The view of a reader without a client: the broadcasts.
    #[cfg(test)]
    pub(crate) const EVERYBODY: Self = Self { client: None, name: None, connection: None };

    /// Creates the view of a client that has this lane.
    pub(crate) fn of(client: Option<LaneId>) -> Self {
        Self { client, name: None, connection: None }
    }

    /// Creates the view of a reader whose connection has this id.
    pub(crate) fn under(self, connection: Option<&'a ConnectionId>) -> Self {
        Self { connection, ..self }
    }
}

impl Log {
    /// Returns the view of a client, or of a reader without one. The client need not be connected.
    pub(crate) fn view_for<'a>(&self, name: Option<&'a ClientId>) -> View<'a> {
        View { client: name.and_then(|name| self.lane_of(name)), name, connection: None }
    }

    /// Returns the identity of the reader that has this view.
    pub(super) fn who<'a>(&'a self, view: View<'a>) -> Who<'a> {
        let client = view.name.or_else(|| self.client_of(view.client?));
        Who { client, connection: view.connection }
    }

    /// Returns the offset of the first event after `after` in `view`.
    pub(crate) fn first_after(&self, view: View<'_>, mut after: Offset) -> Option<Offset> {
        loop {
            let first = self.first_of_all_after(view.client, after)?;
            if self.exceptions().is_none() || self.before_excluded(first, view).is_none() {
                return Some(first);
            }
            after = first;
        }
    }

    /// Like [`first_after`](Self::first_after), but includes events that exclude the reader.
    #[inline]
    pub(crate) fn first_of_all_after(&self, client: Option<LaneId>, after: Offset) -> Option<Offset> {
        let own = client.and_then(|own| self.lane(own)).and_then(|lane| lane.first_after(after));
        self.broadcast.first_after(after).into_iter().chain(own).min()
    }

    /// Returns how many events are held after `after`, including those that exclude the reader. The cost grows with the
    /// pieces of memory that they lie in, of some hundred events each.
    pub(crate) fn count_after(&self, client: Option<LaneId>, after: Offset) -> usize {
        let own = client.and_then(|own| self.lane(own)).map_or(0, |lane| lane.count_after(after));
        self.broadcast.count_after(after) + own
    }

    /// Returns the held events after `after`, oldest first: both lanes, merged by offset.
    fn after(&self, client: Option<LaneId>, after: Offset) -> impl Iterator<Item = Held<'_>> {
        let mut broadcasts = self.broadcast.after(after).peekable();
        let mut targeted =
            client.and_then(|own| self.lane(own)).map(|lane| lane.after(after)).into_iter().flatten().peekable();
        std::iter::from_fn(move || match (broadcasts.peek(), targeted.peek()) {
            (Some(broadcast), Some(own)) if own.offset < broadcast.offset => targeted.next(),
            (None, _) => targeted.next(),
            _ => broadcasts.next(),
        })
    }

    /// Reads the next batch after `after`: as much as lies in one piece, without a copy.
    #[cfg(test)]
    pub(crate) fn read(&mut self, view: View<'_>, after: Offset, limit: Limit) -> Option<Batch> {
        self.read_before(view, after, Offset::new(u64::MAX), limit)
    }

    /// Reads the next batch after `after` and before `end`. If there is an event after `after`, the first one must be
    /// before `end`.
    pub(crate) fn read_before(&mut self, view: View<'_>, after: Offset, end: Offset, limit: Limit) -> Option<Batch> {
        let Some(exceptions) = self.exceptions() else { return self.read_all_before(view.client, after, end, limit) };
        // The reader sees what lies between the events that exclude it.
        let first = self.first_after(view, after)?.before().max(after);
        let end = exceptions.end_after(first, self.who(view)).min(end);
        self.read_all_before(view.client, first, end, limit)
    }

    /// Returns the events of a chunk one by one. The chunk begins after `after` and ends with `last`.
    fn split(&self, client: Option<LaneId>, after: Offset, chunk: Bytes, last: Offset) -> Batch {
        let mut at = 0;
        let held = self.after(client, after).take_while(|event| event.offset <= last);
        let events = held.map(|event| {
            let from = at;
            at += event.bytes.len();
            Sealed::new(event.offset, chunk.slice(from..at))
        });
        Batch::Each { events: events.collect(), chunk }
    }

    /// Like [`read_before`](Self::read_before), but includes events that exclude the reader.
    #[inline]
    pub(crate) fn read_all_before(
        &mut self,
        client: Option<LaneId>,
        after: Offset,
        end: Offset,
        limit: Limit,
    ) -> Option<Batch> {
        match client {
            None => self.broadcast.read(after, end, limit),
            Some(own) => self.read_both(own, after, end, limit),
        }
    }

    /// Reads the broadcasts and a client's own lane.
    fn read_both(&mut self, own: LaneId, after: Offset, end: Offset, limit: Limit) -> Option<Batch> {
        let targeted = self.lane(own).and_then(|lane| lane.first_after(after));
        let broadcast = self.broadcast.first_after(after);
        let (first, other) = match (broadcast, targeted) {
            (Some(broadcast), Some(targeted)) if targeted < broadcast => (own, Some(broadcast)),
            (None, _) => (own, None),
            (Some(_), other) => (BROADCAST, other),
        };
        let reach = |log: &Self| log.lane(first).and_then(|lane| lane.reach(after, limit));
        match other {
            Some(other) if other < end && reach(self).is_some_and(|last| last > other) => {
                match self.merge(Some(own), after, end, limit)? {
                    Batch::Many { bytes, last, .. } if limit.each => Some(self.split(Some(own), after, bytes, last)),
                    batch => Some(batch),
                }
            }
            _ => self.change(first, |lane| lane.read(after, other.unwrap_or(end).min(end), limit))?,
        }
    }

    /// Merges the events of two lanes into a copy.
    fn merge(&self, client: Option<LaneId>, after: Offset, end: Offset, limit: Limit) -> Option<Batch> {
        let (mut bytes, mut count, mut last) = (Vec::new(), 0, after);
        for event in self.after(client, after).take(limit.events).take_while(|event| event.offset < end) {
            if count > 0 && bytes.len() + event.bytes.len() > limit.bytes {
                break;
            }
            bytes.extend_from_slice(event.bytes);
            (count, last) = (count + 1, event.offset);
        }
        (count > 0).then(|| Batch::of_bytes(bytes.into(), count, last))
    }

    /// Returns the events in `view` among the first `n` that its lanes hold after `after`, oldest first, and the offset
    /// up to which it looked.
    pub(crate) fn oldest_after(&self, view: View<'_>, after: Offset, n: usize) -> (Vec<Sealed>, Offset) {
        let (mut events, mut upto) = (Vec::new(), after);
        for event in self.after(view.client, after).take(n) {
            upto = event.offset;
            if self.before_excluded(event.offset, view).is_none() {
                events.push(event.to_sealed());
            }
        }
        (events, upto)
    }

    /// Returns the newest `n` events in `view` before `end`, newest first.
    pub(crate) fn newest_before(&self, view: View<'_>, end: Offset, n: usize) -> Vec<Sealed> {
        self.newest_held(view, end, n).iter().map(Held::to_sealed).collect()
    }

    /// Returns the offsets of these events.
    pub(crate) fn newest_offsets_before(&self, view: View<'_>, end: Offset, n: usize) -> Vec<Offset> {
        self.newest_held(view, end, n).iter().map(|event| event.offset).collect()
    }

    fn newest_held<'a>(&'a self, view: View<'a>, end: Offset, n: usize) -> Vec<Held<'a>> {
        let before = self.before_history();
        let is_for_it = |event: &Held<'_>| event.offset > before && self.before_excluded(event.offset, view).is_none();
        let broadcasts = self.broadcast.newest_before(end).filter(is_for_it).take(n);
        let targeted = self.own(view).map(|lane| lane.newest_before(end).filter(is_for_it).take(n));
        let mut newest: Vec<_> = broadcasts.chain(targeted.into_iter().flatten()).collect();
        newest.sort_unstable_by_key(|event| std::cmp::Reverse(event.offset));
        newest.truncate(n);
        newest
    }

    /// Returns the newest `n` events in `view`, newest first.
    #[cfg(test)]
    pub(crate) fn newest(&self, view: View<'_>, n: usize) -> Vec<Sealed> {
        self.newest_before(view, Offset::new(u64::MAX), n)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{super::*, *};
    use crate::wire::{
        cursor::{Cursor, Epoch},
        encode::Draft,
        event::Event,
    };

    const EVERYBODY: View<'static> = View::EVERYBODY;
    /// Of small events: some chunks of them.
    const MANY: u64 = if cfg!(miri) { 1_200 } else { 5_000 };

    fn event(offset: u64, text: &str) -> Sealed {
        let cursor = Cursor { epoch: Epoch::from_bits(1), offset: Offset::new(offset) };
        Draft::new(Event::text(text), cursor.offset).seal(cursor).0
    }

    fn append(log: &mut Log, offset: u64) {
        log.append(BROADCAST, &event(offset, "x"), None, Instant::now());
    }

    fn log(retention: Retention) -> Log {
        Log::new(retention, Tombstone::default(), Instant::now())
    }

    fn chunk(log: &mut Log, view: View<'_>, after: u64) -> (Bytes, Offset) {
        match log.read(view, Offset::new(after), Limit::CHUNK) {
            Some(Batch::Many { bytes, last, .. }) => {
                assert!(bytes.len() <= Limit::CHUNK.bytes, "only one event may be larger");
                (bytes, last)
            }
            Some(Batch::One(event)) => (event.as_bytes().clone(), event.offset()),
            Some(Batch::Each { .. }) => panic!("one piece was asked for"),
            None => panic!("nothing to read"),
        }
    }

    /// Reads everything after `after`, and says in how many chunks.
    fn read_all(log: &mut Log, view: View<'_>, after: u64) -> (Vec<u8>, usize) {
        let (mut all, mut at, mut chunks) = (Vec::new(), Offset::new(after), 0);
        while log.first_after(view, at).is_some() {
            let (bytes, last) = chunk(log, view, at.get());
            assert!(last > at);
            all.extend_from_slice(&bytes);
            (at, chunks) = (last, chunks + 1);
        }
        (all, chunks)
    }

    /// Freezes what the log holds: as much is read of it as makes it pay.
    fn freeze(log: &mut Log, after: u64) -> Bytes {
        let times = if cfg!(miri) { 100 } else { 1_000 };
        (0..times).for_each(|_| drop(chunk(log, EVERYBODY, after)));
        chunk(log, EVERYBODY, after).0
    }

    #[test]
    fn readers_that_are_behind_share_memory_wherever_they_are() {
        let mut log = log(Retention::new());
        (1..=100).for_each(|offset| append(&mut log, offset));
        let ana = View::of(log.lane_for(&ClientId::from_static("ana"), 9).ok());
        let whole = freeze(&mut log, 0);
        for after in 0..99 {
            for view in [EVERYBODY, ana] {
                let (bytes, last) = chunk(&mut log, view, after);
                assert_eq!(last, Offset::new(100));
                assert_eq!(bytes.as_ptr_range().end, whole.as_ptr_range().end);
            }
        }
        append(&mut log, 101);
        assert_eq!(chunk(&mut log, EVERYBODY, 0).0.as_ptr(), whole.as_ptr(), "what grows does not move what is frozen");
    }

    #[test]
    fn readers_of_several_channels_that_are_behind_share_memory_too() {
        let mut log = log(Retention::new());
        (1..=100).for_each(|offset| append(&mut log, offset));
        let mut read = |after, end| {
            let batch = log.read_before(EVERYBODY, Offset::new(after), Offset::new(end), Limit::CHUNK).unwrap();
            assert_eq!(batch.last().get(), (end - 1).min(100));
            batch.pieces().next().unwrap().clone()
        };
        assert_ne!(read(90, 95).as_ptr(), read(90, 95).as_ptr(), "who is first gets a copy");
        (0..1_000).for_each(|_| drop(read(90, 95)));
        assert_eq!(read(10, 91).as_ptr_range().end, read(90, 101).as_ptr());
    }

    #[test]
    fn an_event_that_a_mark_says_is_gone_is_held_and_not_kept_besides() {
        let mut log = log(Retention::new());
        log.restart(Tombstone { broadcast: Offset::new(5), ..Tombstone::default() });
        let (newest, now) = (event(3, "x"), Instant::now());
        log.append(BROADCAST, &newest, None, now);
        let published = newest.as_bytes().as_ptr();
        log.keep(BROADCAST, newest);
        let (bytes, last) = chunk(&mut log, EVERYBODY, 0);
        assert!(last == Offset::new(3) && bytes.as_ptr() != published);
    }

    #[test]
    fn the_newest_event_is_read_as_it_was_published() {
        let mut log = log(Retention::new());
        append(&mut log, 1);
        let newest = event(2, "x");
        let published = newest.as_bytes().as_ptr();
        log.append(BROADCAST, &newest, None, Instant::now());
        log.keep(BROADCAST, newest);
        assert_eq!(chunk(&mut log, EVERYBODY, 1).0.as_ptr(), published);
        let one = log.read_before(EVERYBODY, Offset::new(1), Offset::new(3), Limit::CHUNK).unwrap();
        assert_eq!(one.pieces().next().unwrap().as_ptr(), published, "and so it is with those of other channels");
        assert_eq!(chunk(&mut log, EVERYBODY, 0).1, Offset::new(2), "both for who has neither");
        let large = event(3, &"x".repeat(100_000));
        let published = large.as_bytes().as_ptr();
        log.append(BROADCAST, &large, None, Instant::now());
        append(&mut log, 4);
        let (bytes, last) = chunk(&mut log, EVERYBODY, 2);
        assert_eq!((bytes.as_ptr(), last), (published, Offset::new(3)), "a large one for as long as it is held");
    }

    #[test]
    fn what_is_held_lies_in_few_pieces_however_it_was_read() {
        let mut log = log(Retention::new().events(usize::MAX));
        for offset in 1..=MANY {
            append(&mut log, offset);
            if offset % 3 == 0 {
                chunk(&mut log, EVERYBODY, offset.saturating_sub(100));
            }
        }
        let (bytes, chunks) = read_all(&mut log, EVERYBODY, 0);
        assert!(chunks <= 2 * (bytes.len() / Limit::CHUNK.bytes + 1), "{chunks} chunks for {} bytes", bytes.len());
    }

    #[test]
    fn what_nobody_has_read_is_put_together_by_the_first_who_does() {
        let mut log = log(Retention::new().events(usize::MAX));
        (1..=MANY).for_each(|offset| append(&mut log, offset));
        let (bytes, _) = read_all(&mut log, EVERYBODY, 0);
        let (again, chunks) = read_all(&mut log, EVERYBODY, 0);
        assert!(chunks <= bytes.len() / Limit::CHUNK.bytes + 3, "{chunks} chunks for {} bytes", bytes.len());
        assert!(bytes == again);
    }

    /// Events of all sizes in both lanes, read and evicted in between, against a vector.
    #[test]
    fn a_log_reads_as_the_events_that_it_holds_one_after_the_other() {
        let sizes = [1, 1, 1, 1, 50, 50, 50, 300, 3_000, 9_000, 40_000];
        let (seeds, events) = if cfg!(miri) { (2_u64, 40) } else { (8, 300) };
        for seed in 1..=seeds {
            let mut log = log(Retention::new().events(if seed % 2 == 0 { 7 } else { 300 }).bytes(200_000));
            let lane = log.lane_for(&ClientId::from_static("ana"), 9).unwrap();
            log.enter(lane);
            let ana = View::of(Some(lane));
            let (mut random, mut held) = (seed, Vec::new());
            for offset in 1..events {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pick = |n: usize| usize::try_from(random >> 33).unwrap() % n;
                let to = if pick(5) == 0 { lane } else { BROADCAST };
                let event = event(offset, &"x".repeat(sizes[pick(sizes.len())]));
                held.push((to, event.clone()));
                let evicted = log.append(to, &event, None, Instant::now());
                if pick(3) == 0 {
                    log.keep(to, event);
                }
                held.drain(..usize::try_from(evicted).unwrap());
                assert_eq!(log.bytes, held.iter().map(|(_, event)| cost(event)).sum::<usize>());
                assert!(log.footprint().all >= log.bytes / 2 && log.footprint().all < 2 * log.bytes + 100_000);
                let (view, after) = ([EVERYBODY, ana][pick(2)], offset.saturating_sub(pick(60) as u64));
                let wanted = |(lane, event): &&(LaneId, Sealed)| {
                    (*lane == BROADCAST || view == ana) && event.offset() > Offset::new(after)
                };
                let expected: Vec<_> = held.iter().filter(wanted).map(|(_, event)| event).collect();
                let bytes = expected.iter().map(|event| &event.as_bytes()[..]).collect::<Vec<_>>().concat();
                assert!(read_all(&mut log, view, after).0 == bytes, "after {after} of {offset}");
                assert_eq!(log.first_after(view, Offset::new(after)), expected.first().map(|event| event.offset()));
                assert_eq!(log.count_after(view.client, Offset::new(after)), expected.len());
                let newest = log.newest(view, expected.len());
                assert!(newest.iter().rev().map(|e| e.as_bytes()).eq(expected.iter().map(|e| e.as_bytes())));
                let end = expected.get(pick(9)).map_or(Offset::new(u64::MAX), |event| event.offset());
                let seen =
                    held.iter().filter(|(lane, event)| (*lane == BROADCAST || view == ana) && event.offset() < end);
                let newest = log.newest_offsets_before(view, end, 7);
                assert!(seen.rev().take(7).map(|(_, event)| event.offset()).eq(newest));
                if expected.first().is_some_and(|first| first.offset() < end) {
                    let some = log.read_before(view, Offset::new(after), end, Limit::CHUNK).unwrap();
                    assert!(some.last() < end && bytes.starts_with(some.pieces().next().unwrap()));
                    let each = log.read_before(view, Offset::new(after), Offset::new(end.get()), Limit::RUN).unwrap();
                    let read = each.pieces().count();
                    assert!(each.pieces().eq(expected[..read].iter().map(|event| event.as_bytes())));
                    assert_eq!(each.last(), expected[read - 1].offset());
                    assert!(read == 1 || each.len() <= Limit::RUN.bytes);
                }
            }
            assert_eq!(log.bury().1.map_or(0, |remains| remains.events), held.len() as u64);
        }
    }

    #[test]
    fn ages_are_right_when_the_first_event_is_older_than_fits_beside_it() {
        let (began, days) = (Instant::now(), |n: u64| std::time::Duration::from_secs(86_400 * n));
        let mut log = Log::new(Retention::new().age(days(70)), Tombstone::default(), began);
        for (offset, day) in [(1, 0), (2, 1), (3, 55), (4, 56), (5, 60)] {
            // So large that each is in a run of its own, until they are read.
            log.append(BROADCAST, &event(offset, &"x".repeat(1_500)), None, began + days(day));
            if offset == 2 || offset == 5 {
                freeze(&mut log, offset - offset.min(3));
            }
        }
        assert_eq!(chunk(&mut log, EVERYBODY, 0).1, Offset::new(2), "the third does not fit beside the first");
        assert_eq!(chunk(&mut log, EVERYBODY, 2).1, Offset::new(5));
        for (day, held) in [(70, 5), (71, 4), (72, 3), (126, 2), (127, 1), (131, 0)] {
            log.enforce(began + days(day) - std::time::Duration::from_millis(1 - u64::from(day == 70)), SLICE);
            log.enforce(began + days(day), SLICE);
            assert_eq!(log.newest(EVERYBODY, 9).len(), held, "on day {day}");
        }
    }

    #[test]
    fn lanes_are_merged_by_offset_and_a_read_ends_where_it_is_told() {
        let mut log = Log::new(Retention::new(), Tombstone::default(), Instant::now());
        let lane = log.lane_for(&ClientId::from_static("ana"), 9).unwrap();
        let ana = View::of(Some(lane));
        for offset in 1..=10 {
            let lane = if offset % 2 == 0 { lane } else { BROADCAST };
            log.append(lane, &event(offset, "x"), None, Instant::now());
        }
        let offsets =
            |view: View<'_>| log.after(view.client, Offset::new(3)).map(|event| event.offset.get()).collect::<Vec<_>>();
        assert_eq!((offsets(ana), offsets(EVERYBODY)), (vec![4, 5, 6, 7, 8, 9, 10], vec![5, 7, 9]));
        let len = event(1, "x").as_bytes().len();
        let mut last = |after, end, events, bytes| {
            let limit = Limit { events, bytes, each: false };
            log.read_before(ana, Offset::new(after), Offset::new(end), limit).unwrap().last().get()
        };
        assert_eq!([last(1, 7, 99, 99 * len), last(1, 7, 1, 0), last(1, 3, 99, 99 * len)], [6, 2, 2]);
        for (events, bytes, expected) in [(2, 9 * len, 2), (9, 2 * len, 2), (9, 2 * len - 1, 1), (9, 5 * len, 5)] {
            assert_eq!(last(0, 11, events, bytes), expected);
        }
    }

    #[test]
    fn a_reader_of_two_lanes_shares_what_lies_in_one_piece_and_gets_the_rest_as_one_chunk() {
        let with_lane = || {
            let mut log = log(Retention::new());
            let lane = log.lane_for(&ClientId::from_static("ana"), 9).unwrap();
            (log, lane, View::of(Some(lane)))
        };
        for is_first in [true, false] {
            let (mut log, lane, ana) = with_lane();
            for offset in 1..=100 {
                let to = if (offset <= 50) == is_first { lane } else { BROADCAST };
                log.append(to, &event(offset, "x"), None, Instant::now());
            }
            (0..1_000).for_each(|_| drop(chunk(&mut log, ana, 0)));
            let (one, again) = (chunk(&mut log, ana, 0), chunk(&mut log, ana, 0));
            assert_eq!((one.0.as_ptr(), one.1), (again.0.as_ptr(), Offset::new(50)));
        }
        let (mut log, lane, ana) = with_lane();
        for offset in 1..=100 {
            log.append(if offset % 2 == 0 { lane } else { BROADCAST }, &event(offset, "x"), None, Instant::now());
        }
        let (bytes, last) = chunk(&mut log, ana, 50);
        assert_eq!(last, Offset::new(100), "though they lie in two places");
        let two =
            log.read(ana, Offset::new(50), Limit { events: 9, bytes: 2 * bytes.len() / 50, each: false }).unwrap();
        assert_eq!(two.last(), Offset::new(52));
    }
}
