//! What a reader is sent, in order: the preamble, then the subscription's events, and a keep-alive when it is idle.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;

use super::{
    close::Close,
    coalesce::Coalesce,
    greeting::Greeting,
    idle::{Idle, Interval},
    keep_alive::{KeepAlive, Pulse},
    preamble::Preamble,
    shape::{Next, Over, Shape},
};
use crate::{
    error::BoxError,
    hub::{Ending, Subscription},
    wire::notice::Gap,
};

#[derive(Debug)]
pub(crate) struct EventStream {
    subscription: Subscription,
    /// Boxed, because most streams send what they read at once and as it is, until there is no more.
    special: Option<Box<Special>>,
    /// What is sent while the stream is idle, and how often.
    pulse: Pulse,
    idle: Idle,
}

/// What only some streams have, and each before its first bytes.
#[derive(Debug, Default)]
struct Special {
    /// `None` once it was sent.
    preamble: Option<Preamble>,
    coalesce: Option<Coalesce>,
    // Boxed, because it is large, and not needed to coalesce.
    shape: Option<Box<Shape>>,
    close: Option<Close>,
    /// How the stream ends at the next poll.
    over: Option<Over>,
    /// The server has had the time to send what came before the stream breaks off.
    flushed: bool,
}

/// Some bytes, or the error with which the stream breaks off.
type Chunk = Result<Bytes, BoxError>;

impl EventStream {
    pub(crate) fn new(subscription: Subscription) -> Self {
        let special = Special { preamble: Some(Preamble::default()), ..Special::default() };
        Self { subscription, special: Some(Box::new(special)), pulse: Pulse::default(), idle: Idle::new() }
    }

    /// Changes what the first bytes say. It has no effect once they were sent.
    pub(crate) fn set_preamble(&mut self, change: impl FnOnce(&mut Preamble)) {
        self.special.as_mut().and_then(|special| special.preamble.as_mut()).map(change);
    }

    pub(crate) fn set_keep_alive(&mut self, keep_alive: KeepAlive) {
        self.pulse = keep_alive.into_pulse();
    }

    pub(crate) fn set_coalesce(&mut self, pause: Duration) {
        self.special.get_or_insert_default().coalesce = Coalesce::new(pause);
    }

    pub(crate) fn set_shape(&mut self, change: impl FnOnce(&mut Shape)) {
        let special = self.special.get_or_insert_default();
        change(special.shape.get_or_insert_default());
    }

    pub(crate) fn set_close(&mut self, after: Duration) {
        self.special.get_or_insert_default().close = Some(Close::new(after));
    }

    /// The gap with which the stream would break off before its first event.
    pub(crate) fn fatal_gap(&self) -> Option<&Gap> {
        let shape = self.special.as_ref()?.shape.as_ref()?;
        self.subscription.untold_gap().filter(|_| shape.is_strict())
    }

    /// Notes how the stream ends before it begins.
    pub(crate) fn end(&mut self, ending: Ending) {
        self.subscription.ends(ending);
    }

    /// Whether some of what the subscription reads is left out.
    #[cfg(feature = "runs")]
    pub(crate) fn is_filtered(&self) -> bool {
        self.special.as_deref().and_then(|special| special.shape.as_deref()).is_some_and(Shape::is_filtered)
    }

    /// What the stream says about itself before it begins. An answer that does not last may end before it is complete.
    pub(crate) fn greeting(&self) -> Greeting {
        let special = self.special.as_deref();
        let strict = special.and_then(|special| special.shape.as_deref()).is_some_and(Shape::is_strict);
        let lasts = special.is_none_or(|special| special.close.is_none());
        Greeting { keep_alive: self.pulse.interval().map(Interval::duration), strict: strict && lasts }
    }

    /// Returns the next bytes. `None` or an error is the end, after which the stream is not polled again.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        match self.special.as_mut().and_then(|special| special.preamble.take()) {
            Some(preamble) => Poll::Ready(Some(Ok(self.begin(&preamble, cx)))),
            None => self.poll_delivery(cx),
        }
    }

    /// Returns the first bytes.
    fn begin(&mut self, preamble: &Preamble, cx: &mut Context<'_>) -> Bytes {
        let Next { bytes, over } = first(&mut self.subscription, preamble, self.special.as_deref_mut(), cx);
        if let Some(special) = &mut self.special {
            special.end(over, &mut self.subscription);
            special.close.iter_mut().for_each(Close::begin);
        }
        self.subscription.sent(bytes.len());
        // The preamble was all that most streams have.
        self.special.take_if(|special| special.is_plain());
        bytes
    }

    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let Some(special) = &mut self.special else { return self.poll_plain(cx) };
        if special.over.is_some() {
            return special.poll_over(cx);
        }
        if self.subscription.note_waker(cx.waker()) {
            self.idle.moved();
        }
        match special.poll_next(&mut self.subscription, cx) {
            Poll::Ready(next) => {
                self.idle.sent();
                self.subscription.sent(next.bytes.len());
                special.poll_sent(next, &mut self.subscription, cx)
            }
            Poll::Pending if special.is_due(cx) => {
                self.subscription.ends(Ending::Elapsed);
                Poll::Ready(None)
            }
            // The subscription, the coalescer and the end's timer have registered the waker.
            Poll::Pending => self.poll_idle(cx),
        }
    }

    /// Returns what the subscription reads, unchanged.
    #[inline]
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        // A server polls once more after each delivery.
        if self.subscription.rests(cx.waker()) {
            return self.poll_idle(cx);
        }
        if self.subscription.note_waker(cx.waker()) {
            self.idle.moved();
        }
        let Poll::Ready(chunk) = self.subscription.poll_chunk(cx) else { return self.poll_idle(cx) };
        let Some(bytes) = chunk else { return Poll::Ready(None) };
        self.idle.sent();
        self.subscription.sent(bytes.len());
        Poll::Ready(Some(Ok(bytes)))
    }

    /// Returns a keep-alive if the stream has been idle for long enough.
    #[inline]
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let Some(interval) = self.pulse.interval() else { return Poll::Pending };
        ready!(self.idle.poll(interval, cx));
        let line = self.pulse.line();
        self.subscription.sent(line.len());
        Poll::Ready(Some(Ok(line)))
    }
}

