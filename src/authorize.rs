//! Who may read what: any tower service from an [`AuthorizeRequest`] to a [`Grant`].
//!
//! The layer asks the authorizer once for each connection, before a subscription is opened. What it grants is cut to
//! what was asked: a grant may narrow the channels and bind the client, and never widens.
//!
//! It fails closed: nothing is read without a grant. A [`Denied`] is answered with its own status, also when a middleware
//! has boxed or wrapped it. Any other error, a timeout and a panic are a failure, which may pass: the client is told to
//! come back after a random time, and it is counted in [`Stats::authorizer_failed`](crate::Stats::authorizer_failed).

mod allow_all;
mod authorizer;
mod bearer;
mod decide;
mod denied;
mod function;
mod request;

pub(crate) use self::decide::{Decide, Refusal};
pub use self::{
    allow_all::AllowAll,
    authorizer::Authorizer,
    bearer::{Bearer, BearerFuture, bearer},
    denied::Denied,
    function::{AuthorizerFn, authorizer_fn},
    request::AuthorizeRequest,
};
