//! The live position of a reader: it reads what comes after the cursor, reports what the reader missed, and ends.

mod access;
mod anew;
mod aside;
mod expiry;
mod life;
mod run;
mod start;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use tokio::task::coop::poll_proceed;

use super::{
    engine::Hub,
    life::{Ending, Life, Resumed},
    merge::Left,
    position::{Found, Position},
    positions::{Positions, go_on_before},
    seats::Seat,
};
use crate::{
    log::{Batch, Limit},
    trace::debug,
    wire::{
        cursor::{Cursor, Epoch, Offset},
        encode::write_retry,
        encoded::EncodedEvent,
        notice::{self, EndReason, Gap, GapReason},
    },
};

pub(crate) use self::run::{Run, Turn};
use self::{aside::Aside, expiry::Expiry};

/// What a [`Subscription`] yields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// An event.
    Event(EncodedEvent),
    /// Events before the next one may have been lost.
    Gap(Gap),
}

/// The live position of one reader on one or more channels: a [`Stream`] of the events published to them, in publish
/// order.
///
/// [`SseBody::from`](crate::SseBody) turns it into an HTTP body, so that any handler can answer with a stream. A
/// subscription holds a cursor and no events of its own, so a reader that is not polled costs only its place. If
/// events are evicted before the reader has read them, it gets a [`Gap`]. The stream ends when the subscription ends,
/// and [`end_reason`](Self::end_reason) returns why. Dropping the subscription frees its place at once.
///
/// Reading takes part in tokio's [cooperative scheduling](tokio::task::coop): a task that reads a long history in a
/// loop yields now and then.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use futures_util::StreamExt as _;
/// use tower_sse::{ChannelName, Delivery, Event, Grant, Publisher, Subscription};
///
/// let publisher = Publisher::new();
/// let grant = Grant::new([ChannelName::from_static("news")]);
/// let mut subscription = Subscription::open(&publisher, grant).await?;
/// publisher.channel("news").finish(Event::text("that was all")).await?;
///
/// while let Some(delivery) = subscription.next().await {
///     match delivery {
///         Delivery::Event(event) => println!("{}: {}", event.id(), event.data()),
///         Delivery::Gap(gap) => println!("reload: {:?}", gap.reason),
///         _ => {}
///     }
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Subscription {
    hub: Arc<Hub>,
    seat: Arc<Seat>,
    /// The reader's place in each channel. Empty once the subscription has ended.
    positions: Positions,
    /// Everything up to and including this offset was delivered, or was lost and reported to the reader.
    cursor: Offset,
    /// The epoch that the cursor belongs to.
    epoch: Epoch,
    /// `None` for most readers.
    aside: Option<Box<Aside>>,
    /// What the subscription found when it was opened.
    resumed: Resumed,
    /// The waker that is parked in the channels that have nothing to read.
    parked_as: Option<Waker>,
    end: Option<EndReason>,
}

