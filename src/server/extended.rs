//! What is known of a connection, in the extensions of each request on it.

use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

/// The service of the layer [`PeerAddr`](super::PeerAddr): it puts a value into the extensions of each request.
#[derive(Debug, Clone)]
pub struct Extended<S, E> {
    app: S,
    extension: E,
}

impl<S, E> Extended<S, E> {
    pub(super) fn new(app: S, extension: E) -> Self {
        Self { app, extension }
    }

    /// Wraps the service that gets the requests.
    pub(super) fn wrap<T>(self, wrap: impl FnOnce(S) -> T) -> Extended<T, E> {
        Extended { app: wrap(self.app), extension: self.extension }
    }
}

impl<S, E, B> Service<Request<B>> for Extended<S, E>
where
    S: Service<Request<B>>,
    E: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.extension.clone());
        self.app.call(request)
    }
}
