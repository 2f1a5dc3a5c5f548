//! Where connections come from, and what their sockets need.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// Accepts connections for [`serve`](super::serve). Implemented for tokio's `TcpListener` and `UnixListener`.
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The address of a peer, which each request gets as a [`PeerAddr`](super::PeerAddr).
    type Addr: Clone + Send + Sync + 'static;

    /// Waits for the next connection. The future may be dropped before it is ready, at a shutdown.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no connection. The server then waits for a moment, unless it is the peer's error, and
    /// tries again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;

    /// Sets what a connection needs. For TCP, this is `TCP_NODELAY`, so that the system does not hold back an event; the
    /// option `TCP_USER_TIMEOUT` on Linux, so that a peer that no longer acknowledges data is gone after the
    /// [stall time](super::Builder::stall); and keep-alive probes, so that one that has vanished is noticed if nothing is
    /// sent. For other connections, the default is to do nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection can't be used. It is then dropped.
    fn tune(io: &Self::Io, stall: Duration) -> io::Result<()> {
        let _ = (io, stall);
        Ok(())
    }
}

impl Listener for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }

    fn tune(tcp: &TcpStream, stall: Duration) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let socket = SockRef::from(tcp);
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(stall.min(LONGEST)))?;
        socket.set_tcp_keepalive(&probes(stall))
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;
    type Addr = std::sync::Arc<tokio::net::unix::SocketAddr>;

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        let (io, addr) = tokio::net::UnixListener::accept(self).await?;
        Ok((io, addr.into()))
    }
}

/// The longest time that systems take for probes, and more than a peer that has vanished should stay: nine hours. Linux
/// takes no more than 32,767 seconds.
const LONGEST: Duration = Duration::from_secs(9 * 3600);

/// Probes a peer from which nothing was heard for the stall time, three times within another stall time where the system
/// lets us choose.
fn probes(stall: Duration) -> TcpKeepalive {
    // The system counts in seconds, and takes no zero.
    let seconds = |time: Duration| time.clamp(Duration::from_secs(1), LONGEST);
    TcpKeepalive::new().with_time(seconds(stall)).with_interval(seconds(stall / 3))
}
