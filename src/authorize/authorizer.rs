//! The contract of an authorizer.

use std::error::Error;

use tower_service::Service;

use super::request::AuthorizeRequest;
use crate::{error::BoxError, hub::Grant};

/// Finds the `T` that an error is, or was caused by: middleware boxes and wraps the errors that it passes on.
pub(super) fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// Decides who may read what. It is implemented for every [`tower_service::Service`] from an [`AuthorizeRequest`] to a
/// [`Grant`].
///
/// To make one, use [`authorizer_fn`](crate::authorizer_fn) with a closure, or [`bearer`](crate::bearer) with a token
/// lookup. A layer without an authorizer uses [`AllowAll`](crate::AllowAll). The service is cloned for each request for
/// a stream, and polled until it is ready before it is called, so tower's timeout, buffer and limit layers compose
/// around it.
///
/// - A [`Grant`] can only narrow what the request asks for. Other channels in it are left out, and a grant without any
///   requested channel is answered with 403.
/// - A [`Denied`](crate::Denied) is permanent: a browser gives up when it sees the status.
/// - A [`RateLimited`](crate::RateLimited) sends the client away for the time that it says.
/// - Any other error, a panic or a timeout is temporary: the client gets no events, and reconnects after a [random
///   time](crate::PublisherBuilder::reconnect).
///
/// The client waits for its response headers until the authorizer has answered. By default there is no limit on how
/// long that takes; put a timeout around the authorizer to set one:
///
/// ```
/// use std::time::Duration;
/// use tower::{ServiceBuilder, timeout::TimeoutLayer};
/// use tower_sse::{AuthorizeRequest, Denied, Publisher, SseLayer, authorizer_fn};
///
/// let authorizer = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(2))).service(authorizer_fn(
///     |request: AuthorizeRequest| async move {
///         match request.headers().get("x-user") {
///             Some(_) => Ok(request.grant()),
///             None => Err(Denied::unauthorized()),
///         }
///     },
/// ));
/// let layer = SseLayer::new(Publisher::new()).authorizer(authorizer).route("/sse/{channel}")?;
/// # Ok::<_, tower_sse::RouteError>(())
/// ```
///
/// The trait asks for no more than `Clone`, but your HTTP stack may. axum requires the layer, and so its authorizer, to
/// be `Send`, `Sync` and `'static`, and its future to be `Send`. Among tower's type-erased services,
/// `BoxCloneSyncService` meets this, and so does `Buffer` around any service; `BoxCloneService` does not, because it is
/// not `Sync`.
///
/// ```
/// use axum::Router;
/// use tower::util::BoxCloneSyncService;
/// use tower_sse::{AuthorizeRequest, Denied, Publisher, SseLayer, authorizer_fn};
///
/// let authorizer = authorizer_fn(|request: AuthorizeRequest| async move { Ok::<_, Denied>(request.grant()) });
/// let authorizer = BoxCloneSyncService::new(authorizer);
/// let layer = SseLayer::new(Publisher::new()).authorizer(authorizer).route("/sse/{channel}")?;
/// let app: Router = Router::new().layer(layer);
/// # Ok::<_, tower_sse::RouteError>(())
/// ```
pub trait Authorizer: Service<AuthorizeRequest, Response = Grant, Error: Into<BoxError>> + Clone {}

impl<A> Authorizer for A
where
    A: Service<AuthorizeRequest, Response = Grant> + Clone,
    A::Error: Into<BoxError>,
{
}
