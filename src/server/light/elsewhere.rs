//! Where a poll can't be watched as a file, sockets stay with tokio.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

pub(in crate::server) enum Light {}

impl Light {
    pub(super) fn new(tcp: TcpStream) -> io::Result<Result<Self, TcpStream>> {
        Ok(Err(tcp))
    }

    pub(in crate::server) fn is_quiet(&self) -> bool {
        match *self {}
    }

    pub(in crate::server) fn poll_failed(&mut self, _: &Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub(in crate::server) fn post(&self, _: &[u8]) -> bool {
        match *self {}
    }

    pub(in crate::server) fn send_posted(&self) {
        match *self {}
    }

    pub(in crate::server) fn poll_posted(&self, _: &Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        match *self {}
    }

    pub(super) fn into_tcp(self) -> io::Result<TcpStream> {
        match self {}
    }
}

impl AsyncRead for Light {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for Light {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
