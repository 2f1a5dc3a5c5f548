//! A reader's live position: reading what is after its cursor, telling it what it missed, ending it.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    hub::{Hub, Permit},
    position::{Position, Positions, go_on_before},
};
use crate::{
    cursor::{Cursor, Offset},
    encode::{EncodedEvent, write_retry},
    log::{Batch, Limit},
    notice::{EndReason, Gap, GapReason},
    trace::debug,
};

/// What a [`Subscription`] yields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// An event.
    Event(EncodedEvent),
    /// Events before the next one may be lost.
    Gap(Gap),
}

/// One reader's live position on one or more channels: a [`Stream`] of what is published to them, in publish order.
///
/// It becomes an HTTP body with [`SseBody::from`](crate::SseBody), so that any handler can answer with a stream. It holds
/// a cursor, and no events of its own: a reader that is not polled costs nothing but its place. When events are evicted
/// before it read them, it gets a [`Gap`]. The stream ends when the subscription does, and
/// [`end_reason`](Self::end_reason) says why; dropped, it frees its place at once.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use futures_util::StreamExt as _;
/// use tower_sse::{ChannelName, Delivery, Event, Grant, Publisher, Subscription};
///
/// let publisher = Publisher::new();
/// let grant = Grant::new([ChannelName::from_static("news")]);
/// let mut subscription = Subscription::open(&publisher, grant)?;
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
    permit: Permit,
    /// Its place in each channel; none once it has ended.
    positions: Positions,
    /// Everything up to here was delivered, or is lost and was told.
    cursor: Offset,
    /// A gap to deliver before anything else.
    gap: Option<Box<Gap>>,
    expires: Option<Expiry>,
    /// On several channels: as whom it is parked in those that are level.
    parked_as: Option<Waker>,
    end: Option<EndReason>,
    /// The last bytes, on their way after the end was reached.
    farewell: Option<Bytes>,
}

/// The end of a grant. The timer is made at the first poll: where a subscription is opened there may be no runtime.
struct Expiry {
    at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Expiry {
    fn new(at: Instant) -> Self {
        Self { at, timer: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(self.at))).as_mut().poll(cx)
    }
}

/// What one look at the channels gave.
enum Found {
    Batch(Batch),
    /// Events after the cursor are gone.
    Lagged,
    End(EndReason),
}

impl Subscription {
    /// Where it stands: everything up to and with this was delivered, or is lost and was told.
    pub fn cursor(&self) -> Cursor {
        self.hub().cursor(self.cursor)
    }

    /// Why it ended, once it has.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.end
    }

    /// The next bytes for the wire: one or several whole events, or the lines that end the stream.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end.is_none() {
            if let Some(gap) = self.gap.take() {
                return Poll::Ready(Some(gap.encode()));
            }
            match ready!(self.poll_found(cx, Limit::CHUNK)) {
                Found::Batch(batch) => return Poll::Ready(Some(self.deliver(batch))),
                Found::Lagged => return Poll::Ready(Some(self.lag().encode())),
                Found::End(reason) => self.end(reason),
            }
        }
        Poll::Ready(self.farewell.take())
    }

    fn deliver(&mut self, batch: Batch) -> Bytes {
        self.cursor = batch.last();
        match batch {
            Batch::One(event) => event.as_bytes().clone(),
            Batch::Many { bytes, .. } => bytes,
        }
    }

    /// Goes on after what was lost.
    fn lag(&mut self) -> Gap {
        // Asked first: whoever locks a channel from here on finds all that was published to it up to this.
        let last = self.hub().memory.last();
        self.positions.tell_missed();
        let first = self.positions.first_after(self.cursor);
        self.cursor = go_on_before(first, last).max(self.cursor);
        let counters = &self.hub().counters;
        counters.gaps.add(1);
        counters.lagged.add(1);
        debug!("a reader lagged", cursor = self.cursor);
        Gap::new(GapReason::Lagged, None, first, self.cursor())
    }

    fn end(&mut self, reason: EndReason) {
        self.farewell = match reason {
            EndReason::Shutdown => {
                let mut retry = Vec::new();
                write_retry(&mut retry, self.hub().reconnect_after());
                Some(retry.into())
            }
            _ => reason.goodbye(self.cursor()),
        };
        self.end = Some(reason);
        self.positions.leave(&self.permit.0);
    }

    fn poll_found(&mut self, cx: &mut Context<'_>, limit: Limit) -> Poll<Found> {
        if let Some(expires) = &mut self.expires
            && expires.poll(cx).is_ready()
        {
            return Poll::Ready(Found::End(EndReason::Expired));
        }
        match self.positions.as_slice() {
            [only] => self.poll_one(only, cx, limit),
            _ => self.poll_many(cx, limit),
        }
    }

    /// On one channel: one lock, under which there is something, or it parks.
    fn poll_one(&self, position: &Position, cx: &mut Context<'_>, limit: Limit) -> Poll<Found> {
        let mut replaced = None;
        let mut state = position.channel.look();
        let found = position.ended_at_once(&state).map(Found::End).or_else(|| {
            if position.has_lagged(&state, self.cursor) {
                return Some(Found::Lagged);
            }
            let batch = state.log.read(position.view, self.cursor, limit).map(Found::Batch);
            batch.or_else(|| position.ended(&state).map(Found::End))
        });
        if found.is_none() {
            replaced = position.park(&mut state, cx);
        }
        drop(state);
        drop(replaced);
        found.map_or(Poll::Pending, Poll::Ready)
    }

    /// On several channels: each is read up to the same offset, and merged. If there is nothing up to it, it parks in each,
    /// and starts over if there is something in one by then.
    fn poll_many(&mut self, cx: &mut Context<'_>, limit: Limit) -> Poll<Found> {
        if !self.parked_as.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.parked_as = Some(cx.waker().clone());
            self.positions.as_mut_slice().iter_mut().for_each(Position::look_again);
        }
        loop {
            if let Some(found) = self.read_many(limit) {
                return Poll::Ready(found);
            }
            let cursor = self.cursor;
            let mut positions = self.positions.as_mut_slice().iter_mut();
            if positions.all(|position| position.is_level() || position.park_if_level(cursor, cx)) {
                return Poll::Pending;
            }
        }
    }

    fn read_many(&self, limit: Limit) -> Option<Found> {
        // Asked before any channel is: what was published to one of them before a shutdown is seen below then.
        let shutting_down = self.hub().is_shutting_down();
        // Whoever looks at a channel from here on finds all that was published to it up to this.
        let last = self.hub().memory.last();
        let (mut lagged, mut level, mut finished) = (false, true, true);
        let (mut events, mut upto) = (Vec::new(), last);
        for position in self.positions.as_slice() {
            if !shutting_down && position.is_level() {
                finished &= position.was_finished();
                continue;
            }
            let mut state = position.channel.look();
            if let Some(reason) = position.ended_at_once(&state) {
                return Some(Found::End(reason));
            }
            lagged |= position.has_lagged(&state, self.cursor);
            level &= position.first_after(&state, self.cursor).is_none();
            finished &= state.log.is_finished();
            let (some, more) = state.log.gather(position.view, self.cursor, upto, limit);
            if more && let Some(last) = some.last() {
                upto = upto.min(last.offset());
            }
            drop(state);
            events.extend(some);
            events.retain(|event: &EncodedEvent| event.offset() <= upto);
            events.sort_by_key(EncodedEvent::offset);
            let fit = limit.cut(&events).len();
            if fit < events.len() {
                events.truncate(fit);
                upto = events[fit - 1].offset();
            }
        }
        if lagged {
            return Some(Found::Lagged);
        }
        if let Some(batch) = Batch::of(&events) {
            return Some(Found::Batch(batch));
        }
        match (finished, shutting_down) {
            // Published after `last` was asked.
            _ if !level => None,
            (true, _) => Some(Found::End(EndReason::Finished)),
            (false, true) => Some(Found::End(EndReason::Shutdown)),
            (false, false) => None,
        }
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.permit.0
    }
}

