//! The contract of an authorizer.

use std::error::Error;

use tower_service::Service;

use super::request::AuthorizeRequest;
use crate::hub::Grant;

/// What any error becomes.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The decider: any [`tower_service::Service`] from an [`AuthorizeRequest`] to a [`Grant`]; implemented for all of them.
///
/// It is cloned for each connection and made ready before it is called, so that tower's timeout, buffer and limit layers
/// compose around it. [`authorizer_fn`](crate::authorizer_fn) makes one of a closure, [`bearer`](crate::bearer) one of a
/// token lookup, and [`AllowAll`](crate::AllowAll) is the one of a layer that was given none.
///
/// A grant can only narrow what was asked: channels in it that the request does not name are left out, and a grant of no
/// channel that it names is a 403.
///
/// A [`Denied`](crate::Denied) is for good: a browser gives up on its status. Any other error, a panic or a timeout is for
/// the moment: nothing is read, and the client comes back after a [random time](crate::PublisherBuilder::reconnect).
///
/// Nothing limits how long it may take but a timeout that you put around it: a client waits for its headers until then.
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
/// What is around the layer may ask for more: axum wants a layer, and so the authorizer in it, that is `Send`, `Sync` and
/// `'static`, and a future that is `Send`. Of tower's type-erased services `BoxCloneSyncService` is that, and so is a
/// `Buffer`, which makes any service one; `BoxCloneService` is not `Sync`.
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