impl Special {
    /// Whether the stream sends what it reads at once and as it is, until there is no more.
    fn is_plain(&self) -> bool {
        self.coalesce.is_none() && self.shape.is_none() && self.close.is_none() && self.over.is_none()
    }

    fn poll_next(&mut self, subscription: &mut Subscription, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(coalesce) = &mut self.coalesce
            && !subscription.is_level(cx)
        {
            ready!(coalesce.poll(cx));
        }
        let next = ready!(poll_next(subscription, self.shape.as_deref_mut(), cx));
        // A reader that is behind gets the rest at once, chunk by chunk.
        if let Some(coalesce) = &mut self.coalesce
            && subscription.is_level(cx)
        {
            coalesce.sent();
        }
        Poll::Ready(next)
    }

    /// Whether it is time to close the answer.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        self.close.as_mut().is_some_and(|close| close.poll(cx).is_ready())
    }

    /// Sets how the stream ends, if it does.
    fn end(&mut self, over: Option<Over>, subscription: &mut Subscription) {
        over.iter().for_each(|over| subscription.ends(over.ending()));
        self.over = over;
    }

    fn poll_sent(
        &mut self,
        Next { bytes, over }: Next,
        subscription: &mut Subscription,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Chunk>> {
        let over = over.or_else(|| self.is_due(cx).then_some(Over::Elapsed));
        self.end(over, subscription);
        if bytes.is_empty() { self.poll_over(cx) } else { Poll::Ready(Some(Ok(bytes))) }
    }

    /// Ends the stream. Before it breaks off, it is pending once: a server sends what it has when a body is pending, and
    /// drops it when the body fails.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        if let Some(Over::BrokenOff(_)) = self.over
            && !std::mem::replace(&mut self.flushed, true)
        {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(match self.over.take() {
            Some(Over::BrokenOff(error)) => Some(Err(error)),
            Some(Over::Complete | Over::Elapsed) | None => None,
        })
    }
}

fn poll_next(subscription: &mut Subscription, shape: Option<&mut Shape>, cx: &mut Context<'_>) -> Poll<Next> {
    if let Some(shape) = shape {
        return shape.poll(subscription, cx);
    }
    subscription.poll_chunk(cx).map(|chunk| match chunk {
        Some(bytes) => Next { bytes, over: None },
        None => Next { bytes: Bytes::new(), over: Some(Over::Complete) },
    })
}

/// Returns the first bytes: the preamble and what the stream's shape begins with. If the preamble says the position at
/// which the reader starts, what is already there for the reader follows.
///
/// A reader that is owed a gap is not told a position: if the connection broke before the gap, the reader would
/// reconnect with an id after what it has missed.
fn first(
    subscription: &mut Subscription,
    preamble: &Preamble,
    special: Option<&mut Special>,
    cx: &mut Context<'_>,
) -> Next {
    let mut shape = special.and_then(|special| special.shape.as_deref_mut());
    let head = shape.as_deref_mut().map_or_else(|| Next { bytes: Bytes::new(), over: None }, Shape::begin);
    let write = |cursor, bytes: &[u8]| {
        let mut first = preamble.encode(cursor);
        first.extend_from_slice(&head.bytes);
        first.extend_from_slice(bytes);
        first.into()
    };
    if !preamble.announce_cursor || head.over.is_some() {
        return Next { bytes: write(None, &[]), over: head.over };
    }
    let (start, is_owed_gap) = (subscription.cursor(), subscription.untold_gap().is_some());
    match poll_next(subscription, shape, cx) {
        Poll::Pending => Next { bytes: write(Some(start), &[]), over: None },
        Poll::Ready(next) => {
            let announced = Some(start).filter(|_| !is_owed_gap && subscription.end_reason().is_none());
            Next { bytes: write(announced, &next.bytes), over: next.over }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_stream_costs_some_hundreds_of_bytes() {
        // The 16 bytes of a body and its place in the wheel come on top.
        let size = size_of::<EventStream>();
        assert!(size <= 152, "{size}");
    }
}
