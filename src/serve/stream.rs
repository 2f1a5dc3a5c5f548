//! What a reader is sent, in order: the preamble, then the subscription's events, and a keep-alive when it is idle.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use pin_project_lite::pin_project;

use super::{
    coalesce::Coalesce,
    idle::Idle,
    keep_alive::{KeepAlive, Line},
    preamble::Preamble,
};
use crate::hub::Subscription;

pin_project! {
    #[derive(Debug)]
    pub(crate) struct EventStream {
        // `None` once it was sent. Boxed, so that an idle stream does not carry it.
        preamble: Option<Box<Preamble>>,
        subscription: Subscription,
        // Boxed, because it is off by default.
        coalesce: Option<Box<Coalesce>>,
        // The keep-alive's bytes.
        line: Line,
        #[pin]
        idle: Idle,
    }
}

impl EventStream {
    pub(crate) fn new(subscription: Subscription) -> Self {
        let (line, idle) = idle(KeepAlive::default());
        Self { preamble: Some(Box::default()), subscription, coalesce: None, line, idle }
    }

    /// Changes what the first bytes say. It has no effect once they were sent.
    pub(crate) fn set_preamble(self: Pin<&mut Self>, change: impl FnOnce(&mut Preamble)) {
        if let Some(preamble) = self.project().preamble {
            change(preamble);
        }
    }

    pub(crate) fn set_keep_alive(self: Pin<&mut Self>, keep_alive: KeepAlive) {
        let mut this = self.project();
        let (line, idle) = idle(keep_alive);
        *this.line = line;
        this.idle.set(idle);
    }

    pub(crate) fn set_coalesce(self: Pin<&mut Self>, pause: Duration) {
        *self.project().coalesce = Coalesce::new(pause).map(Box::new);
    }

    /// Returns the next bytes. `None` is the end, after which the stream is not polled again.
    pub(crate) fn poll_chunk(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.as_mut().project();
        match this.preamble.take() {
            Some(preamble) if preamble.announce_cursor => {
                Poll::Ready(Some(announced(this.subscription, &preamble, cx)))
            }
            Some(preamble) => Poll::Ready(Some(preamble.encode(None).into())),
            None => self.poll_delivery(cx),
        }
    }

    fn poll_delivery(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.project();
        match poll_subscription(this.subscription, this.coalesce.as_deref_mut(), cx) {
            Poll::Ready(chunk) => {
                this.idle.sent();
                Poll::Ready(chunk)
            }
            // Both the subscription and the coalescer have registered the waker.
            Poll::Pending => {
                ready!(this.idle.poll(cx));
                Poll::Ready(Some(this.line.bytes()))
            }
        }
    }
}

fn poll_subscription(
    subscription: &mut Subscription,
    coalesce: Option<&mut Coalesce>,
    cx: &mut Context<'_>,
) -> Poll<Option<Bytes>> {
    let Some(coalesce) = coalesce else { return subscription.poll_chunk(cx) };
    if !subscription.is_level(cx) {
        ready!(coalesce.poll(cx));
    }
    let chunk = ready!(subscription.poll_chunk(cx));
    // A reader that is behind gets the rest at once, chunk by chunk.
    if subscription.is_level(cx) {
        coalesce.sent();
    }
    Poll::Ready(chunk)
}

/// Returns the preamble with the position at which the reader starts, followed by what is already there for the reader.
///
/// A reader that is owed a gap is not told a position: if the connection broke before the gap, the reader would
/// reconnect with an id after what it has missed.
fn announced(subscription: &mut Subscription, preamble: &Preamble, cx: &mut Context<'_>) -> Bytes {
    let start = subscription.cursor();
    match subscription.poll_chunk(cx) {
        Poll::Pending => preamble.encode(Some(start)).into(),
        // Anything that leaves the position unchanged is that gap, or the end.
        Poll::Ready(chunk) => {
            let mut bytes = preamble.encode(Some(start).filter(|&start| subscription.cursor() != start));
            bytes.extend_from_slice(&chunk.unwrap_or_default());
            bytes.into()
        }
    }
}

fn idle(keep_alive: KeepAlive) -> (Line, Idle) {
    let interval = keep_alive.interval();
    (keep_alive.into_line(), Idle::new(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_stream_costs_some_hundreds_of_bytes() {
        // The 16 bytes of a body and the header of its box come on top.
        let size = size_of::<EventStream>();
        assert!(size <= 288, "{size}");
    }
}
