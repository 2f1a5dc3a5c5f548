//! The I/O that hyper gets. It can begin with bytes that were read before, and it keeps the head of a response that leaves
//! hyper.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{guarded::Guarded, handover::Handover};

/// The I/O of a connection that hyper drives.
pub(super) struct Tapped<T, B> {
    io: Guarded<T>,
    /// What was already read from the connection.
    before: Bytes,
    /// `None` over HTTP/2, where nothing leaves hyper.
    handover: Option<Arc<Handover<B>>>,
    /// What hyper has written since a body was left for the driver, which sends it together with the first bytes of that
    /// body.
    kept: Vec<u8>,
}

impl<T, B> Tapped<T, B> {
    pub(super) fn new(io: Guarded<T>, before: Bytes, handover: Option<Arc<Handover<B>>>) -> Self {
        Self { io, before, handover, kept: Vec::new() }
    }

    /// Returns the I/O, what hyper has written of the response that left hyper, and what hyper has left of the bytes that
    /// were already read.
    pub(super) fn into_parts(self) -> (Guarded<T>, Vec<u8>, Bytes) {
        (self.io, self.kept, self.before)
    }

    /// Returns the handover, if a body was left there.
    fn left(&self) -> Option<&Handover<B>> {
        self.handover.as_deref().filter(|handover| handover.is_left())
    }
}

/// No part of it is pinned.
impl<T: Unpin, B> Unpin for Tapped<T, B> {}

impl<T: AsyncRead + Unpin, B> AsyncRead for Tapped<T, B> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = self.before.len().min(buf.remaining());
        buf.put_slice(&self.before[..n]);
        self.before.advance(n);
        if self.before.is_empty() {
            self.before = Bytes::new();
            // Usually the rest of the request has arrived, too. If not, or if this read fails, the next read reports it.
            if buf.remaining() > 0 {
                let _ = Pin::new(&mut self.io).poll_read(cx, buf);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin, B> AsyncWrite for Tapped<T, B> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.left().is_some() {
            self.kept.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.left().is_some() {
            bufs.iter().for_each(|buf| self.kept.extend_from_slice(buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(handover) = self.left() {
            handover.written();
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
