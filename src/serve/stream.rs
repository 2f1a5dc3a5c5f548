//! What a reader is sent, in order: the preamble, then the subscription's events, and a comment when it is idle.

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
    retry::Retry,
};
use crate::{
    hub::Subscription,
    wire::{
        cursor::Cursor,
        encode::{retry_millis, write_comment, write_retry},
        notice::write_announcement,
    },
};

pin_project! {
    #[derive(Debug)]
    pub(crate) struct EventStream {
        // Sent at once, so that the client, and every proxy on the way, sees that the stream is open. `None` once it is.
        preamble: Option<Preamble>,
        subscription: Subscription,
        // Boxed, for it is off by default.
        coalesce: Option<Box<Coalesce>>,
        // The keep-alive's.
        line: Line,
        #[pin]
        idle: Idle,
    }
}

/// What the first bytes say.
#[derive(Debug, Clone, Copy)]
struct Preamble {
    /// In milliseconds.
    retry: Option<u32>,
    /// Where the reader starts, too.
    announce_cursor: bool,
}

impl EventStream {
    pub(crate) fn new(subscription: Subscription) -> Self {
        let preamble = Some(Preamble { retry: Retry::default().draw().map(retry_millis), announce_cursor: false });
        let (line, idle) = idle(KeepAlive::default());
        Self { preamble, subscription, coalesce: None, line, idle }
    }

    /// Counts until the first poll, as `announce_cursor`.
    pub(crate) fn set_retry(self: Pin<&mut Self>, retry: Retry) {
        if let Some(preamble) = self.project().preamble {
            preamble.retry = retry.draw().map(retry_millis);
        }
    }

    pub(crate) fn set_announce_cursor(self: Pin<&mut Self>, announce: bool) {
        if let Some(preamble) = self.project().preamble {
            preamble.announce_cursor = announce;
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

    /// The next bytes; `None` is the end, after which it is not polled again.
    pub(crate) fn poll_chunk(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.as_mut().project();
        match this.preamble.take() {
            Some(Preamble { retry, announce_cursor: false }) => Poll::Ready(Some(preamble(retry, None).into())),
            Some(Preamble { retry, announce_cursor: true }) => {
                Poll::Ready(Some(announced(this.subscription, retry, cx)))
            }
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
            // Both have the waker now.
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
    // What is behind goes on at once, chunk by chunk.
    if subscription.is_level(cx) {
        coalesce.sent();
    }
    Poll::Ready(chunk)
}

/// The preamble with the position at which the reader starts, and what there is for it already. A reader that is owed a
/// gap is told no position: it may be cut off before the gap, and would come back with an id after what it has missed.
fn announced(subscription: &mut Subscription, retry: Option<u32>, cx: &mut Context<'_>) -> Bytes {
    let start = subscription.cursor();
    match subscription.poll_chunk(cx) {
        Poll::Pending => preamble(retry, Some(start)).into(),
        // What leaves the position where it was is that gap, or the end.
        Poll::Ready(chunk) => {
            let mut bytes = preamble(retry, Some(start).filter(|&start| subscription.cursor() != start));
            bytes.extend_from_slice(&chunk.unwrap_or_default());
            bytes.into()
        }
    }
}

fn idle(keep_alive: KeepAlive) -> (Line, Idle) {
    let interval = keep_alive.interval();
    (keep_alive.into_line(), Idle::new(interval))
}

/// `retry:` takes effect as soon as its line is read. With a cursor an event of its own follows, with empty data: Firefox
/// and several other clients ignore the id of a block without data. Without a cursor it is a comment, and no blank line.
fn preamble(retry: Option<u32>, cursor: Option<Cursor>) -> Vec<u8> {
    const LONGEST: &str = "retry: 2147483647\nevent: cursor\ndata: \nid: 0123456789ab-18446744073709551615\n\n";
    let mut out = Vec::with_capacity(LONGEST.len());
    if let Some(retry) = retry {
        write_retry(&mut out, Duration::from_millis(retry.into()));
    }
    match cursor {
        Some(cursor) => write_announcement(&mut out, cursor),
        None => write_comment(&mut out, None),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cursor::{Epoch, Offset};

    #[test]
    fn an_idle_stream_costs_some_hundreds_of_bytes() {
        // And the 16 bytes of a body, and the header of its box.
        let size = size_of::<EventStream>();
        assert!(size <= 280, "{size}");
    }

    #[test]
    fn only_the_announced_cursor_ends_in_a_blank_line() {
        assert_eq!(preamble(Some(3_000), None), b"retry: 3000\n:\n");
        assert_eq!(preamble(None, None), b":\n");
        assert_eq!(preamble(Some(retry_millis(Duration::MAX)), None), b"retry: 2147483647\n:\n");
        let cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };
        assert_eq!(preamble(Some(0), Some(cursor)), b"retry: 0\nevent: cursor\ndata: \nid: 000000000abc-7\n\n");
    }
}
