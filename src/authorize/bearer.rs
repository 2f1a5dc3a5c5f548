//! An authorizer for bearer tokens. It knows where the token is, not what it means.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{denied::Denied, request::AuthorizeRequest, token::TokenSource};
use crate::{error::BoxError, hub::Grant};

/// Makes an [`Authorizer`](crate::Authorizer) from a lookup that turns a token into a grant.
///
/// The token comes from the header `Authorization: Bearer <token>` ([RFC 6750,
/// 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)), and from a [query parameter](Bearer::query_parameter) or a
/// [cookie](Bearer::cookie) if you name one. If it is missing, malformed or longer than 8 KiB, the request is answered
/// with 401, and the lookup is not called. An error of the lookup is handled as that of any authorizer: return a
/// [`Denied`] to turn the client away for good.
///
/// ```
/// use tower_sse::{AuthorizeRequest, ClientId, Denied, bearer};
///
/// let authorizer = bearer(|token: String, request: AuthorizeRequest| async move {
///     // Verify a signature or look up a session here.
///     match token.as_str() {
///         "ana's secret" => Ok(request.grant().client(ClientId::from_static("ana"))),
///         _ => Err(Denied::unauthorized()),
///     }
/// })
/// .query_parameter("access_token");
/// # fn check<A: tower_sse::Authorizer>(_: A) {}
/// # check(authorizer);
/// ```
pub fn bearer<F, Fut, E>(lookup: F) -> Bearer<F>
where
    F: Fn(String, AuthorizeRequest) -> Fut,
    Fut: Future<Output = Result<Grant, E>>,
    E: Into<BoxError>,
{
    Bearer { lookup, source: TokenSource::default() }
}

/// The [`Authorizer`](crate::Authorizer) returned by [`bearer`].
#[derive(Clone)]
pub struct Bearer<F> {
    lookup: F,
    source: TokenSource,
}

impl<F> Bearer<F> {
    /// Also takes the token from the query parameter `name`, since a browser's `EventSource` can't set headers. Off by
    /// default. If a request has several tokens, the header wins over the query, and the query over a cookie. A request
    /// that repeats the parameter has no token.
    ///
    /// URLs end up in the logs of servers and proxies and in browser histories, so make such tokens short-lived, and
    /// valid only for reading streams.
    pub fn query_parameter(mut self, name: impl Into<Arc<str>>) -> Self {
        self.source = self.source.query_parameter(name.into());
        self
    }

    /// Also takes the token from the cookie `name`, which a browser sends by itself. Off by default. A cookie counts only
    /// if the request has no token in the header or in the query. A request that repeats the cookie has no token, since
    /// one of them may come from another site on the same domain. A name that begins with `__Host-` prevents that.
    ///
    /// A browser sends cookies with requests that other sites make, too. Another site can't read the answer unless your
    /// CORS headers allow it. A request other than `GET` and `HEAD` must prove that your own site made it, with a
    /// `Sec-Fetch-Site: same-origin` or with an `Origin` that matches its `Host`; otherwise its cookie does not count.
    pub fn cookie(mut self, name: impl Into<Arc<str>>) -> Self {
        self.source = self.source.cookie(name.into());
        self
    }
}

impl<F, Fut, E> Service<AuthorizeRequest> for Bearer<F>
where
    F: Fn(String, AuthorizeRequest) -> Fut,
    Fut: Future<Output = Result<Grant, E>>,
    E: Into<BoxError>,
{
    type Response = Grant;
    type Error = BoxError;
    type Future = BearerFuture<Fut>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: AuthorizeRequest) -> Self::Future {
        match self.source.token(request.method(), request.uri(), request.headers()) {
            Some(token) => BearerFuture { lookup: Some((self.lookup)(token, request)) },
            None => BearerFuture { lookup: None },
        }
    }
}

impl<F> fmt::Debug for Bearer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("source", &self.source).finish_non_exhaustive()
    }
}

pin_project! {
    /// The response future of [`Bearer`]. `Fut` is the lookup's future.
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct BearerFuture<Fut> {
        // `None` if there was no token.
        #[pin]
        lookup: Option<Fut>,
    }
}

impl<Fut> fmt::Debug for BearerFuture<Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerFuture").field("has_token", &self.lookup.is_some()).finish_non_exhaustive()
    }
}

impl<Fut, E> Future for BearerFuture<Fut>
where
    Fut: Future<Output = Result<Grant, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Grant, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().lookup.as_pin_mut() {
            Some(lookup) => lookup.poll(cx).map_err(Into::into),
            None => Poll::Ready(Err(Denied::unauthorized().into())),
        }
    }
}
