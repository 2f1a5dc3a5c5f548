//! Where a request's token is: in the `Authorization` header, the query or a cookie. It does not know what the token means.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Method, Uri,
    header::{AUTHORIZATION, COOKIE, HOST, ORIGIN},
};

use crate::wire::percent;

/// The places where a token may be. The header always counts. The first place that names a token decides: if that token
/// is malformed, the request has none, and gets no second chance elsewhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenSource {
    parameter: Option<Arc<str>>,
    cookie: Option<Arc<str>>,
}

/// The longest token, in bytes. Servers limit a whole head to a few times this.
pub(crate) const MAX_LEN: usize = 8 * 1024;

impl TokenSource {
    pub(crate) fn query_parameter(self, name: Arc<str>) -> Self {
        Self { parameter: Some(name), ..self }
    }

    pub(crate) fn cookie(self, name: Arc<str>) -> Self {
        Self { cookie: Some(name), ..self }
    }

    pub(crate) fn token(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        match self.find(method, uri, headers)? {
            Found::Token(token) => Some(token),
            Found::Malformed => None,
        }
    }

    /// What the first place has that names a token. `None` if no place does.
    pub(crate) fn find(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Found> {
        header_token(headers)
            .or_else(|| query_token(uri.query(), self.parameter.as_deref()?))
            .or_else(|| cookie_token(method, uri, headers, self.cookie.as_deref()?))
    }
}

/// What one place has. A place that names no token yields no `Found`.
pub(crate) enum Found {
    Token(String),
    /// The place names something that is no token, or names several.
    Malformed,
}

impl Found {
    fn of(text: Option<&str>) -> Self {
        text.filter(|text| is_token(text)).map_or(Self::Malformed, |token| Self::Token(token.to_owned()))
    }
}

/// Accepts visible ASCII without spaces. This is wider than RFC 6750's `b64token`, because the tokens of real
/// applications are.
fn is_token(text: &str) -> bool {
    (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn header_token(headers: &HeaderMap) -> Option<Found> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some(Found::Malformed);
    }
    let (scheme, token) = split_scheme(value);
    // "It uses a case-insensitive token to identify the authentication scheme" (RFC 9110, 11.1). A header with another
    // scheme is for somebody else, such as a proxy.
    scheme.eq_ignore_ascii_case(b"Bearer").then(|| Found::of(std::str::from_utf8(token).ok()))
}

/// Splits "credentials = auth-scheme [ 1*SP ( token68 / #auth-param ) ]" (RFC 9110, 11.4).
fn split_scheme(value: &HeaderValue) -> (&[u8], &[u8]) {
    let value = value.as_bytes().trim_ascii();
    let end = memchr::memchr(b' ', value).unwrap_or(value.len());
    let (scheme, token) = value.split_at(end);
    (scheme, token.trim_ascii_start())
}

/// The parameter, if it occurs exactly once: with two, it would be a guess which one somebody else has checked.
fn query_token(query: Option<&str>, name: &str) -> Option<Found> {
    let mut values = percent::query_values(query, name);
    let raw = values.next()?;
    let token = percent::decode_value("token", raw).ok().filter(|_| values.next().is_none());
    Some(Found::of(token.as_deref()))
}

/// The cookie, if it occurs exactly once. A site on a sibling domain can set a second one, which `__Host-` prevents.
fn cookie_token(method: &Method, uri: &Uri, headers: &HeaderMap, name: &str) -> Option<Found> {
    let mut values = cookies(headers).filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value);
    let value = values.next()?;
    let trusted = values.next().is_none() && (is_safe(method) || is_same_origin(uri, headers));
    Some(Found::of(std::str::from_utf8(value).ok().filter(|_| trusted)))
}

