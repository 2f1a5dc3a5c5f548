//! The authorizer of a layer that was given none.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower_service::Service;

use super::request::AuthorizeRequest;
use crate::hub::Grant;

/// Grants everybody what they ask for, and believes the client id in the URL: the default of
/// [`SseLayer`](crate::SseLayer).
///
/// Fit for public channels, and behind middlewares that have checked both. Where targeted events are private, set an
/// authorizer: with this one, whoever knows a client's id reads what is sent to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Service<AuthorizeRequest> for AllowAll {
    type Response = Grant;
    type Error = Infallible;
    type Future = Ready<Result<Grant, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: AuthorizeRequest) -> Self::Future {
        ready(Ok(request.grant().client(request.client().cloned())))
    }
}
