//! Reads the first bytes of a connection, which show its protocol.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep},
};

use super::{app::App, guarded::Guarded};

/// The preface that an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How many bytes are read in one go, so that the head of most requests takes one read.
const FIRST: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A connection whose protocol is not known yet.
pub(super) struct Sniff<T, S> {
    /// `None` once the protocol is known.
    parts: Option<(Guarded<T>, S)>,
    /// The beginning of the preface, as far as it has arrived.
    read: [u8; PREFACE.len()],
    len: usize,
    /// Runs while nothing has arrived.
    timeout: Option<Pin<Box<Sleep>>>,
}

/// A connection with the bytes that were read from it.
pub(super) struct Sniffed<T, S> {
    pub(super) protocol: Protocol,
    pub(super) before: Bytes,
    pub(super) io: Guarded<T>,
    pub(super) app: S,
}

impl<T: AsyncRead + Unpin, S: App> Sniff<T, S> {
    pub(super) fn new(io: Guarded<T>, app: S) -> Self {
        Self { parts: Some((io, app)), read: [0; PREFACE.len()], len: 0, timeout: None }
    }

    /// Reads until the protocol is known.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Sniffed<T, S>>> {
        let (protocol, before) = match self.poll_read(cx) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                ready!(self.poll_timeout(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        };
        let Some((io, app)) = self.parts.take() else { return Poll::Pending };
        Poll::Ready(Ok(Sniffed { protocol, before, io, app }))
    }

    /// Returns the protocol and what was read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Protocol, Bytes)>> {
        let Some((io, _)) = &mut self.parts else { return Poll::Pending };
        loop {
            let mut bytes = [MaybeUninit::uninit(); FIRST];
            let mut buf = ReadBuf::uninit(&mut bytes);
            buf.put_slice(&self.read[..self.len]);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut buf))?;
            let read = buf.filled();
            let protocol = match read.first_chunk() {
                Some(first) if first == PREFACE => Protocol::Http2,
                None if read.len() > self.len && PREFACE.starts_with(read) => {
                    self.read[..read.len()].copy_from_slice(read);
                    self.len = read.len();
                    continue;
                }
                _ => Protocol::Http1,
            };
            return Poll::Ready(Ok((protocol, Bytes::copy_from_slice(read))));
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((io, _)) = &self.parts else { return Poll::Pending };
        let time = io.shared().settings.head_timeout;
        self.timeout.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx)
    }
}
