//! The socket itself: it reads and writes until the system has nothing more to give or to take, and then waits for the
//! poller.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{self, Shutdown},
    os::fd::AsRawFd,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::poller::{Poller, READ, Seat, WRITE};

pub(in crate::server) struct Light {
    tcp: net::TcpStream,
    seat: Seat,
    /// Whether the poll watches for room to write too. It does so once there was none.
    watches_writes: bool,
}

impl Light {
    pub(super) const IS_THERE: bool = true;

    pub(super) fn new(tcp: TcpStream) -> io::Result<Self> {
        let seat = Poller::current()?.enter();
        let tcp = tcp.into_std()?;
        seat.watch(&tcp)?;
        Ok(Self { tcp, seat, watches_writes: false })
    }

    pub(super) fn into_tcp(self) -> io::Result<TcpStream> {
        // A second file for the connection, because dropping this one leaves the poll.
        TcpStream::from_std(self.tcp.try_clone()?)
    }

    /// Does something that may find the system busy, until it does or nothing is ready.
    fn poll_io<R>(
        &mut self,
        cx: &Context<'_>,
        kind: u32,
        mut work: impl FnMut(&net::TcpStream) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let Some(ready) = self.seat.ready(kind, cx.waker())? else { return Poll::Pending };
            match work(&self.tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.seat.clear(kind, ready);
                    if kind == WRITE && !self.watches_writes {
                        self.seat.watch_writes(&self.tcp)?;
                        self.watches_writes = true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Light {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_io(cx, READ, |mut tcp| tcp.read(buf.initialize_unfilled())).map_ok(|read| buf.advance(read))
    }
}

impl AsyncWrite for Light {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, WRITE, |mut tcp| tcp.write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, WRITE, |mut tcp| tcp.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.tcp.shutdown(Shutdown::Write))
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        self.seat.unwatch(&self.tcp.as_raw_fd());
    }
}
