//! An authorizer's no, and what it looks like over HTTP.

use std::{borrow::Cow, error::Error, fmt};

use http::{HeaderValue, StatusCode};

/// An authorizer's no: the request is answered with its status and an `application/problem+json` body, on which a browser
/// gives up for good. To have it come back, return any other error.
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
    /// Who is asking is not known: 401, with `www-authenticate: Bearer`.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED).challenge(HeaderValue::from_static("Bearer"))
    }

    /// Who is asking may not read this: 403.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN)
    }

    /// Who is asking is not even told that there is such a channel: 404.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND)
    }

    fn new(status: StatusCode) -> Self {
        Self { status, challenge: None, detail: None }
    }

    /// What `www-authenticate` says, of which a 401 must have one and a 403 may
    /// ([RFC 9110, 11.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)).
    pub fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// A sentence for people, which the client is shown; by default none.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn parts(&self) -> (StatusCode, Option<&HeaderValue>, Option<&str>) {
        (self.status, self.challenge.as_ref(), self.detail.as_deref())
    }

    /// The `Denied` that an error is, or was caused by: middlewares box and wrap what they pass on.
    pub(crate) fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
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
