//! The error for a request that comes too soon.

use std::{error::Error, fmt, time::Duration};

use super::authorizer::find_cause;
use crate::error::{OpenError, OpenErrorKind};

/// The error with which an [`Authorizer`](crate::Authorizer) refuses a request for a time, because its client makes too many
/// requests.
///
/// An `EventSource` gets a `retry:` of that time plus a [random time](crate::PublisherBuilder::reconnect). On a
/// [strict](crate::Route::strict) route, and for a request to publish, the answer is a 429 with `Retry-After`. The refusal
/// counts in [`Stats::rate_limited`](crate::Stats::rate_limited).
///
/// With the feature `limits`, `limits::RateLimit` counts requests and returns this error. If your authorizer counts by itself, or
/// asks a gateway that counts, it can return the error, too:
///
/// ```
/// use std::time::Duration;
/// use tower_sse::{AuthorizeRequest, RateLimited, authorizer_fn};
///
/// let authorizer = authorizer_fn(|request: AuthorizeRequest| async move {
///     // Ask what counts the requests here.
///     match request.headers().get("x-over-quota") {
///         Some(_) => Err(RateLimited::new(Duration::from_secs(30))),
///         None => Ok(request.grant()),
///     }
/// });
/// # fn check<A: tower_sse::Authorizer>(_: A) {}
/// # check(authorizer);
/// ```
///
/// A handler that opens its own [`Subscription`](crate::Subscription) converts it into an [`OpenError`], and answers
/// with [`SseBody::refused`](crate::SseBody::refused).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "nothing is refused until an authorizer returns it"]
pub struct RateLimited {
    after: Duration,
}

impl RateLimited {
    /// Creates the error. The client may try again `after` this time.
    pub fn new(after: Duration) -> Self {
        Self { after }
    }

    /// Returns the time after which the client may try again.
    pub fn retry_after(&self) -> Duration {
        self.after
    }

    /// Finds the `RateLimited` that an error is or was caused by.
    pub(crate) fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        find_cause::<Self>(error).copied()
    }
}

impl fmt::Display for RateLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client makes too many requests")
    }
}

impl Error for RateLimited {}

impl From<RateLimited> for OpenError {
    fn from(limited: RateLimited) -> Self {
        OpenErrorKind::RateLimit(limited.after).into()
    }
}
