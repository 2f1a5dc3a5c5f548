//! What a handshake found out, in the extensions of each request.

use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

/// A service that puts a value into each request.
#[derive(Debug, Clone)]
pub(super) struct Extended<S, E> {
    pub(super) app: S,
    pub(super) extension: E,
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
