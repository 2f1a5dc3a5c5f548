//! Reading a log: what is after a cursor, for one reader, in publish order.

use bytes::Bytes;

use super::{LaneId, Log};
use crate::{cursor::Offset, encode::EncodedEvent};

/// What a reader sees of a log: the broadcasts, and the lane of its client if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) client: Option<LaneId>,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl Limit {
    /// One event.
    pub(crate) const ONE: Limit = Limit { events: 1, bytes: 0 };
    /// One body chunk. hyper sends at most 16 buffers in one `writev`, so that what a reader missed goes as one buffer;
    /// more than this would only wait in hyper's.
    pub(crate) const CHUNK: Limit = Limit { events: usize::MAX, bytes: 32 << 10 };
}

impl Limit {
    /// The events from the front that are within the limit: one at least.
    pub(crate) fn cut<'a>(&self, events: &'a [EncodedEvent]) -> &'a [EncodedEvent] {
        let mut bytes = 0;
        let within = |event: &&EncodedEvent| {
            bytes += event.as_bytes().len();
            bytes <= self.bytes
        };
        let fit = events.iter().take(self.events).take_while(within).count();
        &events[..fit.max(1).min(events.len())]
    }
}

/// What a reader gets in one read.
pub(crate) enum Batch {
    /// One event, shared with the log and with every other reader.
    One(EncodedEvent),
    /// Several, one after the other, up to and with the offset `last`.
    Many { bytes: Bytes, last: Offset },
}

impl Batch {
    /// Puts `events` together; `None` if there are none.
    pub(crate) fn of(events: &[EncodedEvent]) -> Option<Batch> {
        let (last, rest) = events.split_last()?;
        if rest.is_empty() {
            return Some(Batch::One(last.clone()));
        }
        let mut bytes = Vec::with_capacity(events.iter().map(|event| event.as_bytes().len()).sum());
        for event in events {
            bytes.extend_from_slice(event.as_bytes());
        }
        Some(Batch::Many { bytes: bytes.into(), last: last.offset() })
    }

    pub(crate) fn last(&self) -> Offset {
        match self {
            Batch::One(event) => event.offset(),
            Batch::Many { last, .. } => *last,
        }
    }
}

/// Chunks that were put together lately, so that the readers that are behind by the same events share one copy.
///
/// Only chunks of broadcasts are kept, and only while some reader of the channel is behind.
#[derive(Default)]
pub(super) struct Chunks(Vec<Chunk>);

struct Chunk {
    after: Offset,
    /// The first event's offset.
    first: Offset,
    last: Offset,
    bytes: Bytes,
}

impl Chunks {
    /// A replay of a few chunks by many readers at slightly different paces finds each of them.
    const MAX: usize = 4;

    /// The chunk after `after`, if all of it is still held.
    fn get(&self, after: Offset, evicted: Offset) -> Option<Batch> {
        let chunk = self.0.iter().find(|chunk| chunk.after == after && chunk.first > evicted)?;
        Some(Batch::Many { bytes: chunk.bytes.clone(), last: chunk.last })
    }

    fn put(&mut self, chunk: Chunk) {
        self.0.retain(|other| other.after != chunk.after);
        if self.0.len() == Self::MAX {
            self.0.remove(0);
        }
        self.0.push(chunk);
    }
}

impl Log {
    /// What is held after `after` in `view`, oldest first: both lanes, merged by offset.
    pub(crate) fn after(&self, view: View, after: Offset) -> impl Iterator<Item = &EncodedEvent> {
        let mut broadcasts = self.broadcast.after(after).peekable();
        let mut targeted = view.client.map(|lane| self.lane(lane).after(after)).into_iter().flatten().peekable();
        std::iter::from_fn(move || match (broadcasts.peek(), targeted.peek()) {
            (Some(broadcast), Some(own)) if own.offset() < broadcast.offset() => targeted.next(),
            (None, _) => targeted.next(),
            _ => broadcasts.next(),
        })
    }

    /// The next batch after `after`. `shared`: other readers may want the same one.
    pub(crate) fn read(&mut self, view: View, after: Offset, limit: Limit, shared: bool) -> Option<Batch> {
        let shareable =
            shared && limit.events > 1 && view.client.is_none_or(|lane| self.lane(lane).after(after).next().is_none());
        if shareable && let Some(batch) = self.chunks.get(after, self.broadcast.evicted()) {
            return Some(batch);
        }
        let mut events = self.after(view, after);
        let first = events.next()?;
        let (mut count, mut len) = (1, first.as_bytes().len());
        for event in events.take(limit.events - 1) {
            if len + event.as_bytes().len() > limit.bytes {
                break;
            }
            count += 1;
            len += event.as_bytes().len();
        }
        if count == 1 {
            // The common case of a level reader: nothing to copy.
            return Some(Batch::One(first.clone()));
        }
        let mut chunk = Chunk { after, first: first.offset(), last: first.offset(), bytes: Bytes::new() };
        let mut bytes = Vec::with_capacity(len);
        for event in self.after(view, after).take(count) {
            bytes.extend_from_slice(event.as_bytes());
            chunk.last = event.offset();
        }
        chunk.bytes = bytes.into();
        let batch = Batch::Many { bytes: chunk.bytes.clone(), last: chunk.last };
        if shareable {
            self.chunks.put(chunk);
        }
        Some(batch)
    }

    /// Lets go of the shared chunks: every reader is level or gone, or they are kept for too long.
    pub(crate) fn drop_chunks(&mut self) {
        if !self.chunks.0.is_empty() {
            self.chunks = Chunks::default();
        }
    }

