//! The accept loop.

use std::{
    fmt,
    future::{Pending, pending, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use tower_layer::Layer;

use super::{
    app::App, extended::Extended, handle::Server, listener::Listener, peer::PeerAddr, socket_options::SocketOptions,
};
use crate::publisher::Publisher;

/// Serves all connections of a listener once you await it. See [`serve`].
#[must_use = "a server does nothing unless you await it"]
pub struct Serve<L: Listener, S, F = Pending<()>> {
    server: Server,
    listener: L,
    app: S,
    spawn: Spawn<L, S>,
    signal: F,
    publishers: Vec<Publisher>,
    grace: Duration,
}

/// Spawns the task of a connection.
type Spawn<L, S> = Box<dyn Fn(&Server, <L as Listener>::Io, Extended<S, PeerAddr<<L as Listener>::Addr>>) + Send>;

/// The future of a [`Serve`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct ServeFuture(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>);

/// Serves all connections of a listener with the default [limits](super::Builder). To change the limits, use
/// [`Server::builder`](super::Server::builder) and [`Server::serve`](super::Server::serve).
///
/// Use it in place of `axum::serve`. `app` is any tower service for requests whose body is a
/// [`RequestBody`](super::RequestBody): an axum `Router`, a service with an [`SseLayer`](crate::SseLayer) around it, or
/// an [`SseLayer`](crate::SseLayer) [alone](crate::SseLayer::into_service).
/// Pass it as it is, without `into_make_service`. For handlers that extract axum's `ConnectInfo`, see
/// [`PeerAddr`](super::PeerAddr).
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use tokio::{net::TcpListener, signal::ctrl_c};
/// use tower_sse::{Publisher, SseLayer, server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = Publisher::new();
/// let sse = SseLayer::new(publisher.clone()).route("/sse/{channel}")?;
/// let app = Router::new().route("/", get(|| async { "hello" })).layer(sse);
/// server::serve(TcpListener::bind("127.0.0.1:8000").await?, app)
///     .publisher(&publisher)
///     .with_graceful_shutdown(async { _ = ctrl_c().await })
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// It returns only after a [graceful shutdown](Serve::with_graceful_shutdown), and never returns an error. If a connection
/// can't be accepted, for example because the process has no file descriptors left, it tries again after a moment. It does
/// not report errors of single connections, since these only mean that a peer has left.
pub fn serve<L: Listener, S: App>(listener: L, app: S) -> Serve<L, S> {
    Server::new().serve(listener, app)
}

/// How long to wait when a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a graceful shutdown may take by default.
const GRACE: Duration = Duration::from_secs(10);

impl Server {
    /// Serves all connections of a listener. See [`serve`].
    pub fn serve<L: Listener, S: App>(&self, listener: L, app: S) -> Serve<L, S> {
        let spawn = Box::new(|server: &Server, io, app| drop(tokio::spawn(server.serve_connection(io, app))));
        Serve { server: self.clone(), listener, app, spawn, signal: pending(), publishers: Vec::new(), grace: GRACE }
    }
}

impl<L: Listener, S: App, F> Serve<L, S, F> {
    /// Begins each connection with a handshake, such as that of TLS. For example, with
    /// [tokio-rustls](https://docs.rs/tokio-rustls):
    ///
    /// ```
    /// # use tower_sse::server::{App, Serve};
    /// # use tokio::net::{TcpListener, TcpStream};
    /// # #[derive(Clone)]
    /// # struct TlsAcceptor;
    /// # impl TlsAcceptor {
    /// #     fn accept(&self, tcp: TcpStream) -> std::future::Ready<std::io::Result<TcpStream>> {
    /// #         std::future::ready(Ok(tcp))
    /// #     }
    /// # }
    /// # fn over_tls<S: App>(acceptor: TlsAcceptor, listener: TcpListener, app: S) -> Serve<TcpListener, S> {
    /// // let acceptor = TlsAcceptor::from(Arc::new(config));
    /// tower_sse::server::serve(listener, app).handshake(move |tcp| acceptor.accept(tcp))
    /// # }
    /// ```
    ///
    /// If your library has errors of its own, convert them, as in
    /// `move |tcp| async move { acceptor.accept(tcp).await.map_err(io::Error::other) }`.
    ///
    /// The server clones `handshake` for each connection, and calls it in the connection's task. So a handshake that is slow,
    /// or that panics, does not affect other connections. If a handshake fails, or takes longer than the
    /// [timeout](super::Builder::head_timeout), the server closes the connection and
    /// [counts](super::Stats::handshake_errors) it.
    ///
    /// If your handlers need to know what the handshake found out, use
    /// [`handshake_with_extension`](Self::handshake_with_extension). A connection has one handshake: the last call counts.
    pub fn handshake<H, R, T>(self, handshake: H) -> Self
    where
        H: FnOnce(L::Io) -> R + Clone + Send + 'static,
        R: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.begin_with(async move |io, app| Ok((handshake(io).await?, app)))
    }

    /// Begins each connection with a handshake, as [`handshake`](Self::handshake) does, and passes on what it found out.
    /// `handshake` resolves to the connection and a value of your own, which the server puts into the extensions of each
    /// request on that connection. For example, authorizers and handlers then know who a client is by its certificate, here
    /// with [tokio-rustls](https://docs.rs/tokio-rustls):
    ///
    /// ```
    /// # use std::{collections::HashMap, io, sync::Arc};
    /// # use tokio::net::{TcpListener, TcpStream};
    /// # use tower_sse::server::{self, App, Serve};
    /// # #[derive(Clone)]
    /// # struct TlsAcceptor;
    /// # struct TlsStream(TcpStream);
    /// # struct ServerConnection;
    /// # type CertificateDer = Vec<u8>;
    /// # impl TlsAcceptor {
    /// #     async fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream> { Ok(TlsStream(tcp)) }
    /// # }
    /// # impl TlsStream {
    /// #     fn get_ref(&self) -> (&TcpStream, &ServerConnection) { (&self.0, &ServerConnection) }
    /// # }
    /// # impl ServerConnection {
    /// #     fn peer_certificates(&self) -> Option<&[CertificateDer]> { None }
    /// # }
    /// /// Whose certificate a client has.
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// # fn over_tls<S: App>(
    /// #     listener: TcpListener,
    /// #     app: S,
    /// #     acceptor: TlsAcceptor,
    /// #     users: Arc<HashMap<CertificateDer, User>>,
    /// # ) -> Serve<TcpListener, S> {
    /// // let users: Arc<HashMap<CertificateDer, User>> = ..
    /// server::serve(listener, app).handshake_with_extension(move |tcp| async move {
    ///     let tls = acceptor.accept(tcp).await?;
    ///     let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    ///     let user = certificate.and_then(|certificate| users.get(certificate)).cloned();
    ///     let user = user.ok_or(io::ErrorKind::PermissionDenied)?;
    /// #   let tls = tls.0;
    ///     Ok((tls, user))
    /// })
    /// # }
    /// ```
    ///
    /// An axum handler extracts the value as an `Extension<User>`. The server clones it for each request, so put a large value
    /// into an `Arc`.
    ///
    /// If a proxy says at the start of a connection whose it is, as with the PROXY protocol, read that in the handshake, and
    /// return it as a [`PeerAddr`]. If it has the type of the listener's addresses, it replaces the address of the proxy.
    pub fn handshake_with_extension<H, R, T, E>(self, handshake: H) -> Self
    where
        H: FnOnce(L::Io) -> R + Clone + Send + 'static,
        R: Future<Output = io::Result<(T, E)>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        E: Clone + Send + Sync + 'static,
    {
        self.begin_with(async move |io, app| {
            let (io, extension) = handshake(io).await?;
            // Inside, so that the value may be another `PeerAddr`.
            Ok((io, app.wrap(|app| Extended::new(app, extension))))
        })
    }

    /// Begins each connection with a handshake, which gets the service for the requests, and returns the one to use.
    fn begin_with<H, R, T, A>(mut self, handshake: H) -> Self
    where
        H: FnOnce(L::Io, Extended<S, PeerAddr<L::Addr>>) -> R + Clone + Send + 'static,
        R: Future<Output = io::Result<(T, A)>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: App,
    {
        self.spawn = Box::new(move |server: &Server, io, app| {
            let handshake = handshake.clone();
            // The closure is called in the connection's task, where a panic ends only that connection.
            let handshake = async { handshake(io, app).await };
            drop(tokio::spawn(server.serve_connection_with_handshake(handshake)));
        });
        self
    }

    /// Returns the address that the listener is bound to, for example to learn the port that the system chose.
    ///
    /// # Errors
    ///
    /// Returns the error of the listener.
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }

    /// Shuts a publisher down together with the server, so that its readers are told to reconnect, and their streams end.
    /// Call it for each of your publishers.
    pub fn publisher(mut self, publisher: &Publisher) -> Self {
        self.publishers.push(publisher.clone());
        self
    }

    /// Sets how long a graceful shutdown may take. Connections that are still open after that are cut off. The default is
    /// ten seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Shuts down when `signal` completes. The server stops accepting connections, shuts its [publishers](Self::publisher)
    /// down, and closes connections as [`Server::shutdown`] does. It returns when all connections have ended, or when the
    /// [grace period](Self::grace) is over.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<L, S, G>
    where
        G: Future<Output = ()> + Send + 'static,
    {
        let Self { server, listener, app, spawn, publishers, grace, .. } = self;
        Serve { server, listener, app, spawn, signal, publishers, grace }
    }
}

