//! The inner service of a layer that stands alone: it answers that there is nothing.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::ALLOW};
use tower_service::Service;

use super::{body::SseBody, config::Config, response};

/// The inner service of [`SseLayer::into_service`](crate::SseLayer::into_service). It answers with 404 if no pattern
/// matches the path, and with 405 if one does but the method is neither `GET` nor `HEAD`. The body of either response
/// is `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
#[derive(Debug, Clone)]
pub struct NotFound {
    pub(crate) config: Arc<Config>,
}

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<SseBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<SseBody>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = if self.config.routes.at(request.uri().path()).is_some() {
            let mut response = response::problem(StatusCode::METHOD_NOT_ALLOWED, None);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            response
        } else {
            response::problem(StatusCode::NOT_FOUND, None)
        };
        ready(Ok(if request.method() == Method::HEAD { response::head(response) } else { response }))
    }
}