    #[cfg(test)]
    pub(crate) fn holds_chunks(&self) -> bool {
        !self.chunks.0.is_empty()
    }

    /// The events after `after` and up to `upto`, within `limit`; and whether there are more of them.
    pub(crate) fn gather(&self, view: View, after: Offset, upto: Offset, limit: Limit) -> (Vec<EncodedEvent>, bool) {
        let (mut several, mut bytes) = (Vec::new(), 0);
        for event in self.after(view, after).take_while(|event| event.offset() <= upto) {
            bytes += event.as_bytes().len();
            if several.len() == limit.events || (bytes > limit.bytes && !several.is_empty()) {
                return (several, true);
            }
            several.push(event.clone());
        }
        (several, false)
    }

    /// The newest `n` events in `view`, newest first.
    pub(crate) fn newest(&self, view: View, n: usize) -> Vec<EncodedEvent> {
        let broadcasts = self.broadcast.newest().take(n);
        let targeted = view.client.map(|lane| self.lane(lane).newest().take(n)).into_iter().flatten();
        let mut newest: Vec<_> = broadcasts.chain(targeted).cloned().collect();
        newest.sort_unstable_by_key(|event| std::cmp::Reverse(event.offset()));
        newest.truncate(n);
        newest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{super::*, *};
    use crate::{
        cursor::{Cursor, Epoch},
        encode::Draft,
        event::Event,
    };

    const EVERYBODY: View = View { client: None };

    fn append(log: &mut Log, offset: u64) {
        let cursor = Cursor { epoch: Epoch::from_bits(1), offset: Offset::new(offset) };
        let (event, custom) = Draft::new(Event::text("x"), cursor.offset).seal(cursor);
        log.append(BROADCAST, event, custom, Instant::now());
    }

    fn chunk(log: &mut Log, view: View, after: u64) -> (Bytes, Offset) {
        match log.read(view, Offset::new(after), Limit::CHUNK, true) {
            Some(Batch::Many { bytes, last }) => (bytes, last),
            Some(Batch::One(event)) => (event.as_bytes().clone(), event.offset()),
            None => panic!("nothing to read"),
        }
    }

    #[test]
    fn readers_that_are_behind_by_the_same_events_share_a_chunk() {
        let mut log = Log::new(Retention::new(), Tombstone::default(), Instant::now());
        (1..=5).for_each(|offset| append(&mut log, offset));
        let ana = View { client: log.lane_for(&ClientId::from_static("ana"), 9).ok() };
        let (first, last) = chunk(&mut log, EVERYBODY, 2);
        assert_eq!(last, Offset::new(5));
        assert_eq!(chunk(&mut log, EVERYBODY, 2).0.as_ptr(), first.as_ptr());
        assert_eq!(chunk(&mut log, ana, 2).0.as_ptr(), first.as_ptr());
        log.drop_chunks();
        assert!(log.chunks.0.is_empty());
    }

    #[test]
    fn a_chunk_is_no_larger_than_its_limit() {
        let mut log = Log::new(Retention::new().events(usize::MAX), Tombstone::default(), Instant::now());
        (1..=5_000).for_each(|offset| append(&mut log, offset));
        let (mut after, mut chunks) = (0, 0);
        while after < 5_000 {
            let (bytes, last) = chunk(&mut log, EVERYBODY, after);
            assert!(bytes.len() <= Limit::CHUNK.bytes && last.get() > after);
            (after, chunks) = (last.get(), chunks + 1);
        }
        assert!(chunks < 10 && log.chunks.0.len() <= Chunks::MAX);
    }

    #[test]
    fn a_chunk_of_events_that_were_evicted_since_is_not_read() {
        let mut log = Log::new(Retention::new().events(3), Tombstone::default(), Instant::now());
        (1..=3).for_each(|offset| append(&mut log, offset));
        chunk(&mut log, EVERYBODY, 0);
        append(&mut log, 4);
        let (bytes, last) = chunk(&mut log, EVERYBODY, 0);
        assert_eq!(last, Offset::new(4));
        assert!(!bytes.windows(6).any(|window| window == b"0001-1"), "the first is gone");
    }

    #[test]
    fn lanes_are_merged_by_offset_and_a_gather_ends_where_it_is_told() {
        let mut log = Log::new(Retention::new(), Tombstone::default(), Instant::now());
        let lane = log.lane_for(&ClientId::from_static("ana"), 9).unwrap();
        let ana = View { client: Some(lane) };
        for offset in 1..=9 {
            let cursor = Cursor { epoch: Epoch::from_bits(1), offset: Offset::new(offset) };
            let lane = if offset % 2 == 0 { lane } else { BROADCAST };
            let (event, custom) = Draft::new(Event::text("x"), cursor.offset).seal(cursor);
            log.append(lane, event, custom, Instant::now());
        }
        let offsets = |view| log.after(view, Offset::new(3)).map(|event| event.offset().get()).collect::<Vec<_>>();
        assert_eq!((offsets(ana), offsets(EVERYBODY)), (vec![4, 5, 6, 7, 8, 9], vec![5, 7, 9]));
        let (some, more) = log.gather(ana, Offset::new(1), Offset::new(6), Limit::CHUNK);
        assert_eq!((some.len(), more), (5, false));
        let (some, more) = log.gather(ana, Offset::new(1), Offset::new(6), Limit::ONE);
        assert_eq!((some.len(), more), (1, true));
    }
}
