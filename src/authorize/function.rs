//! An authorizer made from a closure.

use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::request::AuthorizeRequest;
use crate::hub::Grant;

/// Makes an [`Authorizer`](crate::Authorizer) from a closure that returns a future. The closure is cloned for each
/// request for a stream, so capture only what is cheap to clone.
///
/// ```
/// use tower_sse::{AuthorizeRequest, Denied, authorizer_fn};
///
/// let only_public = authorizer_fn(|request: AuthorizeRequest| async move {
///     if request.channels().iter().all(|channel| channel.as_str().starts_with("public-")) {
///         Ok(request.grant())
///     } else {
///         Err(Denied::forbidden())
///     }
/// });
/// # fn check<A: tower_sse::Authorizer>(_: A) {}
/// # check(only_public);
/// ```
///
/// A browser's `EventSource` sends cookies, but does not let a page set headers:
///
/// ```
/// use http::header::COOKIE;
/// use tower_sse::{AuthorizeRequest, ClientId, Denied, authorizer_fn};
///
/// let by_cookie = authorizer_fn(|request: AuthorizeRequest| async move {
///     let cookies = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
///     let mut sessions = cookies.flat_map(|value| value.split("; ")).filter_map(|pair| pair.strip_prefix("session="));
///     match sessions.next() {
///         // Look up the session here.
///         Some("ana's secret") => Ok(request.grant().client(ClientId::from_static("ana"))),
///         _ => Err(Denied::forbidden()),
///     }
/// });
/// # fn check<A: tower_sse::Authorizer>(_: A) {}
/// # check(by_cookie);
/// ```
pub fn authorizer_fn<F, Fut, E>(function: F) -> AuthorizerFn<F>
where
    F: Fn(AuthorizeRequest) -> Fut,
    Fut: Future<Output = Result<Grant, E>>,
{
    AuthorizerFn { function }
}

/// The [`Authorizer`](crate::Authorizer) returned by [`authorizer_fn`].
#[derive(Clone, Copy)]
pub struct AuthorizerFn<F> {
    pub(super) function: F,
}

impl<F, R, Fut, G, E> Service<R> for AuthorizerFn<F>
where
    F: Fn(R) -> Fut,
    Fut: Future<Output = Result<G, E>>,
{
    type Response = G;
    type Error = E;
    type Future = Fut;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Fut {
        (self.function)(request)
    }
}

impl<F> fmt::Debug for AuthorizerFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizerFn").finish_non_exhaustive()
    }
}
