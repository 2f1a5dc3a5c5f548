//! An authorizer for bearer tokens. It knows where the token is, not what it means.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{authorizer::BoxError, denied::Denied, request::AuthorizeRequest};
use crate::{hub::Grant, wire::percent};

/// Makes an [`Authorizer`](crate::Authorizer) from a lookup that turns a token into a grant.
///
/// The token comes from the header `Authorization: Bearer <token>` ([RFC 6750,
/// 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)). If it is missing or malformed, the request is answered
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
    Bearer { lookup, parameter: None }
}

/// The [`Authorizer`](crate::Authorizer) returned by [`bearer`].
#[derive(Clone)]
pub struct Bearer<F> {
    lookup: F,
    parameter: Option<Arc<str>>,
}

impl<F> Bearer<F> {
    /// Also takes the token from the query parameter `name`, since a browser's `EventSource` can't set headers. Off by
    /// default. If a request has both, the header wins. A request that repeats the parameter has no token.
    ///
    /// URLs end up in the logs of servers and proxies and in browser histories, so make such tokens short-lived, and
    /// valid only for reading streams.
    pub fn query_parameter(mut self, name: impl Into<Arc<str>>) -> Self {
        self.parameter = Some(name.into());
        self
    }

    fn token(&self, request: &AuthorizeRequest) -> Option<String> {
        match header_token(request.headers()) {
            HeaderToken::Token(token) => Some(token),
            HeaderToken::Malformed => None,
            HeaderToken::None => query_token(request.uri().query(), self.parameter.as_deref()?),
        }
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
        match self.token(&request) {
            Some(token) => BearerFuture { lookup: Some((self.lookup)(token, request)) },
            None => BearerFuture { lookup: None },
        }
    }
}

impl<F> fmt::Debug for Bearer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("query_parameter", &self.parameter).finish_non_exhaustive()
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

enum HeaderToken {
    Token(String),
    /// The header names the bearer scheme without a token, or there is more than one header. Such a request does not
    /// get a second chance in the query.
    Malformed,
    None,
}

fn header_token(headers: &HeaderMap) -> HeaderToken {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(AUTHORIZATION) { HeaderToken::Malformed } else { HeaderToken::None };
    };
    let (scheme, token) = split_scheme(value);
    // "It uses a case-insensitive token to identify the authentication scheme" (RFC 9110, 11.1). A header with another
    // scheme is for somebody else, such as a proxy.
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return HeaderToken::None;
    }
    match std::str::from_utf8(token) {
        Ok(token) if is_token(token) => HeaderToken::Token(token.to_owned()),
        _ => HeaderToken::Malformed,
    }
}

/// Splits "credentials = auth-scheme [ 1*SP ( token68 / #auth-param ) ]" (RFC 9110, 11.4).
fn split_scheme(value: &HeaderValue) -> (&[u8], &[u8]) {
    let value = value.as_bytes().trim_ascii();
    let end = memchr::memchr(b' ', value).unwrap_or(value.len());
    let (scheme, token) = value.split_at(end);
    (scheme, token.trim_ascii_start())
}

/// The parameter, if it occurs exactly once: with two, it would be a guess which one somebody else has checked.
fn query_token(query: Option<&str>, name: &str) -> Option<String> {
    let mut values = percent::query_values(query, name);
    let (Some(raw), None) = (values.next(), values.next()) else { return None };
    let token = percent::decode_value("token", raw).ok()?;
    is_token(&token).then(|| token.into_owned())
}

/// Accepts visible ASCII without spaces. This is wider than RFC 6750's `b64token`, because the tokens of real
/// applications are.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::ChannelName;

    fn token(uri: &str, headers: &[&str], parameter: Option<&str>) -> Option<String> {
        let mut request = http::Request::get(uri);
        for value in headers {
            request = request.header("authorization", *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let request = AuthorizeRequest::new(parts, [ChannelName::from_static("a")], None);
        let bearer = Bearer { lookup: (), parameter: parameter.map(Into::into) };
        bearer.token(&request)
    }

    #[test]
    fn the_token_is_read_from_the_header() {
        for value in ["Bearer t.o-k_e~n+/==", "bearer t.o-k_e~n+/==", "BEARER   t.o-k_e~n+/== "] {
            assert_eq!(token("/", &[value], None).unwrap(), "t.o-k_e~n+/==");
        }
    }

    #[test]
    fn a_missing_or_malformed_token_yields_none() {
        for value in ["", "Bearer", "Bearer ", "Bearer a b", "Bearer\ta", "Bearera", "Basic YTpi", "Bearer é"] {
            assert_eq!(token("/", &[value], None), None, "{value:?}");
        }
        assert_eq!(token("/", &["Bearer a", "Bearer a"], None), None);
        assert_eq!(token("/?access_token=a", &[], None), None);
    }

    #[test]
    fn the_query_is_read_only_if_enabled_and_after_the_header() {
        let parameter = Some("access_token");
        assert_eq!(token("/?x=1&access_token=a%2Bb", &[], parameter).unwrap(), "a+b");
        assert_eq!(token("/?access_token=query", &["Bearer header"], parameter).unwrap(), "header");
        assert_eq!(token("/?access_token=query", &["Basic YTpi"], parameter).unwrap(), "query");
        assert_eq!(token("/?access_token=query", &["Bearer a b"], parameter), None);
        for query in ["access_token", "access_token=", "access_token=%zz", "access_token=a+b", "access_token=%ff"] {
            assert_eq!(token(&format!("/?{query}"), &[], parameter), None, "{query}");
        }
        assert_eq!(token("/?access_token=a&access_token=b", &[], parameter), None);
    }
}