impl<L: Listener, S: App, F> Serve<L, S, F>
where
    F: Future<Output = ()> + Send + 'static,
{
    async fn run(self) {
        let Self { server, mut listener, app, spawn, signal, publishers, grace } = self;
        let mut signal = pin!(signal);
        let options = SocketOptions::of(&server.shared().settings);
        listener.prepare(&options);
        loop {
            let accepted = pin!(accept(&server, &mut listener, &options));
            let Some((io, peer)) = unless(accepted, signal.as_mut()).await else { break };
            spawn(&server, io, PeerAddr(peer).layer(app.clone()));
        }
        drop((listener, app, spawn));
        stop(&server, publishers, grace).await;
    }
}

impl<L: Listener, S: App, F> IntoFuture for Serve<L, S, F>
where
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        ServeFuture(Box::pin(async move {
            self.run().await;
            Ok(())
        }))
    }
}

impl Future for ServeFuture {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll(cx)
    }
}

/// Waits for the next connection that can be used.
async fn accept<L: Listener>(server: &Server, listener: &mut L, options: &SocketOptions) -> (L::Io, L::Addr) {
    loop {
        match listener.accept().await {
            Ok((io, peer)) if listener.tune(&io, options).is_ok() => return (io, peer),
            // The peer has already left.
            Ok(_) => {}
            Err(error) if is_of_peer(&error) => {}
            Err(_) => {
                server.shared().counters.accept_errors.add(1);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether an error concerns the connection that was to be accepted, and not the listener.
fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Waits for a future, unless the signal comes first.
async fn unless<A: Future>(
    mut future: Pin<&mut A>,
    mut signal: Pin<&mut impl Future<Output = ()>>,
) -> Option<A::Output> {
    poll_fn(|cx| match signal.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Ends the readers of all publishers and the connections at the same time. Waits only for the connections, which include
/// those of the readers.
async fn stop(server: &Server, publishers: Vec<Publisher>, grace: Duration) {
    publishers.iter().for_each(Publisher::end_readers);
    server.shutdown(grace).await;
}

impl<L: Listener + fmt::Debug, S, F> fmt::Debug for Serve<L, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, listener, .. } = self;
        f.debug_struct("Serve").field("server", server).field("listener", listener).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeFuture").finish_non_exhaustive()
    }
}
