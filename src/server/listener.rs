//! Where connections come from.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use super::socket_options::SocketOptions;

/// Accepts connections for [`serve`](super::serve). Implemented for tokio's `TcpListener` and `UnixListener`.
///
/// The server sets the options of each socket (see [`tune`](Self::tune)), so you don't need axum's `tap_io`.
///
/// You can implement it for a listener of your own. If yours wraps one of these, also pass [`prepare`](Self::prepare) and
/// [`tune`](Self::tune) on:
///
/// ```
/// use std::{io, net::SocketAddr};
/// use tokio::net::{TcpListener, TcpStream};
/// use tower_sse::server::{Listener, SocketOptions};
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
///     fn prepare(&self, options: &SocketOptions) {
///         self.0.prepare(options);
///     }
///
///     fn tune(&self, tcp: &TcpStream, options: &SocketOptions) -> io::Result<()> {
///         self.0.tune(tcp, options)
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
    /// Returns an error if no connection could be accepted. The server then tries again. It does so at once if the error is
    /// a `ConnectionAborted`, `ConnectionRefused` or `ConnectionReset`, which the peer has caused. Otherwise, it
    /// [counts](super::Stats::accept_errors) the error, and waits for a moment.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;

    /// Returns the listener's own address, for [`Serve::local_addr`](super::Serve::local_addr).
    ///
    /// # Errors
    ///
    /// Returns an error if the listener has no address, or does not know it.
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// Sets options on the listener itself, if its connections inherit them, as TCP connections do on Linux.
    /// [`tune`](Self::tune) then has less to do. The server calls this before it accepts the first connection. By default,
    /// this does nothing.
    fn prepare(&self, options: &SocketOptions) {
        let _ = options;
    }

    /// Sets the options of a connection that was accepted. By default, this does nothing. For a `TcpListener`, it sets
    ///
    /// - `TCP_NODELAY`, so that the system does not hold back an event,
    /// - `TCP_USER_TIMEOUT` on Linux, so that the system closes a connection whose peer does not acknowledge data for the
    ///   [stall timeout](super::Builder::stall_timeout), and
    /// - keep-alive probes, so that the system notices a peer that has vanished even if nothing is sent.
    ///
    /// These times are at most nine hours, even if the stall timeout is longer or off.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection can't be used. The server then drops it.
    fn tune(&self, io: &Self::Io, options: &SocketOptions) -> io::Result<()> {
        let _ = (io, options);
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
    fn prepare(&self, options: &SocketOptions) {
        // If this fails, `tune` sets the options of each connection.
        let _ = options.set(self);
    }

    fn tune(&self, tcp: &TcpStream, options: &SocketOptions) -> io::Result<()> {
        // A connection that was established before `prepare` has inherited nothing.
        if options.are_inherited(tcp) { Ok(()) } else { options.set(tcp) }
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

    fn local_addr(&self) -> io::Result<Self::Addr> {
        tokio::net::UnixListener::local_addr(self).map(Into::into)
    }
}
