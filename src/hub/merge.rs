//! Merges several channels of one reader by offset: finds the channel that has the next event.
//!
//! A heap holds the place of the first unread event of each channel, its *head*. The lowest head is the next event.
//! Reading it locks only its channel, and finds that channel's next head under the same lock. An event therefore costs
//! the logarithm of the number of channels, no matter how many of them have events.
//!
//! A *survey* finds new heads. It compares the version of each channel with the version seen last, which takes no
//! lock, and looks at the channels that have changed. A survey is due when every known event has been read: events
//! published since then may be in any channel, and only a look at all of them shows that nothing comes earlier. While
//! there are known events, surveys also find ends and losses that lie behind those events. They run as often as the
//! events read since the last survey pay for.
//!
//! If the logs live elsewhere, something may be missing at the end of one of them. The reader then waits for that log
//! before it reads on in the others, because its cursor would pass what is missing.

use std::{cmp::Reverse, collections::BinaryHeap, task::Context};

use super::{
    engine::Hub,
    position::{Found, Instead, Position, Taken},
    seam::{Elsewhere, Place},
};
use crate::{
    log::{Batch, Head, Limit, behind},
    wire::{
        cursor::{Cursor, Offset},
        notice::EndReason,
    },
};

/// The places of a reader in several channels.
pub(crate) struct Merge {
    places: Vec<Position>,
    /// The head of each place, or [`NONE`] if the place has no known unread event.
    heads: Vec<Head>,
    /// The heads, lowest first. An entry is void if it is no longer the head of its place.
    queue: BinaryHeap<Reverse<(Head, usize)>>,
    /// Every unread event up to this offset is at or behind a head.
    known: Offset,
    /// The offset beyond which a channel may have events that are not here yet, as of the last survey. The highest of all
    /// if nothing is known to be missing.
    limit: Offset,
    /// How many version comparisons the events read since the last survey pay for.
    credit: usize,
    /// What the last read left, if it found nothing.
    left: Left,
    /// The index of the place that was read last.
    last_read: usize,
    /// The reader's place among those that wait for the hub's last offset to rise.
    waits: Option<Box<Place>>,
}

/// What a read that finds nothing leaves.
#[derive(Clone, Copy)]
pub(crate) enum Left {
    /// Nothing is left. The reader is parked in all channels.
    Nothing,
    /// Events that the reader must not read yet, or a channel that it has to look at again.
    More,
    /// Channels whose logs are not the ones that the cursor belongs to.
    Another,
}

/// Marks a place without a head. No event has the offset at the start.
const NONE: Head = Head { offset: Offset::START, is_ephemeral: false };

/// Marks that nothing is known to be missing in any channel.
const NO_LIMIT: Offset = Offset::new(u64::MAX);

/// The number of versions compared per event while there is something to read, as an upper bound on the average.
const VERSIONS_PER_EVENT: usize = 16;

impl Merge {
    pub(crate) fn of(first: Position, second: Position) -> Self {
        Self {
            places: vec![first, second],
            heads: vec![NONE; 2],
            queue: BinaryHeap::new(),
            known: Offset::START,
            limit: NO_LIMIT,
            credit: 0,
            left: Left::More,
            last_read: 0,
            waits: None,
        }
    }

    pub(crate) fn add(&mut self, position: Position) {
        self.places.push(position);
        self.heads.push(NONE);
    }

    pub(crate) fn places(&self) -> &[Position] {
        &self.places
    }

    pub(crate) fn places_mut(&mut self) -> &mut [Position] {
        &mut self.places
    }

    /// Returns the place in the channel of the event that was read last.
    pub(crate) fn last_read(&self) -> &Position {
        &self.places[self.last_read]
    }

    /// Returns `true` if no event is known to be unread and no channel has changed since. The reader is then parked in
    /// all of them.
    pub(crate) fn is_level(&self) -> bool {
        self.heads.iter().all(|head| *head == NONE) && self.places.iter().all(Position::is_unchanged)
    }

    /// Returns what the last [read](Self::read) left, if it found nothing.
    pub(crate) fn left(&self) -> Left {
        self.left
    }

    /// Forgets the heads, because the events that come next do not follow the events that were read.
    pub(crate) fn begin_anew(&mut self) {
        self.queue = BinaryHeap::new();
        self.heads.fill(NONE);
        self.known = Offset::START;
        self.places.iter_mut().for_each(Position::begin_anew);
    }