impl Subscription {
    /// Returns the cursor: everything up to and including it was delivered, or was lost and reported to the reader.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, offset: self.cursor }
    }

    /// Returns what the subscription found when it was opened: whether the reader is new, resumes exactly, or has
    /// missed something. The value is known before the first poll and does not change.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ChannelName, GapReason, Grant, OpenOptions, Publisher, Resumed};
    ///
    /// let publisher = Publisher::new();
    /// let grant = Grant::new([ChannelName::from_static("news")]);
    /// let subscription = OpenOptions::new().open(&publisher, grant, Some(b"not-an-id-of-this-hub")).await?;
    /// assert_eq!(subscription.resumed(), Resumed::Gap(GapReason::UnknownId));
    /// # Ok::<_, tower_sse::OpenError>(())
    /// # }).unwrap();
    /// ```
    pub fn resumed(&self) -> Resumed {
        self.resumed
    }

    /// Returns why the subscription ended, or `None` if it has not ended.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.end
    }

    /// Returns the next bytes for the wire: one or more whole events, or the lines that end the stream.
    #[inline]
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        if let Some(gap) = self.take_gap() {
            return Poll::Ready(Some(gap.encode()));
        }
        Poll::Ready(match ready!(self.poll_found(cx, Limit::CHUNK)) {
            Found::Batch(batch) => Some(self.deliver(batch)),
            Found::Lagged => Some(self.lag().encode()),
            Found::Lost(place) => Some(self.begin_anew(place).encode()),
            Found::End(reason) => {
                self.end(reason);
                self.farewell(reason)
            }
        })
    }

    /// Returns `true` if the reader has read everything, nothing has arrived since, and the waker of `cx` is the one
    /// that is parked. Also returns `true` once the subscription has ended. Takes no lock.
    pub(crate) fn is_level(&self, cx: &Context<'_>) -> bool {
        self.untold_gap().is_none() && self.is_parked_as(cx.waker()) && self.positions.are_level()
    }

    /// Returns `true` if it is known without a lock that a poll with this waker would find nothing, and then does what the
    /// poll would do. This is never known for a reader of several channels, for one whose access ends or can be decided
    /// anew, and for one whose log is elsewhere.
    #[inline]
    pub(crate) fn rests(&mut self, waker: &Waker) -> bool {
        let rests = self.is_plain()
            && self.hub.elsewhere.is_none()
            && self.is_parked_as(waker)
            && self.untold_gap().is_none()
            && matches!(&self.positions, Positions::One(only) if only.is_unchanged());
        if rests {
            self.life().into_iter().for_each(Life::catches_up);
        }
        rests
    }

    /// Returns whether the reader has one channel, and access to it for good, as most readers do. A reader that has lost all
    /// channels but one is not plain, because its access can be decided anew.
    #[inline]
    fn is_plain(&self) -> bool {
        self.aside.as_ref().is_none_or(|aside| matches!(aside.expires, Expiry::Never))
            && matches!(self.positions, Positions::One(_))
    }

    /// Returns the gap that comes before anything else, if there is one.
    #[inline]
    pub(crate) fn untold_gap(&self) -> Option<&Gap> {
        self.aside.as_ref()?.gap.as_ref()
    }

    #[inline]
    fn take_gap(&mut self) -> Option<Gap> {
        self.untold_gap()?;
        self.change_aside(|aside| aside.gap.take())
    }

    /// Notes the waker with which the reader is polled from now on. Returns whether it is another one than before.
    #[inline]
    pub(crate) fn note_waker(&mut self, waker: &Waker) -> bool {
        if self.is_parked_as(waker) {
            return false;
        }
        self.parked_as = Some(waker.clone());
        // What is parked is the other one.
        self.positions.as_mut_slice().iter_mut().for_each(Position::look_again);
        true
    }

    #[inline]
    fn is_parked_as(&self, waker: &Waker) -> bool {
        self.parked_as.as_ref().is_some_and(|parked_as| parked_as.will_wake(waker))
    }

    #[inline]
    fn deliver(&mut self, batch: Batch) -> Bytes {
        self.cursor = batch.last();
        self.delivered(batch.count());
        match batch {
            Batch::One(event) => event.into_bytes(),
            Batch::Many { bytes, .. } => bytes,
            Batch::Each { .. } => unreachable!("one piece was asked for"),
        }
    }

    /// Moves the cursor right before the first held event after `after`, and returns the offset of that event. Marks
    /// what is missing as reported to the reader.
    fn skip_to_held(&mut self, after: Offset) -> Option<Offset> {
        // Read this first: an event that arrives in the meantime is held by the time the search below runs.
        let whole = self.positions.whole_up_to(self.hub());
        self.positions.tell_missed();
        let first = self.positions.first_after(after);
        self.cursor = go_on_before(first, whole).max(after);
        self.positions.tell_up_to(self.cursor);
        first
    }

    /// Moves on past the events that were lost.
    fn lag(&mut self) -> Gap {
        let first = self.skip_to_held(self.cursor);
        let Hub { counters, meter, .. } = &**self.hub();
        counters.gaps.add(1);
        counters.lagged.add(1);
        meter.gap(GapReason::Lagged);
        self.life().into_iter().for_each(Life::misses);
        self.in_span(|| debug!("a reader lagged", cursor = self.cursor));
        Gap::new(GapReason::Lagged, None, first, self.cursor())
    }

    fn end(&mut self, reason: EndReason) {
        self.end = Some(reason);
        self.seat.end(reason);
        self.leave();
    }

    /// Gives the places back.
    fn leave(&mut self) {
        self.positions.leave(&self.hub);
    }

    /// Returns the last bytes for a reader that ended for `reason`, if there is something to tell it.
    fn farewell(&self, reason: EndReason) -> Option<Bytes> {
        match reason {
            EndReason::Shutdown | EndReason::Reauthorize | EndReason::Expired => {
                let mut retry = Vec::new();
                write_retry(&mut retry, self.hub().reconnect_after());
                Some(retry.into())
            }
            // The hub will be gone by the time the reader reconnects, so it cannot answer with a 204.
            EndReason::Finished if self.hub().is_shutting_down() => Some(notice::completed(self.cursor())),
            _ => reason.goodbye(self.cursor()),
        }
    }

    #[inline]
    fn poll_found(&mut self, cx: &mut Context<'_>, limit: Limit) -> Poll<Found> {
        // This comes first because it may change when the subscription expires.
        let access = self.poll_access(cx);
        if self.poll_expiry(cx).is_ready() {
            return Poll::Ready(Found::End(EndReason::Expired));
        }
        // A subscription that ended on one of its channels ends on all of them, even if there are events left to read. A
        // plain one learns of its end when it reads its only channel.
        if !self.is_plain()
            && let Some(reason) = self.seat.ended()
        {
            return Poll::Ready(Found::End(reason));
        }
        if let Some(reason) = ready!(access) {
            return Poll::Ready(Found::End(reason));
        }
        // Takes part in tokio's cooperative scheduling, as tokio's own channels do, so that a reader that always finds
        // something still lets the other tasks of its thread run.
        let budget = ready!(poll_proceed(cx));
        self.note_waker(cx.waker());
        let found = self.poll_positions(cx, limit);
        if found.is_pending() {
            self.life().into_iter().for_each(Life::catches_up);
            // This comes after the reader has parked, so that the events it waits for wake it.
            self.hub().elsewhere.iter().for_each(|elsewhere| elsewhere.waits());
            if !self.is_plain() && self.seat.is_called() {
                // The call came after the check in `poll_access` and before the reader parked.
                cx.waker().wake_by_ref();
            }
        } else {
            budget.made_progress();
        }
        found
    }

    #[inline]
    fn poll_positions(&mut self, cx: &mut Context<'_>, limit: Limit) -> Poll<Found> {
        let cursor = self.cursor();
        match self.positions.as_mut_slice() {
            [only] => only.poll(cursor, cx, limit),
            _ => self.poll_many(cx, limit),
        }
    }

    /// Polls several channels. Reads again if an event arrived in one of them while the others were searched.
    fn poll_many(&mut self, cx: &mut Context<'_>, limit: Limit) -> Poll<Found> {
        let cursor = self.cursor();
        loop {
            let Positions::Several(several) = &mut self.positions else { return Poll::Pending };
            if let Some(found) = several.read(&self.hub, cursor, cx, limit) {
                return Poll::Ready(found);
            }
            match several.left() {
                Left::Nothing => return Poll::Pending,
                Left::Another => return self.poll_anew(cx),
                Left::More => {}
            }
            // The reader must not read events beyond the hub's last offset yet.
            if let Some(elsewhere) = &self.hub.elsewhere
                && several.wait(&**elsewhere, cx)
            {
                let found = several.read(&self.hub, cursor, cx, limit);
                // The last offset may never get that far. The reader gets the remaining events when it reconnects.
                let ended = || self.hub.is_shutting_down().then_some(Found::End(EndReason::Shutdown));
                return found.or_else(ended).map_or(Poll::Pending, Poll::Ready);
            }
        }
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        if let Some(gap) = self.take_gap() {
            return Poll::Ready(Some(Delivery::Gap(gap)));
        }
        match ready!(self.poll_found(cx, Limit::ONE)) {
            Found::Batch(Batch::One(event)) => {
                self.cursor = event.offset();
                self.delivered(1);
                self.sent(event.as_bytes().len());
                Poll::Ready(Some(Delivery::Event(self.positions.seen(event, self.epoch))))
            }
            Found::Lagged => Poll::Ready(Some(Delivery::Gap(self.lag()))),
            Found::Lost(place) => Poll::Ready(Some(Delivery::Gap(self.begin_anew(place)))),
            Found::End(reason) => {
                self.end(reason);
                Poll::Ready(None)
            }
            Found::Batch(Batch::Many { .. } | Batch::Each { .. }) => unreachable!("the limit was one event"),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.leave();
        self.close_life();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels: Vec<_> = self.positions.as_slice().iter().map(|position| &position.channel.name).collect();
        f.debug_struct("Subscription")
            .field("channels", &channels)
            .field("cursor", &self.cursor())
            .field("end", &self.end)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Waker,
    };

    use super::*;
    use crate::{Event, Grant, Publisher, hub::coverage::Coverage, log::Retention, wire::name::ChannelName};

    fn publish(publisher: &Publisher, text: &str) {
        let sent = pin_ready(publisher.channel("a").send(Event::text(text)));
        assert!(sent.is_ok());
    }

    fn pin_ready<T>(future: impl Future<Output = T>) -> T {
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("in process it is ready at once"),
        }
    }

    fn open(publisher: &Publisher) -> Subscription {
        pin_ready(Subscription::open(publisher, Grant::new([ChannelName::from_static("a")]))).unwrap()
    }

    fn chunk(subscription: &mut Subscription) -> Option<Bytes> {
        match subscription.poll_chunk(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(bytes) => bytes,
            Poll::Pending => Some(Bytes::new()),
        }
    }

    #[test]
    fn readers_that_are_behind_share_one_chunk_and_a_level_reader_takes_the_event_itself() {
        let publisher = Publisher::new();
        let mut readers: Vec<_> = (0..20).map(|_| open(&publisher)).collect();
        for n in 0..100 {
            publish(&publisher, &format!("{n}"));
        }
        // The first readers show that it pays to build the chunk in one piece.
        readers.drain(..5).for_each(|mut reader| while !chunk(&mut reader).unwrap().is_empty() {});
        let chunks: Vec<_> = readers.iter_mut().map(|reader| chunk(reader).unwrap()).collect();
        assert!(chunks.iter().all(|chunk| chunk.as_ptr() == chunks[0].as_ptr()));
        let text = std::str::from_utf8(&chunks[0]).unwrap();
        assert_eq!(text.matches("\n\n").count(), 100, "all of it in one chunk");
        assert!(readers.iter_mut().all(|reader| chunk(reader).unwrap().is_empty()));

        publish(&publisher, "one more");
        let events: Vec<_> = readers.iter_mut().map(|reader| chunk(reader).unwrap()).collect();
        assert!(events.iter().all(|event| event.as_ptr() == events[0].as_ptr()));
    }

    #[test]
    fn a_reader_whose_log_is_lost_again_before_it_goes_on_keeps_its_place() {
        let publisher = Publisher::new();
        let mut reader = open(&publisher);
        let former = Cursor { epoch: Epoch::from_bits(7), offset: Offset::new(4) };
        reader.start_at(former, true, None);
        let channel = reader.positions.as_slice()[0].channel.clone();
        let begin = |epoch, before| {
            let coverage = Coverage { loaded: true, before, ..Coverage::none(Epoch::from_bits(epoch)) };
            channel.change().cover(coverage);
        };
        begin(8, Some(Cursor { offset: Offset::new(6), ..former }));
        let found = reader.poll_found(&mut Context::from_waker(Waker::noop()), Limit::ONE);
        let Poll::Ready(Found::Lost(place)) = found else { panic!("its log is of another epoch") };
        begin(9, Some(Cursor { epoch: Epoch::from_bits(8), offset: Offset::new(9) }));
        assert_eq!(reader.begin_anew(place).cursor, Cursor { epoch: Epoch::from_bits(8), ..former });
    }

    #[test]
    fn a_stream_that_ends_says_so_in_its_last_bytes() {
        let publisher = Publisher::builder()
            .reconnect(std::time::Duration::from_secs(2), std::time::Duration::from_secs(4))
            .retention(Retention::new())
            .build();
        let mut reader = open(&publisher);
        assert_eq!(pin_ready(publisher.channel("a").close()).unwrap(), 1);
        let last = chunk(&mut reader).unwrap();
        let cursor = reader.cursor();
        let data = format!("{{\"last_event_id\":\"{cursor}\",\"reason\":\"closed\"}}");
        assert_eq!(last, format!("event: goodbye\ndata: {data}\nid: {cursor}-end\n\n"));
        assert_eq!(chunk(&mut reader), None);

        let mut reader = open(&publisher);
        publish(&publisher, "rest");
        pin_poll(publisher.shutdown(std::time::Duration::MAX));
        assert!(chunk(&mut reader).unwrap().starts_with(b"data: rest\n"));
        let retry = chunk(&mut reader).unwrap();
        let millis: u64 = std::str::from_utf8(&retry).unwrap()["retry: ".len()..].trim_end().parse().unwrap();
        assert!((2_000..=4_000).contains(&millis), "within the spread");
        assert_eq!(chunk(&mut reader), None);

        // No hub is left to tell a reader that reconnects that it already has everything.
        let publisher = Publisher::new();
        let mut reader = open(&publisher);
        assert!(pin_ready(publisher.channel("a").finish(Event::text("last"))).is_ok());
        pin_poll(publisher.shutdown(std::time::Duration::MAX));
        assert!(chunk(&mut reader).unwrap().starts_with(b"data: last\n"));
        let goodbye = String::from_utf8(chunk(&mut reader).unwrap().to_vec()).unwrap();
        assert!(goodbye.starts_with("event: goodbye\n") && goodbye.contains("\"reason\":\"finished\"}\n"), "{goodbye}");
        assert_eq!(chunk(&mut reader), None);
    }

    /// Returns a waker and a counter of its wake-ups.
    fn counting() -> (Waker, Arc<AtomicUsize>) {
        struct Count(Arc<AtomicUsize>);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::new(AtomicUsize::new(0));
        (Arc::new(Count(count.clone())).into(), count)
    }

    fn offset_of(polled: Poll<Option<Delivery>>) -> Option<u64> {
        match polled {
            Poll::Ready(Some(Delivery::Event(event))) => Some(event.offset().get()),
            Poll::Pending => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reader_that_takes_the_newest_event_is_woken_once_for_the_next() {
        for channels in [1, 2] {
            let publisher = Publisher::new();
            let names = ["a", "b"].into_iter().take(channels).map(ChannelName::from_static);
            let mut reader = pin_ready(Subscription::open(&publisher, Grant::new(names))).unwrap();
            let (waker, woken) = counting();
            let mut cx = Context::from_waker(&waker);
            let mut next = || offset_of(Pin::new(&mut reader).poll_next(&mut cx));
            assert_eq!(next(), None);
            publish(&publisher, "1");
            assert_eq!(woken.load(Ordering::SeqCst), 1);
            assert_eq!(next(), Some(1));
            (2..=4).for_each(|n| publish(&publisher, &n.to_string()));
            assert_eq!(woken.load(Ordering::SeqCst), 2, "it did not have to ask again, and the others find it woken");
            assert_eq!((next(), next()), (Some(2), Some(3)));
            publish(&publisher, "5");
            assert_eq!(woken.load(Ordering::SeqCst), 2, "there was more for it");
            assert_eq!((next(), next(), next(), next()), (Some(4), Some(5), None, None));
            publish(&publisher, "6");
            assert_eq!(woken.load(Ordering::SeqCst), 3);
        }
    }

    #[test]
    fn a_reader_that_has_read_everything_rests_until_something_changes() {
        let publisher = Publisher::new();
        let (waker, _) = counting();
        let mut cx = Context::from_waker(&waker);
        let mut reader = open(&publisher);
        assert!(!reader.rests(&waker), "it has not looked yet");
        publish(&publisher, "1");
        assert!(reader.poll_chunk(&mut cx).is_ready());
        assert!(reader.rests(&waker) && !reader.rests(Waker::noop()));
        publish(&publisher, "2");
        assert!(!reader.rests(&waker));
        assert!(reader.poll_chunk(&mut cx).is_ready() && reader.rests(&waker));
        assert_eq!(pin_ready(publisher.channel("a").close()).unwrap(), 1);
        assert!(!reader.rests(&waker));
        assert!(matches!(reader.poll_chunk(&mut cx), Poll::Ready(Some(_))) && !reader.rests(&waker));
        assert_eq!(reader.poll_chunk(&mut cx), Poll::Ready(None));

        let names = ["a", "b"].map(ChannelName::from_static);
        let mut of_two = pin_ready(Subscription::open(&publisher, Grant::new(names))).unwrap();
        assert!(of_two.poll_chunk(&mut cx).is_pending() && !of_two.rests(&waker));
    }

    #[test]
    fn the_task_that_polls_last_is_woken() {
        let publisher = Publisher::new();
        let mut reader = open(&publisher);
        let ([first, second], [of_first, of_second]) = {
            let (first, second) = (counting(), counting());
            ([first.0, second.0], [first.1, second.1])
        };
        let mut next = |waker: &Waker| offset_of(Pin::new(&mut reader).poll_next(&mut Context::from_waker(waker)));
        publish(&publisher, "1");
        assert_eq!((next(&first), next(&second)), (Some(1), None));
        publish(&publisher, "2");
        assert_eq!((of_first.load(Ordering::SeqCst), of_second.load(Ordering::SeqCst)), (0, 1));
        assert_eq!((next(&second), next(&first)), (Some(2), None));
        publish(&publisher, "3");
        assert_eq!((of_first.load(Ordering::SeqCst), of_second.load(Ordering::SeqCst)), (1, 1));
    }

    #[test]
    fn a_reader_that_takes_the_last_event_of_a_channel_need_not_be_woken_for_the_end() {
        let publisher = Publisher::new();
        let mut reader = open(&publisher);
        let (waker, woken) = counting();
        let mut next = || Pin::new(&mut reader).poll_next(&mut Context::from_waker(&waker));
        assert!(pin_ready(publisher.channel("a").finish(Event::text("bye"))).is_ok());
        assert_eq!(offset_of(next()), Some(1));
        assert!(matches!(next(), Poll::Ready(None)));
        assert_eq!(woken.load(Ordering::SeqCst), 0);

        let mut reader =
            pin_ready(Subscription::open(&publisher, Grant::new([ChannelName::from_static("b")]))).unwrap();
        assert!(pin_ready(publisher.channel("b").send(Event::text("1"))).is_ok());
        let mut next = || Pin::new(&mut reader).poll_next(&mut Context::from_waker(&waker));
        assert_eq!(offset_of(next()), Some(2));
        pin_ready(publisher.channel("b").close()).unwrap();
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(matches!(next(), Poll::Ready(None)));
    }

    /// Polls once, within a runtime that has a timer.
    fn pin_poll(future: impl Future) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut future = std::pin::pin!(future);
        runtime.block_on(std::future::poll_fn(|cx| {
            let _ = future.as_mut().poll(cx);
            Poll::Ready(())
        }));
    }
}

#[cfg(all(test, loom))]
#[path = "subscription/loom_tests.rs"]
mod loom_tests;
