//! Who may read what: any tower service from an [`AuthorizeRequest`] to a [`Grant`].
//!
//! The layer asks the authorizer once for each connection, before a subscription is opened. What it grants is cut to
//! what was asked: a grant may narrow the channels and bind the client, and never widens.
//!
//! It fails closed. A [`Denied`] is answered with its own status, also when a middleware has boxed or wrapped it. Any
//! other error, a timeout and a panic are answered with 403 and counted in
//! [`Stats::authorizer_failed`](crate::Stats::authorizer_failed).

mod allow_all;
mod bearer;
mod decide;
mod denied;
mod function;
mod request;

use std::error::Error;

use tower_service::Service;

pub(crate) use self::decide::{Decide, Refusal};
pub use self::{
    allow_all::AllowAll,
    bearer::{Bearer, bearer},
    denied::Denied,
    function::{AuthorizerFn, authorizer_fn},
    request::AuthorizeRequest,
};
use crate::channel::Grant;

/// What any error becomes.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The decider: any [`tower_service::Service`] from an [`AuthorizeRequest`] to a [`Grant`]; implemented for all of them.
///
/// It is cloned for each connection and made ready before it is called, so that tower's timeout, buffer and limit layers
/// compose around it. [`authorizer_fn`] makes one of a closure, [`bearer`] one of a token lookup, and
/// [`AllowAll`] is the one of a layer that was given none.
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
pub trait Authorizer: Service<AuthorizeRequest, Response = Grant, Error: Into<BoxError>> + Clone {}

impl<A> Authorizer for A
where
    A: Service<AuthorizeRequest, Response = Grant> + Clone,
    A::Error: Into<BoxError>,
{
}
