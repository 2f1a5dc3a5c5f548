//! The denial that an authorizer returns, and its status over HTTP.

use std::{borrow::Cow, error::Error, fmt};

use http::{HeaderValue, StatusCode};

use super::authorizer::find_cause;

/// The error with which an [`Authorizer`](crate::Authorizer) denies a request for good.
///
/// The response has its status and an `application/problem+json` body ([RFC
/// 9457](https://www.rfc-editor.org/rfc/rfc9457)), and a browser gives up. To make the client reconnect instead, return
/// any other error.
///
/// ```
/// use http::{HeaderValue, StatusCode};
/// use tower_sse::Denied;
///
/// let expired = Denied::unauthorized()
///     .challenge(HeaderValue::from_static(r#"Bearer error="invalid_token""#))
///     .detail("the token has expired");
/// assert_eq!(expired.status(), StatusCode::UNAUTHORIZED);
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is denied until an authorizer returns it"]
pub struct Denied {
    status: StatusCode,
    challenge: Option<HeaderValue>,
    detail: Option<Cow<'static, str>>,
}

impl Denied {
    /// Creates a 401 with `www-authenticate: Bearer`: the request has no valid credentials.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED).challenge(HeaderValue::from_static("Bearer"))
    }

    /// Creates a 403: the credentials are valid, but don't allow what the request asks for.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN)
    }

    /// Creates a 404, which does not reveal whether the channel exists.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND)
    }

    fn new(status: StatusCode) -> Self {
        Self { status, challenge: None, detail: None }
    }

    /// Sets the value of `www-authenticate`, which a 401 must have and any other response may have ([RFC 9110,
    /// 11.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)). The default is `Bearer` for a 401, and none for
    /// the others.
    pub fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// Sets the `detail` of the response's body: a sentence for humans, which the client can read. The default is none.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn parts(&self) -> (StatusCode, Option<&HeaderValue>, Option<&str>) {
        (self.status, self.challenge.as_ref(), self.detail.as_deref())
    }

    /// Finds the `Denied` that an error is, or was caused by.
    pub(crate) fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find_cause(error)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "denied ({}): {detail}", self.status.as_u16()),
            None => write!(f, "denied ({})", self.status.as_u16()),
        }
    }
}

impl Error for Denied {}
