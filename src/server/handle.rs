//! The handle to a server.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    app::App, connection::Connection, gate::Phase, shared::Shared, socket_options::SocketOptions, stats::Stats,
};

/// A server whose streams take little memory: see the [module](super).
///
/// Clones are handles to the same server: they share its limits, its counters and its shutdown.
///
/// To serve a listener, use [`serve`](Self::serve). For an accept loop of your own, spawn the future that
/// [`serve_connection`](Self::serve_connection) returns:
///
/// ```no_run
/// use tower::Layer;
/// use tower_sse::{Publisher, SseLayer, server::{PeerAddr, Server}};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let app = SseLayer::new(Publisher::new()).route("/sse/{channel}")?.into_service();
/// let server = Server::new();
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
/// loop {
///     let (tcp, peer) = listener.accept().await?;
///     // If this fails, the peer has already left.
///     if server.tune(&tcp).is_ok() {
///         tokio::spawn(server.serve_connection(tcp, PeerAddr(peer).layer(app.clone())));
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Serves one connection: over HTTP/2 if the client sends its preface, and over HTTP/1 otherwise. `io` is the connection
    /// that an accept loop or a TLS acceptor returns.
    ///
    /// Nothing happens until you poll the future. It needs a tokio runtime with time enabled. If there are
    /// [too many connections](super::Builder::max_connections), or if the server is shutting down, the future closes the
    /// connection at once.
    ///
    /// Requests don't get a [`PeerAddr`](super::PeerAddr), unless you add it as a layer.
    pub fn serve_connection<T, S>(&self, io: T, app: S) -> Connection<T, S>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: App,
    {
        Connection::new(self.shared.clone(), io, app)
    }

    /// Serves one connection that begins with a handshake, such as that of TLS. `handshake` resolves to the connection and
    /// the service for its requests, so the service can depend on what the handshake found out.
    ///
    /// The connection counts as open from the start. The handshake has a [time limit](super::Builder::head_timeout), and
    /// if it fails, it is [counted](super::Stats::handshake_errors). Otherwise, this does the same as
    /// [`serve_connection`](Self::serve_connection).
    ///
    /// ```
    /// # use tokio::net::TcpStream;
    /// # use tower_sse::server::{App, Server};
    /// # struct TlsAcceptor;
    /// # impl TlsAcceptor {
    /// #     fn accept(&self, tcp: TcpStream) -> std::future::Ready<std::io::Result<TcpStream>> {
    /// #         std::future::ready(Ok(tcp))
    /// #     }
    /// # }
    /// # fn over_tls(server: Server, acceptor: TlsAcceptor, tcp: TcpStream, app: impl App) {
    /// let tls = acceptor.accept(tcp);
    /// tokio::spawn(server.serve_connection_with_handshake(async { Ok((tls.await?, app)) }));
    /// # }
    /// ```
    pub fn serve_connection_with_handshake<T, S, H>(&self, handshake: H) -> Connection<T, S>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: App,
        H: Future<Output = io::Result<(T, S)>> + Send + 'static,
    {
        Connection::with_handshake(self.shared.clone(), handshake)
    }

    /// Sets the options of a socket, such as `TCP_NODELAY`. Call it in an accept loop of your own; [`serve`](Self::serve) does
    /// so by itself. [`Listener::tune`](super::Listener::tune) lists the options.
    ///
    /// # Errors
    ///
    /// Returns the system's error, which usually means that the peer has already left. Drop the connection then, and accept the
    /// next one.
    pub fn tune(&self, tcp: &tokio::net::TcpStream) -> io::Result<()> {
        SocketOptions::of(&self.shared.settings).set(tcp)
    }

    /// Shuts the server down. It accepts no more connections, closes idle ones at once, and closes each of the others when
    /// its response has ended. After `grace`, it cuts off the rest. Returns `true` if there was nothing to cut off.
    ///
    /// The server does not end streams, so [shut the publisher down](crate::Publisher::shutdown) at the same time:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_sse::{Publisher, server::Server};
    /// # async fn stop(server: Server, publisher: Publisher) {
    /// let grace = Duration::from_secs(10);
    /// tokio::join!(publisher.shutdown(grace), server.shutdown(grace));
    /// # }
    /// ```
    ///
    /// Nothing happens until you poll the future.
    pub async fn shutdown(&self, grace: Duration) -> bool {
        let gate = &self.shared.gate;
        let ended = timeout(grace, async {
            gate.begin(Phase::Closing).await;
            gate.emptied().await;
        });
        let ended = ended.await.is_ok();
        if !ended {
            gate.begin(Phase::Cut).await;
            // Each connection ends as soon as its task runs. One that is not polled, or that is blocked, never does.
            let _ = timeout(CUT, gate.emptied()).await;
        }
        ended
    }

    /// Returns the server's counters.
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot(self.shared.gate.len())
    }

    /// Updates the metrics of the server, such as `tower_sse_server_stalled_total`. Call it where you call
    /// [`Publisher::record_metrics`](crate::Publisher::record_metrics).
    ///
    /// The first call registers the metrics. If a process has several servers, their counters add up, but a gauge shows the
    /// server that was recorded last.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn record_metrics(&self) {
        self.shared.exported.get_or_init(Default::default).take(&self.stats());
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// How long connections may take to end once they are cut off.
const CUT: Duration = Duration::from_secs(1);

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish()
    }
}
