//! Where connections come from, and the options of their sockets.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// Accepts connections for [`serve`](super::serve). Implemented for tokio's `TcpListener` and `UnixListener`.
///
/// The server sets the options of each socket: see [`tune`](Self::tune). So pass the listener without axum's `tap_io`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener of tower-sse's server",
    note = "it takes tokio's `TcpListener` or `UnixListener`: leave axum's `tap_io` out, the server sets `TCP_NODELAY` itself"
)]
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The address of a peer, which each request gets as a [`PeerAddr`](super::PeerAddr).
    type Addr: Clone + Send + Sync + 'static;

    /// Waits for the next connection. At a shutdown, the server may drop the future before it is ready.
    ///
    /// # Errors
    ///
    /// Returns an error if no connection could be accepted. The server then tries again: at once if the peer caused the
    /// error, and after a moment otherwise.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;

    /// Sets the options of all future connections on the listener itself. Returns `true` if connections inherit them, as TCP
    /// connections do on Linux. The server then does not call [`tune`](Self::tune). By default, this does nothing and returns
    /// `false`.
    fn prepare(&self, stall: Duration) -> bool {
        let _ = stall;
        false
    }

    /// Sets the options of a connection. By default, it does nothing. For TCP, it sets
    ///
    /// - `TCP_NODELAY`, so that the system does not hold back an event,
    /// - `TCP_USER_TIMEOUT` on Linux, so that the system closes a connection whose peer does not acknowledge data for the
    ///   [stall time](super::Builder::stall), and
    /// - keep-alive probes, so that it notices a peer that has vanished even if nothing is sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection can't be used. The server then drops it.
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

    #[cfg(target_os = "linux")]
    fn prepare(&self, stall: Duration) -> bool {
        set(&SockRef::from(self), stall).is_ok()
    }

    fn tune(tcp: &TcpStream, stall: Duration) -> io::Result<()> {
        set(&SockRef::from(tcp), stall)
    }
}

fn set(socket: &SockRef<'_>, stall: Duration) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(stall.min(LONGEST)))?;
    socket.set_tcp_keepalive(&probes(stall))
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

/// The longest time between probes that systems accept: nine hours, since Linux accepts at most 32,767 seconds. A peer that
/// has vanished should not stay for longer anyway.
const LONGEST: Duration = Duration::from_secs(9 * 3600);

/// Probes a peer that has sent nothing for the stall time: where the system allows it, three times within another stall
/// time.
fn probes(stall: Duration) -> TcpKeepalive {
    // The system counts in seconds, and does not accept zero.
    let seconds = |time: Duration| time.clamp(Duration::from_secs(1), LONGEST);
    TcpKeepalive::new().with_time(seconds(stall)).with_interval(seconds(stall / 3))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_connections_of_a_prepared_listener_have_the_options_of_tuned_ones() {
        let stall = Duration::from_secs(30);
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(listener.prepare(stall));
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = Listener::accept(&mut listener).await.unwrap();
        let options = |tcp: &TcpStream| {
            let socket = SockRef::from(tcp);
            let keepalive = (socket.keepalive().unwrap(), socket.tcp_keepalive_time().unwrap());
            let timeout = socket.tcp_user_timeout().unwrap();
            (socket.tcp_nodelay().unwrap(), timeout, keepalive, socket.tcp_keepalive_interval().unwrap())
        };
        assert_eq!(options(&accepted), (true, Some(stall), (true, stall), stall / 3));
        assert_ne!(options(&client), options(&accepted));
        <TcpListener as Listener>::tune(&client, stall).unwrap();
        assert_eq!(options(&client), options(&accepted));
    }
}
