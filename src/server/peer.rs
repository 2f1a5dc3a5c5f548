//! The address of a connection's peer.

use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use super::{app::App, request::RequestBody};

/// The address of a connection's peer, which [`serve`](super::serve) puts into the extensions of each request. Behind a
/// proxy, it is the address of the proxy. With a `TcpListener`, `A` is a [`SocketAddr`](std::net::SocketAddr).
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
/// this layer last:
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr<A>(pub A);

/// An application whose requests get the address of the peer.
#[derive(Clone)]
pub(super) struct Told<S, A> {
    pub(super) app: S,
    pub(super) peer: A,
}

impl<S, A> Service<Request<RequestBody>> for Told<S, A>
where
    S: App,
    A: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> S::Future {
        request.extensions_mut().insert(PeerAddr(self.peer.clone()));
        self.app.call(request)
    }
}
