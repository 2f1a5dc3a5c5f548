//! Who may read what: any tower service from an [`AuthorizeRequest`] to a [`Grant`].
//!
//! The layer asks the authorizer once per connection, before it opens a subscription. A grant may narrow the channels
//! and bind the client. It can't widen: the layer cuts it down to what was asked.
//!
//! Authorization fails closed: without a grant, nothing is read. A [`Denied`] is answered with its own status, even if
//! a middleware has boxed or wrapped it. A [`RateLimited`] sends the client away for a time. Any other error, a timeout or a
//! panic is a failure, which may pass: the client is told to reconnect after a random time, and the failure is counted in
//! [`Stats::authorizer_failed`](crate::Stats::authorizer_failed).

mod allow_all;
mod authorizer;
mod bearer;
mod decide;
mod denied;
mod function;
#[cfg(feature = "inspect")]
mod insight;
#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "limits")]
pub mod limits;
#[cfg(feature = "jwt")]
mod pattern;
#[cfg(feature = "publish")]
mod permit;
mod rate_limited;
mod recheck;
mod request;
#[cfg(all(feature = "jwt", feature = "publish"))]
mod reserved;
mod token;

#[cfg(any(feature = "inspect", feature = "publish"))]
pub(crate) use self::decide::Asking;
pub(crate) use self::decide::{Decide, Refusal};
#[cfg(feature = "inspect")]
pub use self::insight::{InspectAuthorizer, InspectGrant, InspectRequest, inspect_authorizer_fn};
#[cfg(feature = "jwt")]
pub use self::jwt::{Jwt, JwtFuture, JwtKeys, Links, jwt};
#[cfg(feature = "publish")]
pub use self::permit::{PublishAuthorizer, PublishGrant, PublishRequest, publish_authorizer_fn};
#[cfg(all(test, feature = "jwt", feature = "publish", feature = "runs"))]
pub(crate) use self::reserved::is_reserved;
pub use self::{
    allow_all::AllowAll,
    authorizer::Authorizer,
    bearer::{Bearer, BearerFuture, bearer},
    denied::Denied,
    function::{AuthorizerFn, authorizer_fn},
    rate_limited::RateLimited,
    request::AuthorizeRequest,
};
