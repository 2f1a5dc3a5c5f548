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
///
/// A listener of your own that wraps one of these also has to pass [`prepare`](Self::prepare) and [`tune`](Self::tune) on:
///
/// ```
/// use std::{io, net::SocketAddr, time::Duration};
/// use tokio::net::{TcpListener, TcpStream};
/// use tower_sse::server::Listener;
///
/// /// Accepts only local peers.
/// struct Local(TcpListener);
///
/// impl Listener for Local {
///     type Io = TcpStream;
///     type Addr = SocketAddr;
///
///     async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
///         loop {
///             let (tcp, peer) = self.0.accept().await?;
///             if peer.ip().is_loopback() {
///                 return Ok((tcp, peer));
///             }
///         }
///     }
///
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
///
///     fn prepare(&self, stall: Duration) {
///         self.0.prepare(stall);
///     }
///
///     fn tune(tcp: &TcpStream, stall: Duration) -> io::Result<()> {
///         TcpListener::tune(tcp, stall)
///     }
/// }
/// ```
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

    /// Returns the listener's own address, for [`Serve::local_addr`](super::Serve::local_addr).
    ///
    /// # Errors
    ///
    /// Returns an error if the listener has no address, or does not know it.
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// Sets the options of connections on the listener itself. The server calls this before it accepts the first connection.
    /// On some systems, connections inherit the options, as TCP connections do on Linux, which leaves little to do for
    /// [`tune`](Self::tune). By default, this does nothing.
    fn prepare(&self, stall: Duration) {
        let _ = stall;
    }

    /// Sets the options of a connection. By default, this does nothing. For TCP, it sets
    ///
    /// - `TCP_NODELAY`, so that the system does not hold back an event,
    /// - `TCP_USER_TIMEOUT` on Linux, so that the system closes a connection whose peer does not acknowledge data for the
    ///   [stall timeout](super::Builder::stall_timeout), and
    /// - keep-alive probes, so that the system notices a peer that has vanished even if nothing is sent.
    ///
    /// These times are at most nine hours, even if the stall timeout has no limit.
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

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    #[cfg(target_os = "linux")]
    fn prepare(&self, stall: Duration) {
        // If this fails, `tune` sets the options of each connection.
        let _ = set(self, stall);
    }

    fn tune(tcp: &TcpStream, stall: Duration) -> io::Result<()> {
        // A connection that was established before `prepare` has inherited nothing.
        if has_inherited(tcp, stall) { Ok(()) } else { set(tcp, stall) }
    }
}

/// Sets the options of a connection, or those that the connections of a listener inherit.
pub(super) fn set<'a, T>(socket: &'a T, stall: Duration) -> io::Result<()>
where
    SockRef<'a>: From<&'a T>,
{
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&probes(stall))?;
    // Set last, because `has_inherited` takes it as proof of the others.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(user_timeout(stall)))?;
    Ok(())
}

/// Returns whether a connection has inherited its options from a prepared listener.
#[cfg(target_os = "linux")]
fn has_inherited(tcp: &TcpStream, stall: Duration) -> bool {
    SockRef::from(tcp).tcp_user_timeout().is_ok_and(|timeout| timeout == Some(user_timeout(stall)))
}

#[cfg(not(target_os = "linux"))]
fn has_inherited(_: &TcpStream, _: Duration) -> bool {
    false
}

/// Returns the value of the option. The system counts in milliseconds, and takes zero for its own default.
#[cfg(target_os = "linux")]
fn user_timeout(stall: Duration) -> Duration {
    let millis = u64::try_from(stall.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis.max(1))
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;
    type Addr = std::sync::Arc<tokio::net::unix::SocketAddr>;

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        let (io, addr) = tokio::net::UnixListener::accept(self).await?;
        Ok((io, addr.into()))
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        tokio::net::UnixListener::local_addr(self).map(Into::into)
    }
}

/// The longest time between probes that systems accept: nine hours, since Linux accepts at most 32,767 seconds. A peer that
/// has vanished should not stay for longer anyway.
const LONGEST: Duration = Duration::from_secs(9 * 3600);

/// Probes a peer that has sent nothing for the stall timeout: where the system allows it, three times within as long
/// again.
fn probes(stall: Duration) -> TcpKeepalive {
    // The system counts in seconds, and does not accept zero.
    let seconds = |time: Duration| time.clamp(Duration::from_secs(1), LONGEST);
    TcpKeepalive::new().with_time(seconds(stall)).with_interval(seconds(stall / 3))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    fn options(tcp: &TcpStream) -> (bool, Option<Duration>, (bool, Duration), Duration) {
        let socket = SockRef::from(tcp);
        let keepalive = (socket.keepalive().unwrap(), socket.tcp_keepalive_time().unwrap());
        let timeout = socket.tcp_user_timeout().unwrap();
        (socket.tcp_nodelay().unwrap(), timeout, keepalive, socket.tcp_keepalive_interval().unwrap())
    }

    #[tokio::test]
    async fn the_connections_of_a_prepared_listener_have_the_options_of_tuned_ones() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.prepare(STALL);
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = Listener::accept(&mut listener).await.unwrap();
        assert_eq!(options(&accepted), (true, Some(STALL), (true, STALL), STALL / 3));
        assert!(has_inherited(&accepted, STALL) && !has_inherited(&client, STALL));
        <TcpListener as Listener>::tune(&client, STALL).unwrap();
        assert_eq!(options(&client), options(&accepted));
    }

    /// The system establishes connections before the server accepts them.
    #[tokio::test]
    async fn connections_that_came_before_the_listener_was_prepared_have_the_options_too() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        listener.prepare(STALL);
        let (accepted, _) = Listener::accept(&mut listener).await.unwrap();
        <TcpListener as Listener>::tune(&accepted, STALL).unwrap();
        assert_eq!(options(&accepted), (true, Some(STALL), (true, STALL), STALL / 3));
    }
}