    /// Waits until the hub's last offset reaches the lowest head and no channel lacks anything before it, with the reader
    /// parked in all channels. Returns `false` if there is nothing to wait for.
    pub(crate) fn wait(&mut self, elsewhere: &dyn Elsewhere, cx: &Context<'_>) -> bool {
        // The reader is already parked in the channels without a head.
        let behind = self.places.iter().zip(&self.heads).filter(|(_, head)| **head > NONE);
        behind.for_each(|(place, _)| place.park_anyway(cx));
        let head = self.head().map(|(head, _)| head.offset);
        // The reader is parked in the channel that sets the limit too, and is woken when what is missing arrives.
        head.is_some_and(|head| head > self.limit || elsewhere.wait_for(head, &mut self.waits, cx.waker()))
    }

    /// Gives the places back.
    pub(crate) fn leave(self, hub: &Hub) {
        self.into_places(hub).into_iter().for_each(|position| position.leave(hub));
    }

    /// Returns the single places.
    pub(crate) fn into_places(mut self, hub: &Hub) -> Vec<Position> {
        if let Some(elsewhere) = &hub.elsewhere {
            elsewhere.leave(&mut self.waits);
        }
        self.places
    }

    /// Returns what comes next after `cursor`, or `None` if there is nothing to read now. In that case the reader is
    /// parked in each channel that has no head.
    pub(crate) fn read(&mut self, hub: &Hub, cursor: Cursor, cx: &Context<'_>, limit: Limit) -> Option<Found> {
        self.left = Left::More;
        let is_known = self.head().is_some_and(|(head, _)| head.offset <= self.known);
        if is_known && self.credit < self.places.len() {
            match self.take(cursor, cx, limit) {
                // The known events are gone. The reader may have reached the end.
                Ok(None) => {}
                Ok(batch) => return batch.map(Found::Batch),
                Err(instead) => return self.instead(instead),
            }
        }
        match self.survey(hub, cursor, cx) {
            Ok(None) => {}
            Ok(Some(reason)) => return Some(Found::End(reason)),
            Err(instead) => return self.instead(instead),
        }
        match self.take(cursor, cx, limit) {
            Ok(batch) => batch.map(Found::Batch),
            Err(instead) => self.instead(instead),
        }
    }

    fn instead(&mut self, instead: Instead) -> Option<Found> {
        match instead {
            Instead::End(reason) => Some(Found::End(reason)),
            Instead::Lagged => Some(Found::Lagged),
            Instead::Another => {
                self.left = Left::Another;
                None
            }
        }
    }

    /// Looks at each channel that has changed. Returns why the reader ends, if it has read everything and nothing more
    /// will come.
    fn survey(&mut self, hub: &Hub, cursor: Cursor, cx: &Context<'_>) -> Result<Option<EndReason>, Instead> {
        // If this returns early, the next survey is due at once.
        self.credit = self.places.len();
        // Read this before any channel: what was published to a channel before a shutdown is then seen below.
        let shutting_down = hub.is_shutting_down();
        // A later look at a channel finds everything that was published to it up to this offset.
        let last = hub.memory.last();
        let (mut lagged, mut parked, mut limit) = (false, true, NO_LIMIT);
        for place in 0..self.places.len() {
            let position = &mut self.places[place];
            if position.is_unchanged() && !position.is_behind() && !shutting_down {
                continue;
            }
            match position.look(cursor, cx) {
                Ok(seen) => {
                    parked &= !position.has_to_look();
                    limit = limit.min(seen.limit.unwrap_or(NO_LIMIT));
                    self.set_head(place, seen.next);
                }
                // Continue, because an end on another channel takes precedence.
                Err(Instead::Lagged) => lagged = true,
                Err(instead) => return Err(instead),
            }
        }
        if lagged {
            return Err(Instead::Lagged);
        }
        (self.known, self.limit, self.credit) = (last.min(limit), limit, 0);
        if self.head().is_some() {
            return Ok(None);
        }
        // Usually only one or two channels have something new.
        self.queue.shrink_to(4);
        if parked {
            self.left = Left::Nothing;
        }
        Ok(match (self.places.iter().all(Position::was_finished), shutting_down) {
            (true, _) => Some(EndReason::Finished),
            (false, true) => Some(EndReason::Shutdown),
            (false, false) => None,
        })
    }