/// For `open`.
impl Subscription {
    /// A reader without a place yet. What it is given, it gives back when it is dropped.
    pub(super) fn new(permit: Permit, expires: Option<Instant>, channels: usize) -> Self {
        Self {
            permit,
            positions: Positions::with_capacity(channels),
            cursor: Offset::START,
            gap: None,
            expires: expires.map(Expiry::new),
            parked_as: None,
            end: None,
            farewell: None,
        }
    }

    pub(super) fn positions(&mut self) -> &mut Positions {
        &mut self.positions
    }

    pub(super) fn start_at(&mut self, cursor: Offset, gap: Option<Gap>) {
        (self.cursor, self.gap) = (cursor, gap.map(Box::new));
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        if let Some(gap) = self.gap.take() {
            return Poll::Ready(Some(Delivery::Gap(*gap)));
        }
        match ready!(self.poll_found(cx, Limit::ONE)) {
            Found::Batch(Batch::One(event)) => {
                self.cursor = event.offset();
                Poll::Ready(Some(Delivery::Event(event)))
            }
            Found::Lagged => Poll::Ready(Some(Delivery::Gap(self.lag()))),
            Found::End(reason) => {
                self.end(reason);
                Poll::Ready(None)
            }
            Found::Batch(Batch::Many { .. }) => unreachable!("the limit was one event"),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.positions.leave(&self.permit.0);
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
    use std::task::Waker;

    use super::*;
    use crate::{Event, Grant, Publisher, log::Retention, name::ChannelName};

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
        Subscription::open(publisher, Grant::new([ChannelName::from_static("a")])).unwrap()
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
        // The first ones show that it is worth it to have it in one piece.
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
    fn a_stream_that_ends_says_so_in_its_last_bytes() {
        let publisher = Publisher::builder()
            .reconnect(std::time::Duration::from_secs(2), std::time::Duration::from_secs(4))
            .retention(Retention::new())
            .build();
        let mut reader = open(&publisher);
        assert_eq!(publisher.channel("a").close(), 1);
        let last = chunk(&mut reader).unwrap();
        let cursor = reader.cursor();
        let goodbye = format!("event: goodbye\ndata: {{\"reason\":\"closed\"}}\nid: {cursor}-end\n\n");
        assert_eq!(last, goodbye);
        assert_eq!(chunk(&mut reader), None);

        let mut reader = open(&publisher);
        publish(&publisher, "rest");
        pin_poll(publisher.shutdown(std::time::Duration::MAX));
        assert!(chunk(&mut reader).unwrap().starts_with(b"data: rest\n"));
        let retry = chunk(&mut reader).unwrap();
        let millis: u64 = std::str::from_utf8(&retry).unwrap()["retry: ".len()..].trim_end().parse().unwrap();
        assert!((2_000..=4_000).contains(&millis), "within the spread");
        assert_eq!(chunk(&mut reader), None);
    }

    /// Polls once, within a runtime that has time.
    fn pin_poll(future: impl Future) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut future = std::pin::pin!(future);
        runtime.block_on(std::future::poll_fn(|cx| {
            let _ = future.as_mut().poll(cx);
            Poll::Ready(())
        }));
    }
}
