//! A response that is detached from hyper: a socket, a body, and unsent bytes.

use std::{
    io::{self, IoSlice},
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    app::App,
    batch::Batch,
    carrier::Carrier,
    chunk::{Framing, Piece, Unsent},
    guarded::Guarded,
    head::asks_to_close,
    http1::Detached,
};
use crate::hub::wait::are_woken_together;

pin_project! {
    /// A response that has left hyper.
    pub(super) struct Stream<T, S: App> {
        // `None` once the stream has ended.
        parts: Option<Parts<T, S>>,
        // `None` once the body has ended.
        #[pin]
        body: Option<S::Body>,
        // Boxed, because most streams are idle and have sent everything.
        unsent: Option<Box<Batch<Data<S>>>>,
        // What the client has sent after its request. hyper gets it once the stream has ended.
        // Boxed, because few clients send anything.
        early: Option<Box<Bytes>>,
        framing: Framing,
        then: Then,
        // Whether the body has been polled.
        begun: bool,
        // Whether a task other than the first one has polled the stream. The runtime of the first one may no longer run.
        moved: bool,
        // Whether something has been written since the last flush.
        unflushed: bool,
    }
}

type Data<S> = <<S as App>::Body as Body>::Data;

/// The parts of a connection that outlive the stream.
struct Parts<T, S> {
    io: Carrier<T>,
    app: S,
}

/// What happens once everything has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The next request.
    Again,
    /// The end of the connection.
    Close,
    /// The immediate end of the connection, so that the client notices that something is missing.
    BreakOff,
}

/// What is left of a connection whose stream has ended.
pub(super) enum Ended<T, S> {
    /// The connection continues.
    Again(Again<T, S>),
    /// The connection was closed while the client was still sending.
    Closed(Carrier<T>),
    Gone,
}

/// A connection whose stream has ended, and which continues.
pub(super) struct Again<T, S> {
    pub(super) io: Guarded<T>,
    pub(super) app: S,
    pub(super) before: Bytes,
}

/// How many batches one poll sends.
const BATCHES: usize = 16;

/// Once a batch has this many bytes, it takes no more chunks.
const BATCH: usize = 128 << 10;

/// The most pieces of the body that a batch takes. Some may be empty.
const CHUNKS: usize = 256;

/// How many bytes that a client sends during a stream are read at most, in one go.
const EARLY: usize = 64;

impl<T: 'static, S: App> Stream<T, S> {
    pub(super) fn new(detached: Detached<T, S>) -> io::Result<Self> {
        let Detached { io, app, head, body, framing, early } = detached;
        let then = match framing {
            Framing::Chunked if !asks_to_close(&head) => Then::Again,
            Framing::Chunked | Framing::Close => Then::Close,
        };
        let unsent = Some(Box::new(Batch::new(Unsent::head(head))));
        let (parts, body) = (Some(Parts { io: Carrier::of(io)?, app }), Some(body));
        let early = Some(early).filter(|early| !early.is_empty()).map(Box::new);
        Ok(Self { parts, body, unsent, early, framing, then, unflushed: true, begun: false, moved: false })
    }

    /// Lets the connection end with the stream.
    pub(super) fn close(self: Pin<&mut Self>) {
        let then = self.project().then;
        if *then == Then::Again {
            *then = Then::Close;
        }
    }
}

