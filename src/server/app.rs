//! The services that a server can serve.

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::request::RequestBody;
use crate::error::BoxError;

/// A service that a [`Server`](super::Server) can serve.
///
/// You don't implement this trait: it is implemented for every tower service that is `Clone` and `Send`, and that answers a
/// `Request<RequestBody>` with a `Response`. Examples are an axum `Router`, and an [`SseService`](crate::SseService) around
/// any such service.
pub trait App:
    Service<
        Request<RequestBody>,
        Response = Response<Self::Body>,
        Error: Into<BoxError>,
        Future: Future<Output = Result<Response<Self::Body>, Self::Error>> + Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of the responses.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> App for S
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = B;
}