    /// Takes the next known events, as many as fit into `limit`.
    fn take(&mut self, mut cursor: Cursor, cx: &Context<'_>, limit: Limit) -> Result<Option<Batch>, Instead> {
        let mut chunk = Chunk::default();
        while let Some((place, head, end)) = self.next() {
            let left = Limit { bytes: limit.bytes.saturating_sub(chunk.len()), ..limit };
            self.credit += VERSIONS_PER_EVENT;
            let passed = self.places[place].passed();
            let taken = self.places[place].take(cursor, end, cx, left);
            // The first event may exceed the limit. Later events that do not fit wait, and so does anything that is
            // not an event.
            let fits =
                taken.as_ref().is_ok_and(|taken| taken.batch.as_ref().is_none_or(|batch| batch.len() <= left.bytes));
            if !fits && !chunk.is_empty() {
                // The cursor alone does not lead back to an ephemeral event, or to one behind events that exclude the reader.
                let events = taken.map_or(0, |taken| taken.batch.as_ref().map_or(0, Batch::count));
                self.places[place].go_back_to(passed, events);
                self.set_head(place, Some(head));
                break;
            }
            let Taken { batch, next, .. } = taken.inspect_err(|_| self.set_head(place, Some(head)))?;
            self.set_head(place, next);
            if let Some(batch) = batch {
                cursor.offset = batch.last();
                self.last_read = place;
                chunk.add(batch);
            }
            if limit.events == 1 && !chunk.is_empty() {
                break;
            }
        }
        Ok(chunk.into_batch())
    }

    /// Removes the place with the next event from the heap, if it is known which one that is. Returns the place, its
    /// head, and an offset before which no other place has an event.
    fn next(&mut self) -> Option<(usize, Head, Offset)> {
        let (head, place) = self.head().filter(|(head, _)| head.offset <= self.known)?;
        self.queue.pop();
        self.heads[place] = NONE;
        let other = self.head().map_or(Offset::new(u64::MAX), |(other, _)| other.end());
        // The head itself is before the end, even if another channel has an event at the same offset.
        Some((place, head, other.min(behind(self.known)).max(behind(head.offset))))
    }

    /// Returns the lowest head and its place.
    fn head(&mut self) -> Option<(Head, usize)> {
        while let Some(&Reverse((head, place))) = self.queue.peek() {
            if self.heads[place] == head {
                return Some((head, place));
            }
            self.queue.pop();
        }
        None
    }

    fn set_head(&mut self, place: usize, head: Option<Head>) {
        let head = head.unwrap_or(NONE);
        if std::mem::replace(&mut self.heads[place], head) != head && head > NONE {
            self.queue.push(Reverse((head, place)));
        }
    }
}

