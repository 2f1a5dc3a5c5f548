//! The handle to a server.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{app::App, connection::Connection, gate::Phase, listener::Listener, shared::Shared, stats::Stats};

/// Serves connections, each with as little as it needs: a stream that has begun has no HTTP stack behind it. See the
/// [module](super).
///
/// All clones are handles to the same server: they count its connections, and shut them down.
///
/// For your own accept loop, for example with TLS, spawn what [`serve_connection`](Self::serve_connection) returns:
///
/// ```no_run
/// use tower_sse::{Publisher, SseLayer, server::{Listener, Server}};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let app = SseLayer::new(Publisher::new()).route("/sse/{channel}")?.into_service();
/// let server = Server::new();
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
/// loop {
///     let (tcp, _) = listener.accept().await?;
///     server.tune(&tcp)?;
///     tokio::spawn(server.serve_connection(tcp, app.clone()));
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

    /// Serves one connection: over HTTP/2 if the client begins with its preface, and over HTTP/1 otherwise. `io` is the
    /// connection as it comes from an accept loop, or from a TLS acceptor.
    ///
    /// Nothing happens until the future is polled. It needs a tokio runtime with time enabled. If there are
    /// [too many connections](super::Builder::max_connections), or if the server shuts down, it closes the connection at once.
    pub fn serve_connection<T, S>(&self, io: T, app: S) -> Connection<T, S>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: App,
    {
        Connection::new(self.shared.clone(), io, app)
    }

    /// Sets what a socket needs: see [`Listener::tune`]. [`serve`](Self::serve) does it by itself.
    ///
    /// # Errors
    ///
    /// Returns the system's error, which mostly means that the peer has already left.
    pub fn tune(&self, tcp: &tokio::net::TcpStream) -> std::io::Result<()> {
        <tokio::net::TcpListener as Listener>::tune(tcp, self.shared.settings.stall)
    }

    /// Shuts the server down: it takes on no connection any more, closes those that are idle, and each of the others when
    /// its response has ended. Those that are left when `grace` is over are cut. Returns whether there were none.
    ///
    /// A stream ends when its application ends it. [Shut its publisher down](crate::Publisher::shutdown) at the same time:
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
    /// Nothing happens until the future is polled.
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

    /// Returns what the server has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot(self.shared.gate.len())
    }

    /// Brings the metrics of the server up to date, such as `tower_sse_server_stalled_total`. Call it where you call
    /// [`Publisher::record_metrics`](crate::Publisher::record_metrics).
    ///
    /// The metrics are registered with the first call. Those of several servers in a process add up, but for gauges, which
    /// show whichever server was recorded last.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn record_metrics(&self) {
        self.shared.exported.get_or_init(Default::default).take(&self.stats());
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// How long connections that are cut may take to notice.
const CUT: Duration = Duration::from_secs(1);

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish()
    }
}
