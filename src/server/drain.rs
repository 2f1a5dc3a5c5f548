//! A connection that was closed while its client was still sending.
//!
//! If a server drops a connection with unread data, the system resets it, and the client may lose the end of the response
//! (RFC 9112, section 9.6). So the server first closes its side, and then reads until the client closes the other one.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep},
};

/// A connection whose client may still send. It ends once the client closes it, or has sent too much or for too long.
pub(super) struct Drain<T> {
    io: T,
    /// How many more bytes to read at most.
    left: usize,
    timeout: Pin<Box<Sleep>>,
}

/// How many bytes to read at most.
const MOST: usize = 256 << 10;

/// How long to read at most.
const LONGEST: Duration = Duration::from_secs(2);

impl<T: AsyncRead + Unpin> Drain<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, left: MOST, timeout: Box::pin(sleep(LONGEST)) }
    }

    /// Ready once the connection may be dropped.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4096];
        while self.left > 0 {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.timeout.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}