impl<T, S> Stream<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: App,
{
    /// Sends the body. Returns what is left of the connection. `is_known` says whether the same task polled the connection
    /// last.
    pub(super) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, is_known: bool) -> Poll<Ended<T, S>> {
        if !is_known {
            self.as_mut().moves();
        }
        let is_quiet = is_known && self.parts.as_ref().is_some_and(|parts| parts.io.is_quiet());
        if !is_quiet && self.as_mut().poll_read(cx).is_err() {
            // Counts the failure of what was posted, if it timed out.
            let _ = self.poll_posted(cx);
            return Poll::Ready(Ended::Gone);
        }
        for _ in 0..BATCHES {
            match ready!(self.as_mut().poll_batch(cx)) {
                Err(_) => return Poll::Ready(Ended::Gone),
                Ok(()) if self.body.is_none() => return self.poll_end(cx),
                Ok(()) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what is unsent, and then what the body has now. Pending means that the socket is full, or that the body waits
    /// and everything has been flushed or posted.
    fn poll_batch(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_posted(cx))?;
        // The head is sent together with the first bytes of the body.
        if mem::replace(self.as_mut().project().begun, true) {
            ready!(self.as_mut().poll_unsent(cx))?;
        }
        let mut bytes = [MaybeUninit::uninit(); SMALL];
        let mut small = ReadBuf::uninit(&mut bytes);
        let mut batch = self.as_mut().project().unsent.take().map(|unsent| *unsent);
        let is_small = |batch: &Batch<_>| batch.remaining() <= SMALL && batch.chunk().len() == batch.remaining();
        if let Some(head) = batch.take_if(|batch| is_small(batch)) {
            small.put_slice(head.chunk());
        }
        let waits = self.as_mut().fill(cx, &mut small, &mut batch);
        if let Some(batch) = batch {
            ready!(self.as_mut().send(cx, batch))?;
        } else if waits && self.posts(small.filled()) {
            return Poll::Pending;
        } else if !small.filled().is_empty() {
            ready!(self.as_mut().send_small(cx, small.filled()))?;
        }
        if waits {
            ready!(self.poll_flush(cx))?;
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what the body has now, up to the size of a batch. What is small is copied to `small` as long as there is no
    /// batch. Returns whether the body has no more for now.
    fn fill(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        small: &mut ReadBuf<'_>,
        batch: &mut Option<Batch<Data<S>>>,
    ) -> bool {
        let framing = self.framing;
        for _ in 0..CHUNKS {
            if self.body.is_none() || batch.as_ref().is_some_and(|batch| batch.remaining() >= BATCH) {
                break;
            }
            match self.as_mut().poll_body(cx) {
                Poll::Pending => return true,
                Poll::Ready(None) => {}
                Poll::Ready(Some(piece)) if batch.is_none() && piece.copy_into(framing, small) => {}
                Poll::Ready(Some(piece)) => batch
                    .get_or_insert_with(|| Batch::new(Unsent::head(small.filled().to_vec())))
                    .push(Unsent::of(framing, piece)),
            }
        }
        false
    }

    /// Takes the next piece of the body. Returns `None` if the body has broken off, or if the piece is empty.
    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece<Data<S>>>> {
        let mut this = self.project();
        let Some(mut body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let data = match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => frame.into_data().ok(),
            None => None,
            Some(Err(_)) => {
                *this.then = Then::BreakOff;
                this.body.set(None);
                return Poll::Ready(None);
            }
        };
        // The head announced no trailers, and nothing follows them.
        let end = data.is_none() || body.is_end_stream();
        if end {
            this.body.set(None);
        }
        let data = data.filter(Buf::has_remaining);
        Poll::Ready((end || data.is_some()).then_some(Piece { data, end }))
    }

    /// Sends a batch. What the socket does not take stays unsent.
    fn send(self: Pin<&mut Self>, cx: &mut Context<'_>, mut batch: Batch<Data<S>>) -> Poll<io::Result<()>> {
        let this = self.project();
        let Some(parts) = this.parts else { return Poll::Ready(Ok(())) };
        if !parts.io.is_write_vectored() {
            batch.join();
        }
        *this.unflushed = true;
        let sent = poll_write(&mut parts.io, cx, &mut batch);
        if sent.is_pending() {
            *this.unsent = Some(Box::new(batch));
        }
        sent
    }

    /// Sends a few bytes. What the socket does not take stays unsent.
    fn send_small(self: Pin<&mut Self>, cx: &mut Context<'_>, mut bytes: &[u8]) -> Poll<io::Result<()>> {
        let this = self.project();
        let Some(parts) = this.parts else { return Poll::Ready(Ok(())) };
        *this.unflushed = true;
        let sent = poll_write(&mut parts.io, cx, &mut bytes);
        if sent.is_pending() {
            *this.unsent = Some(Box::new(Batch::new(Unsent::head(bytes.to_vec()))));
        }
        sent
    }

    /// Notes that another task polls the stream. The task that is to send what is posted may no longer run.
    fn moves(self: Pin<&mut Self>) {
        let this = self.project();
        if !mem::replace(this.moved, true)
            && let Some(parts) = this.parts
        {
            parts.io.send_posted();
        }
    }

    /// If many streams were woken together, lets a few bytes be sent together with theirs. Returns whether it did.
    fn posts(&self, bytes: &[u8]) -> bool {
        let parts = self.parts.as_ref().filter(|_| !bytes.is_empty() && !self.moved && are_woken_together());
        parts.is_some_and(|parts| parts.io.post(bytes))
    }

    /// Waits until what was posted is sent. What the socket did not take is unsent.
    #[inline]
    fn poll_posted(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let Some(parts) = this.parts else { return Poll::Ready(Ok(())) };
        if let Some(rest) = ready!(parts.io.poll_posted(cx))? {
            *this.unsent = Some(Box::new(Batch::new(Unsent::head(rest))));
        }
        Poll::Ready(Ok(()))
    }

    /// Returns an error if the client has left. Keeps what the client sends, and then reads no more until the stream has
    /// ended, as hyper does. From then on, only a connection that fails shows that the client has left.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>) -> io::Result<()> {
        let this = self.project();
        let Some(parts) = this.parts else { return Ok(()) };
        if this.early.is_none() {
            let mut bytes = [0; EARLY];
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut parts.io).poll_read(cx, &mut buf)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) if buf.filled().is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(()) => *this.early = Some(Box::new(Bytes::copy_from_slice(buf.filled()))),
            }
        }
        match parts.io.poll_failed(cx) {
            Poll::Ready(failed) => failed,
            Poll::Pending => Ok(()),
        }
    }

    /// Sends what is unsent.
    fn poll_unsent(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let (Some(unsent), Some(parts)) = (this.unsent.as_mut(), this.parts.as_mut()) else {
            return Poll::Ready(Ok(()));
        };
        ready!(poll_write(&mut parts.io, cx, &mut **unsent))?;
        *this.unsent = None;
        Poll::Ready(Ok(()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if let Some(parts) = this.parts.as_mut().filter(|_| *this.unflushed) {
            ready!(Pin::new(&mut parts.io).poll_flush(cx))?;
            *this.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the response, once everything has been sent.
    fn poll_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<T, S>> {
        if ready!(self.as_mut().poll_flush(cx)).is_err() {
            return Poll::Ready(Ended::Gone);
        }
        let this = self.project();
        if let (Then::Close, Some(parts)) = (&this.then, this.parts.as_mut()) {
            let _ = ready!(Pin::new(&mut parts.io).poll_shutdown(cx));
        }
        let Some(Parts { io, app }) = this.parts.take() else { return Poll::Ready(Ended::Gone) };
        let early = this.early.take();
        Poll::Ready(match this.then {
            Then::Again => {
                let before = early.map(|early| *early).unwrap_or_default();
                io.into_io().map_or(Ended::Gone, |io| Ended::Again(Again { io, app, before }))
            }
            // The client has sent something, so it may be sending more.
            Then::Close if early.is_some() => Ended::Closed(io),
            Then::Close | Then::BreakOff => Ended::Gone,
        })
    }
}

/// How many pieces of memory one write takes.
const SLICES: usize = 24;

/// What fits into this many bytes, such as an event in its chunk, is copied and written as one piece, because the copy
/// costs less than what the system does for each piece.
const SMALL: usize = 512;

/// Writes all of a buffer. Once it is ready, don't use the buffer again.
fn poll_write<T>(io: &mut T, cx: &mut Context<'_>, bytes: &mut impl Buf) -> Poll<io::Result<()>>
where
    T: AsyncWrite + Unpin,
{
    loop {
        let io = Pin::new(&mut *io);
        let written = if bytes.chunk().len() < bytes.remaining() && io.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let n = bytes.chunks_vectored(&mut slices);
            ready!(io.poll_write_vectored(cx, &slices[..n]))?
        } else {
            ready!(io.poll_write(cx, bytes.chunk()))?
        };
        if written == bytes.remaining() {
            return Poll::Ready(Ok(()));
        }
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        bytes.advance(written);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::TcpStream;

    use super::*;
    use crate::{
        NotFound, SseService,
        server::{Extended, PeerAddr},
    };

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_idle_stream_is_small() {
        assert!(size_of::<Stream<TcpStream, Extended<SseService<NotFound>, PeerAddr<SocketAddr>>>>() <= 304);
    }
}
