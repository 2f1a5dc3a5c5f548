//! Permission to inspect a hub, as a value, and the request that an authorizer decides on.

use std::{fmt, ops::Deref, sync::Arc};

use http::request::Parts;
use tower_service::Service;

use super::{function::AuthorizerFn, request::AuthorizeRequest};
use crate::{
    error::BoxError,
    wire::name::{ChannelName, ClientId},
};

/// What a request to [`Inspect`](crate::Inspect) may see and do.
///
/// ```
/// use tower_sse::InspectGrant;
///
/// let support = InspectGrant::new();
/// let on_call = InspectGrant::new().allow_events().allow_disconnect();
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a grant does nothing until an authorizer returns it"]
pub struct InspectGrant {
    allow_events: bool,
    allow_disconnect: bool,
}

impl InspectGrant {
    /// Allows seeing all channels, their readers with the names of clients, and the health of the node, but neither reading
    /// events nor disconnecting a client.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows reading the held events of all channels, including those for single clients. Off by default.
    pub fn allow_events(mut self) -> Self {
        self.allow_events = true;
        self
    }

    /// Allows [disconnecting a client](crate::Publisher::disconnect). Off by default.
    pub fn allow_disconnect(mut self) -> Self {
        self.allow_disconnect = true;
        self
    }

    pub(crate) fn allows_events(&self) -> bool {
        self.allow_events
    }

    pub(crate) fn allows_disconnect(&self) -> bool {
        self.allow_disconnect
    }
}

/// A request to [`Inspect`](crate::Inspect): the parts of the HTTP request, and the channel and the client that it names, if
/// any.
///
/// It has the methods of an [`AuthorizeRequest`]. Its method is `POST` if it is a request to disconnect a client.
#[derive(Clone)]
pub struct InspectRequest(AuthorizeRequest);

impl InspectRequest {
    /// Creates a request, as [`Inspect`](crate::Inspect) does from an HTTP request. Use this to test your authorizer.
    pub fn new(parts: Parts, channel: Option<ChannelName>, client: Option<ClientId>) -> Self {
        Self(AuthorizeRequest::of(parts, channel.into_iter().collect::<Arc<[_]>>(), client))
    }
}

impl Deref for InspectRequest {
    type Target = AuthorizeRequest;

    fn deref(&self) -> &AuthorizeRequest {
        &self.0
    }
}

impl fmt::Debug for InspectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InspectRequest").field(&self.0).finish()
    }
}

/// Decides who may inspect a hub. It is implemented for every [`tower_service::Service`] from an [`InspectRequest`] to an
/// [`InspectGrant`].
///
/// To make one, use [`inspect_authorizer_fn`]. It fails closed, like an [`Authorizer`](crate::Authorizer): the answer to a
/// [`Denied`](crate::Denied) is its status, and the answer to any other error, or to a panic, is a 503.
pub trait InspectAuthorizer: Service<InspectRequest, Response = InspectGrant, Error: Into<BoxError>> + Clone {}

impl<A> InspectAuthorizer for A
where
    A: Service<InspectRequest, Response = InspectGrant> + Clone,
    A::Error: Into<BoxError>,
{
}

/// Makes an [`InspectAuthorizer`] from a closure that returns a future. The closure is cloned for each request.
///
/// If the denial has a challenge, a browser asks for a password, and sends it with each request of the page:
///
/// ```
/// use http::HeaderValue;
/// use tower_sse::{Denied, InspectGrant, InspectRequest, inspect_authorizer_fn};
///
/// let authorizer = inspect_authorizer_fn(|request: InspectRequest| async move {
///     match request.headers().get("authorization") {
///         // Compare it with `Basic`, and `user:password` in Base64, in constant time.
///         Some(_) => Ok(InspectGrant::new().allow_disconnect()),
///         None => Err(Denied::unauthorized().challenge(HeaderValue::from_static(r#"Basic realm="inspect""#))),
///     }
/// });
/// # fn check<A: tower_sse::InspectAuthorizer>(_: A) {}
/// # check(authorizer);
/// ```
pub fn inspect_authorizer_fn<F, Fut, E>(function: F) -> AuthorizerFn<F>
where
    F: Fn(InspectRequest) -> Fut,
    Fut: Future<Output = Result<InspectGrant, E>>,
{
    AuthorizerFn { function }
}