/// The pairs of "cookie-string = cookie-pair *( ";" SP cookie-pair )" (RFC 6265, 4.2.1). Over HTTP/2 there may be
/// several headers. A value may be quoted.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some((name, unquoted.unwrap_or(value)))
    })
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the request's own site has made it, so that a cookie may speak for the user. Browsers send `Sec-Fetch-Site`,
/// and a page can't set it; older ones send only the `Origin`.
fn is_same_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    // Over HTTP/2, the host is in the URI.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|host| host.as_str()));
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some_and(|origin| host.is_some_and(|host| host.eq_ignore_ascii_case(origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(uri: &str, headers: &[(&'static str, &str)], source: &TokenSource) -> Option<String> {
        token_of(Method::GET, uri, headers, source)
    }

    fn token_of(method: Method, uri: &str, headers: &[(&'static str, &str)], source: &TokenSource) -> Option<String> {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        source.token(&parts.method, &parts.uri, &parts.headers)
    }

    fn header(value: &str) -> Option<String> {
        token("/", &[("authorization", value)], &TokenSource::default())
    }

    fn with_query() -> TokenSource {
        TokenSource::default().query_parameter("access_token".into())
    }

    fn with_cookie() -> TokenSource {
        with_query().cookie("__Host-session".into())
    }

    #[test]
    fn the_token_is_read_from_the_header() {
        for value in ["Bearer t.o-k_e~n+/==", "bearer t.o-k_e~n+/==", "BEARER   t.o-k_e~n+/== "] {
            assert_eq!(header(value).unwrap(), "t.o-k_e~n+/==");
        }
    }

    #[test]
    fn a_missing_or_malformed_token_yields_none() {
        for value in ["", "Bearer", "Bearer ", "Bearer a b", "Bearer\ta", "Bearera", "Basic YTpi", "Bearer é"] {
            assert_eq!(header(value), None, "{value:?}");
        }
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        assert_eq!(token("/", &twice, &with_cookie()), None);
        assert_eq!(token("/?access_token=a", &[("cookie", "__Host-session=a")], &TokenSource::default()), None);
    }

    #[test]
    fn a_token_has_a_longest_length() {
        assert!(header(&format!("Bearer {}", "x".repeat(MAX_LEN))).is_some());
        assert!(header(&format!("Bearer {}", "x".repeat(MAX_LEN + 1))).is_none());
    }

    #[test]
    fn the_query_is_read_only_if_enabled_and_after_the_header() {
        let source = with_query();
        assert_eq!(token("/?x=1&access_token=a%2Bb", &[], &source).unwrap(), "a+b");
        let both = |header| token("/?access_token=query", &[("authorization", header)], &source);
        assert_eq!(both("Bearer header").unwrap(), "header");
        assert_eq!(both("Basic YTpi").unwrap(), "query");
        assert_eq!(both("Bearer a b"), None);
        for query in ["access_token", "access_token=", "access_token=%zz", "access_token=a+b", "access_token=%ff"] {
            assert_eq!(
                token(&format!("/?{query}"), &[("cookie", "__Host-session=c")], &with_cookie()),
                None,
                "{query}"
            );
        }
        assert_eq!(token("/?access_token=a&access_token=b", &[], &source), None);
    }

    #[test]
    fn the_cookie_is_read_only_if_enabled_and_last() {
        let cookie = |value: &str| token("/", &[("cookie", value)], &with_cookie());
        for value in
            ["__Host-session=c", "a=b; __Host-session=c", "a=b;__Host-session=\"c\" ; x", "=; __Host-session=c"]
        {
            assert_eq!(cookie(value).unwrap(), "c", "{value}");
        }
        for value in
            ["", "__host-session=c", "x__Host-session=c", "__Host-session", "__Host-session=", "__Host-session=a b"]
        {
            assert_eq!(cookie(value), None, "{value}");
        }
        let split = [("cookie", "a=b"), ("cookie", "__Host-session=c")];
        assert_eq!(token("/", &split, &with_cookie()).unwrap(), "c");
        assert_eq!(token("/?access_token=query", &split, &with_cookie()).unwrap(), "query");
        assert_eq!(token("/", &split, &with_query()), None);
    }

    #[test]
    fn a_cookie_that_is_sent_twice_is_no_token() {
        let twice = "__Host-session=mine; __Host-session=tossed";
        assert_eq!(token("/", &[("cookie", twice)], &with_cookie()), None);
    }

    #[test]
    fn a_cookie_speaks_for_a_write_only_if_its_own_site_has_made_the_request() {
        let post = |headers: &[(&'static str, &str)]| {
            let headers = [headers, &[("cookie", "__Host-session=c"), ("host", "chat.example")]].concat();
            token_of(Method::POST, "/", &headers, &with_cookie()).is_some()
        };
        assert!(post(&[("sec-fetch-site", "same-origin")]));
        assert!(post(&[("origin", "https://chat.example")]));
        assert!(!post(&[]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!post(&[("sec-fetch-site", site), ("origin", "https://chat.example")]), "{site}");
        }
        for origin in ["https://evil.example", "null", "chat.example", "https://chat.example.evil", ""] {
            assert!(!post(&[("origin", origin)]), "{origin}");
        }
        let headers = [("authorization", "Bearer h"), ("sec-fetch-site", "cross-site")];
        assert!(token_of(Method::POST, "/", &headers, &with_cookie()).is_some(), "no browser sends this by itself");
    }
}
