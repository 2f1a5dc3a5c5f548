//! What a reader is sent, in order: the preamble, then the subscription's events, and a comment when it is idle.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use pin_project_lite::pin_project;

use super::{idle::Idle, keep_alive::KeepAlive};
use crate::{
    channel::Subscription,
    cursor::Cursor,
    encode::{write_comment, write_field, write_retry},
};

/// How long a client waits before it reconnects, unless it is set otherwise: about what browsers do by themselves.
pub(crate) const DEFAULT_RETRY: Duration = Duration::from_secs(3);

pin_project! {
    #[derive(Debug)]
    pub(crate) struct EventStream {
        // Sent at once, so that the client, and every proxy on the way, sees that the stream is open.
        preamble: Option<Bytes>,
        subscription: Subscription,
        // The keep-alive's line.
        line: Bytes,
        #[pin]
        idle: Idle,
    }
}

impl EventStream {
    pub(crate) fn new(subscription: Subscription) -> Self {
        let preamble = Some(preamble(Some(DEFAULT_RETRY), None));
        let (line, idle) = idle(KeepAlive::default());
        Self { preamble, subscription, line, idle }
    }

    /// Has to be set before the first poll, as `keep_alive`.
    pub(crate) fn retry(self, retry: Option<Duration>) -> Self {
        Self { preamble: Some(preamble(retry, None)), ..self }
    }

    /// The same, with the position at which the reader starts.
    pub(crate) fn retry_and_cursor(self, retry: Option<Duration>) -> Self {
        Self { preamble: Some(preamble(retry, Some(self.subscription.cursor()))), ..self }
    }

    pub(crate) fn keep_alive(self, keep_alive: KeepAlive) -> Self {
        let (line, idle) = idle(keep_alive);
        Self { line, idle, ..self }
    }

    /// The next bytes; `None` is the end, after which it is not polled again.
    pub(crate) fn poll_chunk(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.project();
        if let Some(preamble) = this.preamble.take() {
            return Poll::Ready(Some(preamble));
        }
        match this.subscription.poll_chunk(cx) {
            Poll::Ready(chunk) => {
                this.idle.sent();
                Poll::Ready(chunk)
            }
            // Both have the waker now.
            Poll::Pending => {
                ready!(this.idle.poll(cx));
                Poll::Ready(Some(this.line.clone()))
            }
        }
    }
}

fn idle(keep_alive: KeepAlive) -> (Bytes, Idle) {
    let interval = keep_alive.interval();
    (keep_alive.into_line(), Idle::new(interval))
}

/// `retry:` counts as soon as its line is read. With a cursor an id-only block follows: "If the data buffer is an empty
/// string, set the data buffer and the event type buffer to the empty string and return", but the last event id is set
/// before that. Without one it is a comment, and no blank line.
fn preamble(retry: Option<Duration>, cursor: Option<Cursor>) -> Bytes {
    let mut out = Vec::with_capacity("retry: 4294967295\nid: 0123456789ab-18446744073709551615\n\n".len());
    if let Some(retry) = retry {
        write_retry(&mut out, retry);
    }
    match cursor {
        Some(cursor) => {
            write_field(&mut out, "id", cursor);
            out.push(b'\n');
        }
        None => write_comment(&mut out, None),
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{Epoch, Offset};

    #[test]
    fn only_the_cursors_block_ends_in_a_blank_line() {
        assert_eq!(preamble(Some(DEFAULT_RETRY), None), "retry: 3000\n:\n");
        assert_eq!(preamble(None, None), ":\n");
        assert_eq!(preamble(Some(Duration::MAX), None), "retry: 4294967295\n:\n");
        let cursor = Cursor { epoch: Epoch::from_bits(0xabc), offset: Offset::new(7) };
        assert_eq!(preamble(Some(Duration::ZERO), Some(cursor)), "retry: 0\nid: 000000000abc-7\n\n");
    }
}
