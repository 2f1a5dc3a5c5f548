//! The authorizer of a layer without one.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower_service::Service;

use super::request::AuthorizeRequest;
use crate::hub::Grant;

/// An [`Authorizer`](crate::Authorizer) that grants every request what it asks for, and trusts the client id in the
/// URL. This is the default of [`SseLayer`](crate::SseLayer).
///
/// Use it for public channels, or behind middleware that has checked both the channels and the client. If targeted
/// events are private, set an authorizer: with this one, anyone who knows a client's id can read what is sent to that
/// client.
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
