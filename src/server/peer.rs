//! The address of a connection's peer.

use tower_layer::Layer;

use super::extended::Extended;

/// The address of a connection's peer, which [`serve`](super::serve) puts into the extensions of each request. Behind a
/// proxy, it is the address of the proxy, unless a [handshake](super::Serve::handshake_with_extension) returns another one. With
/// a `TcpListener`, `A` is a [`SocketAddr`](std::net::SocketAddr).
///
/// It is also a layer, which does the same for a [connection](super::Server::serve_connection) that you accept yourself.
///
/// An axum handler extracts it as an extension:
///
/// ```
/// use std::net::SocketAddr;
/// use axum::Extension;
/// use tower_sse::server::PeerAddr;
///
/// async fn handler(Extension(PeerAddr(peer)): Extension<PeerAddr<SocketAddr>>) -> String {
///     format!("you are {peer}")
/// }
/// ```
///
/// The server does not depend on axum, so it does not set axum's `ConnectInfo`. If your handlers or layers extract that, add
/// this layer after all others, so that it sees each request first:
///
/// ```
/// use std::net::SocketAddr;
/// use axum::{Router, extract::{ConnectInfo, Request}, middleware::map_request};
/// use tower_sse::server::PeerAddr;
///
/// async fn connect_info(mut request: Request) -> Request {
///     if let Some(PeerAddr(peer)) = request.extensions().get::<PeerAddr<SocketAddr>>().copied() {
///         request.extensions_mut().insert(ConnectInfo(peer));
///     }
///     request
/// }
///
/// let app: Router = Router::new().layer(map_request(connect_info));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr<A>(pub A);

impl<A: Clone, S> Layer<S> for PeerAddr<A> {
    type Service = Extended<S, Self>;

    fn layer(&self, app: S) -> Self::Service {
        Extended::new(app, self.clone())
    }
}
