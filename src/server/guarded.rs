//! The I/O of a connection, whose writes fail once the peer has stopped reading.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{shared::Shared, stall::Stall};

/// The I/O of a connection. A write that makes no progress for the [stall timeout](super::Builder::stall_timeout) fails.
pub(super) struct Guarded<T> {
    io: T,
    shared: Arc<Shared>,
    /// Present only while a write or a flush waits for the peer.
    stalled: Option<Box<Stalled>>,
}

struct Stalled {
    stall: Stall,
    /// Whether a flush waits. Nothing more is written until it has ended: I/O with a buffer of its own, such as TLS, would
    /// take what is written, which looks like progress, although the peer reads nothing.
    flushes: bool,
}

impl<T> Guarded<T> {
    pub(super) fn new(io: T, shared: Arc<Shared>) -> Self {
        Self { io, shared, stalled: None }
    }

    /// Returns the I/O, and what the connections share. No write may be waiting for the peer.
    pub(super) fn into_parts(self) -> (T, Arc<Shared>) {
        (self.io, self.shared)
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.io
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Calls a method of the I/O that returns an error if the peer has left.
    #[inline]
    pub(super) fn poll_with<R>(&mut self, poll: impl FnOnce(&mut T) -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        let outcome = poll(&mut self.io);
        self.count(outcome)
    }

    /// Passes on the outcome of a write or a flush, unless it has waited for too long.
    #[inline]
    fn limit<R>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<R>>, flushes: bool) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            self.stalled = None;
            return self.count(outcome);
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::new(Stalled { stall: Stall::new(cx), flushes }));
        stalled.flushes |= flushes;
        ready!(stalled.stall.poll(self.shared.settings.stall_timeout, cx));
        self.stalled = None;
        self.count(Poll::Ready(Err(io::ErrorKind::TimedOut.into())))
    }

    /// Counts an error that says that the peer has stalled, whether it is ours or the system's.
    #[inline]
    fn count<R>(&self, outcome: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if matches!(&outcome, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut) {
            self.shared.counters.stalled.add(1);
        }
        outcome
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_read(cx, buf);
        self.count(outcome)
    }
}

impl<T: AsyncWrite + Unpin> Guarded<T> {
    /// Continues a flush that waits for the peer, if there is one.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stalled {
            Some(stalled) if stalled.flushes => Pin::new(self).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flushed(cx))?;
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.limit(cx, outcome, false)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flushed(cx))?;
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.limit(cx, outcome, false)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.limit(cx, outcome, true)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.limit(cx, outcome, false)
    }
}
