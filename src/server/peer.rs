//! Who is at the other end of a connection.

use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use super::{app::App, request::RequestBody};

/// The address of a request's peer, which [`serve`](super::serve) puts into the request's extensions. Behind a proxy, it is
/// the proxy's. `A` is a [`SocketAddr`](std::net::SocketAddr) with a `TcpListener`.
///
/// An axum handler takes it as an extension:
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr<A>(pub A);

/// An application that is told of the peer.
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