/// Batches of several channels, one after the other. A single batch is not copied.
#[derive(Default)]
struct Chunk {
    /// The first batch, as long as it is the only one.
    only: Option<Batch>,
    /// Copies of all batches, once there are several.
    bytes: Vec<u8>,
    /// The number of events in all batches.
    count: usize,
    last: Offset,
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.bytes.len() + self.only.as_ref().map_or(0, Batch::len)
    }

    fn add(&mut self, batch: Batch) {
        self.last = batch.last();
        self.count += batch.count();
        if self.is_empty() {
            self.only = Some(batch);
            return;
        }
        if let Some(first) = self.only.take() {
            first.pieces().for_each(|piece| self.bytes.extend_from_slice(piece));
        }
        batch.pieces().for_each(|piece| self.bytes.extend_from_slice(piece));
    }

    fn into_batch(self) -> Option<Batch> {
        let many = |bytes: Vec<u8>| Batch::Many { bytes: bytes.into(), count: self.count, last: self.last };
        self.only.or_else(|| (!self.bytes.is_empty()).then(|| many(self.bytes)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        pin::Pin,
        sync::Arc,
        task::{Poll, Waker},
    };

    use futures_core::Stream;
    use futures_util::FutureExt as _;

    use crate::{
        Delivery, Event, Grant, OpenOptions, Publisher, Start, Subscription,
        hub::state::work::{LOOKS, VERSIONS},
        wire::name::ChannelName,
    };

    use super::*;

    const CHANNELS: usize = 100;

    /// A reader and the waker of its task. Two clones of `Waker::noop()` may not know that they are equal.
    struct Reader(Subscription, Waker);

    impl Reader {
        fn open(publisher: &Publisher) -> Self {
            struct Asleep;
            impl std::task::Wake for Asleep {
                fn wake(self: Arc<Self>) {}
            }
            let (options, grant) = (OpenOptions::new().start(Start::Earliest), Grant::new((0..CHANNELS).map(name)));
            let reader = options.open(publisher, grant, None).now_or_never().unwrap().unwrap();
            Self(reader, Arc::new(Asleep).into())
        }

        fn next(&mut self) -> Option<String> {
            match Pin::new(&mut self.0).poll_next(&mut Context::from_waker(&self.1)) {
                Poll::Ready(Some(Delivery::Event(event))) => Some(event.data()),
                Poll::Pending => None,
                other => panic!("{other:?}"),
            }
        }

        /// Returns the number of events and bytes in the next chunk.
        fn chunk(&mut self) -> (usize, usize) {
            match self.0.poll_chunk(&mut Context::from_waker(&self.1)) {
                Poll::Ready(Some(bytes)) => (std::str::from_utf8(&bytes).unwrap().matches("\n\n").count(), bytes.len()),
                _ => (0, 0),
            }
        }
    }

    fn name(channel: usize) -> ChannelName {
        ChannelName::try_from(format!("channel-{channel}")).unwrap()
    }

    /// Publishes to the channels in turn.
    fn publish(publisher: &Publisher, events: std::ops::Range<usize>) {
        for n in events {
            let sent = publisher.channel(name(n * 37 % CHANNELS)).send(Event::text(n.to_string())).now_or_never();
            assert!(sent.unwrap().is_ok());
        }
    }

    /// Returns how many locks and versions `work` has read.
    fn count(work: impl FnOnce()) -> (usize, usize) {
        let so_far = || (LOOKS.get(), VERSIONS.get());
        let before = so_far();
        work();
        (so_far().0 - before.0, so_far().1 - before.1)
    }

    #[test]
    fn an_event_costs_the_same_however_many_other_channels_have_some() {
        let publisher = Publisher::new();
        publish(&publisher, 0..10_000);
        let mut reader = Reader::open(&publisher);
        let (looks, versions) = count(|| (0..10_000).for_each(|n| assert_eq!(reader.next(), Some(n.to_string()))));
        assert!(looks <= 10_000 + 2 * CHANNELS, "{looks} locks");
        assert!(versions <= 20 * 10_000, "{versions} versions");
    }

    #[test]
    fn a_live_event_costs_the_lock_of_its_channel() {
        // No time passes: otherwise a publish may also do upkeep of the other channels, at which the reader then has to look.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _in_it = runtime.enter();
        let publisher = Publisher::new();
        let mut reader = Reader::open(&publisher);
        assert_eq!(reader.next(), None);
        for n in 0..1_000 {
            publish(&publisher, n..n + 1);
            let (looks, versions) = count(|| assert_eq!(reader.next(), Some(n.to_string())));
            assert!(looks <= 2 && versions <= CHANNELS + 2, "{looks} locks and {versions} versions");
            let (looks, _) = count(|| assert_eq!(reader.next(), None));
            assert_eq!(looks, 0);
        }
    }

    #[test]
    fn a_chunk_costs_what_is_in_it_and_not_what_is_held() {
        let publisher = Publisher::new();
        publish(&publisher, 0..50_000);
        let mut reader = Reader::open(&publisher);
        let (mut read, mut first) = (0, true);
        while read < 50_000 {
            let (mut events, mut bytes) = (0, 0);
            let (looks, _) = count(|| (events, bytes) = reader.chunk());
            assert!(events > 0 && bytes <= Limit::CHUNK.bytes);
            let surveyed = if std::mem::take(&mut first) { CHANNELS } else { 0 };
            // What is taken last may not fit, and is given back.
            assert!(looks <= surveyed + events + 2, "{looks} locks for {events} events");
            read += events;
        }
        assert_eq!(read, 50_000);
    }

    #[test]
    fn a_large_event_is_a_chunk_of_its_own_and_small_ones_are_put_together() {
        let publisher = Publisher::new();
        let mut reader = Reader::open(&publisher);
        let large = "x".repeat(40_000);
        for (channel, text) in [(0, "a"), (1, "b"), (2, &large), (3, "c"), (3, "d"), (0, "e")] {
            assert!(publisher.channel(name(channel)).send(Event::text(text)).now_or_never().unwrap().is_ok());
        }
        assert_eq!([(); 4].map(|()| reader.chunk().0), [2, 1, 3, 0]);
    }
}
