//! The I/O of a stream: a light socket where that is possible, and otherwise the I/O of the connection.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    guarded::Guarded,
    light::{Light, lighten, restore},
};

pub(super) enum Carrier<T> {
    Light(Guarded<Light>),
    /// Boxed, because it may be large, and few streams have it.
    Given(Box<Guarded<T>>),
}

impl<T: 'static> Carrier<T> {
    pub(super) fn of(io: Guarded<T>) -> io::Result<Self> {
        let (io, shared) = io.into_parts();
        Ok(match lighten(io)? {
            Ok(light) => Self::Light(Guarded::new(light, shared)),
            Err(io) => Self::Given(Box::new(Guarded::new(io, shared))),
        })
    }

    /// Returns `true` if there is nothing to read and the task that polled the I/O last will be woken once there is. `false`
    /// means that this is not known.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Light(light) => light.get_ref().is_quiet(),
            Self::Given(_) => false,
        }
    }

    /// Ready with an error once the connection has failed, even if there is something to read. Only a light socket can tell.
    pub(super) fn poll_failed(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Light(light) => light.poll_with(|light| light.poll_failed(cx)),
            Self::Given(_) => Poll::Pending,
        }
    }

    /// Lets the bytes be sent together with those of other connections. Before anything else is written, wait for
    /// [`poll_posted`](Self::poll_posted). Returns `false` if that is not possible: only a light socket can do it.
    pub(super) fn post(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Light(light) => light.get_ref().post(bytes),
            Self::Given(_) => false,
        }
    }

    /// Sends what is posted now, unless another thread is just about to.
    pub(super) fn send_posted(&self) {
        if let Self::Light(light) = self {
            light.get_ref().send_posted();
        }
    }

    /// Waits until what was posted is sent. Returns what the socket did not take, if anything.
    #[inline]
    pub(super) fn poll_posted(&mut self, cx: &Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        match self {
            Self::Light(light) => light.poll_with(|light| light.poll_posted(cx)),
            Self::Given(_) => Poll::Ready(Ok(None)),
        }
    }

    /// Returns the original I/O.
    pub(super) fn into_io(self) -> io::Result<Guarded<T>> {
        match self {
            Self::Light(light) => {
                let (light, shared) = light.into_parts();
                Ok(Guarded::new(restore(light)?, shared))
            }
            Self::Given(io) => Ok(*io),
        }
    }
}

/// No part of it is pinned.
impl<T> Unpin for Carrier<T> {}

impl<T: AsyncRead + Unpin> AsyncRead for Carrier<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Light(light) => Pin::new(light).poll_read(cx, buf),
            Self::Given(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Carrier<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Light(light) => Pin::new(light).poll_write(cx, buf),
            Self::Given(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Light(light) => Pin::new(light).poll_write_vectored(cx, bufs),
            Self::Given(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Light(light) => light.is_write_vectored(),
            Self::Given(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Light(light) => Pin::new(light).poll_flush(cx),
            Self::Given(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Light(light) => Pin::new(light).poll_shutdown(cx),
            Self::Given(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
