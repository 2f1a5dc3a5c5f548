//! The light socket. It reads and writes until the system would block, and then waits for the poller.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{self, Shutdown},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    poller::{Poller, Seat},
    slot::{ERROR, READ, WRITE},
};

pub(in crate::server) struct Light {
    seat: Seat,
    /// Whether the poll also watches for room to write. It does so once a write has found none.
    watches_writes: bool,
}

impl Light {
    /// Returns the connection unchanged if the process has no file descriptor left for a poll, or if the system can't add the
    /// socket to it.
    pub(super) fn new(tcp: TcpStream) -> io::Result<Result<Self, TcpStream>> {
        let Ok(poller) = Poller::current() else { return Ok(Err(tcp)) };
        let seat = poller.enter(tcp.into_std()?);
        match seat.watch() {
            Ok(()) => Ok(Ok(Self { seat, watches_writes: false })),
            Err(_) => TcpStream::from_std(seat.into_socket()?).map(Err),
        }
    }

    pub(super) fn into_tcp(self) -> io::Result<TcpStream> {
        self.seat.unwatch()?;
        TcpStream::from_std(self.seat.into_socket()?)
    }

    /// Returns `true` if there is nothing to read and the task that polled the socket last will be woken once there is.
    pub(in crate::server) fn is_quiet(&self) -> bool {
        self.seat.is_quiet()
    }

    /// Ready with an error once the connection has failed, such as by a reset, even if there is something to read.
    pub(in crate::server) fn poll_failed(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(cx, ERROR, |tcp| Err(tcp.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into())))
    }

    /// Lets the bytes be sent together with those of other sockets. Before anything else is written, wait for
    /// [`poll_posted`](Self::poll_posted). Returns `false` if that is not possible.
    pub(in crate::server) fn post(&self, bytes: &[u8]) -> bool {
        self.seat.post(bytes)
    }

    /// Sends what is posted now, unless another thread is just about to.
    pub(in crate::server) fn send_posted(&self) {
        self.seat.send_posted();
    }

    /// Waits until what was posted is sent. Returns what the socket did not take, if anything.
    #[inline]
    pub(in crate::server) fn poll_posted(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.seat.poll_posted(cx.waker())
    }

    /// Repeats an operation that may block until it succeeds, or until the socket is not ready.
    fn poll_io<R>(
        &mut self,
        cx: &Context<'_>,
        kind: u32,
        mut work: impl FnMut(&net::TcpStream) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let Some(ready) = self.seat.ready(kind, cx.waker())? else { return Poll::Pending };
            match self.seat.with_socket(&mut work) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.seat.clear(kind, ready);
                    if kind == WRITE && !self.watches_writes {
                        self.seat.watch_writes()?;
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
        Poll::Ready(self.seat.with_socket(|tcp| tcp.shutdown(Shutdown::Write)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Waker,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        runtime::Builder,
    };

    use super::*;

    /// Returns a light socket and its peer.
    async fn pair() -> (Light, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Light::new(listener.accept().await.unwrap().0).unwrap().unwrap(), peer)
    }

    #[tokio::test]
    async fn a_light_socket_reads_what_comes_until_the_end() {
        let (mut light, mut peer) = pair().await;
        let reading = tokio::spawn(async move {
            let (mut all, mut part) = (Vec::new(), [0; 3]);
            loop {
                let n = light.read(&mut part).await.unwrap();
                all.extend_from_slice(&part[..n]);
                if n == 0 {
                    return all;
                }
            }
        });
        for part in ["one ", "two ", "three"] {
            peer.write_all(part.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(peer);
        assert_eq!(reading.await.unwrap(), b"one two three");
    }

    #[tokio::test]
    async fn a_light_socket_whose_peer_is_slow_goes_on_when_there_is_room() {
        let (mut light, mut peer) = pair().await;
        // More than the system buffers.
        let sent: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 4]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            light.write_all(&sent).await.unwrap();
            light.shutdown().await.unwrap();
            light
        });
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.unwrap();
        assert!(got == expected);
        drop(writing.await.unwrap());
    }

    #[tokio::test]
    async fn a_light_socket_becomes_the_socket_that_it_was() {
        let (mut light, mut peer) = pair().await;
        peer.write_all(b"one").await.unwrap();
        let mut part = [0; 3];
        light.read_exact(&mut part).await.unwrap();
        let mut tcp = light.into_tcp().unwrap();
        peer.write_all(b"two").await.unwrap();
        tcp.read_exact(&mut part).await.unwrap();
        tcp.write_all(&part).await.unwrap();
        peer.read_exact(&mut part).await.unwrap();
        assert_eq!(&part, b"two");
    }

    #[tokio::test]
    async fn sockets_that_come_and_go_leave_no_slot_taken_and_no_waker() {
        struct Asleep;
        impl std::task::Wake for Asleep {
            fn wake(self: Arc<Self>) {}
        }
        let asleep = Arc::new(Asleep);
        let waker = Waker::from(asleep.clone());
        let mut sockets = Vec::new();
        for _ in 0..100 {
            let (mut light, peer) = pair().await;
            let mut bytes = [0; 1];
            let mut buf = ReadBuf::new(&mut bytes);
            assert!(Pin::new(&mut light).poll_read(&mut Context::from_waker(&waker), &mut buf).is_pending());
            sockets.push((light, peer));
        }
        let poller = Poller::current().unwrap();
        assert_eq!(poller.taken(), 100);
        sockets.truncate(1);
        assert_eq!(poller.taken(), 1);
        assert_eq!(Arc::strong_count(&asleep), 3);
        drop(sockets);
        assert_eq!(poller.taken(), 0);
        assert_eq!(Arc::strong_count(&asleep), 2);
    }

    #[tokio::test]
    async fn a_waker_that_panics_takes_nothing_from_other_sockets() {
        #[derive(Default)]
        struct Panics(AtomicBool);
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
                panic!("as the test wants it");
            }
        }
        let [(mut one, mut first), (mut other, mut second)] = [pair().await, pair().await];
        let (panics, mut bytes) = (Arc::<Panics>::default(), [0; 1]);
        let waker = panics.clone().into();
        let mut buf = ReadBuf::new(&mut bytes);
        assert!(Pin::new(&mut one).poll_read(&mut Context::from_waker(&waker), &mut buf).is_pending());
        first.write_all(b"1").await.unwrap();
        while !panics.0.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        second.write_all(b"2").await.unwrap();
        assert_eq!(other.read_u8().await.unwrap(), b'2');
    }

    #[test]
    fn a_light_socket_fails_when_its_runtime_is_gone() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let (first, second) = (runtime(), runtime());
        let (mut light, _peer) = first.block_on(pair());
        let reading = second.spawn(async move {
            let mut bytes = [0; 1];
            poll_fn(|cx| Pin::new(&mut light).poll_read(cx, &mut ReadBuf::new(&mut bytes))).await
        });
        second.block_on(tokio::task::yield_now());
        drop(first);
        assert!(second.block_on(reading).unwrap().is_err());
    }
}
