//! The error of a backend.

use std::{error::Error, fmt};

use super::BoxError;

/// The error of a [`Backend`](crate::backend::Backend) that failed, or did not answer in time. The cause is in
/// `source()`.
///
/// You may retry the operation, but it may already have taken effect. There are two exceptions. A backend that is
/// [misconfigured](Self::is_misconfigured) did nothing: retry once you have fixed its configuration. An error from
/// building a backend whose settings are invalid is final.
///
/// ```
/// use std::error::Error;
/// use tower_sse::BackendError;
///
/// let error = BackendError::new("the disk is full");
/// assert_eq!(error.to_string(), "the backend failed");
/// assert_eq!(error.source().unwrap().to_string(), "the disk is full");
/// ```
#[derive(Debug)]
pub struct BackendError {
    kind: BackendErrorKind,
    cause: BoxError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BackendErrorKind {
    Failed,
    TimedOut,
    Misconfigured,
}

impl BackendError {
    /// Creates an error with this cause, which may be a string.
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self { kind: BackendErrorKind::Failed, cause: cause.into() }
    }

    /// Like [`new`](Self::new), for a store that did not answer in time.
    pub fn timed_out(cause: impl Into<BoxError>) -> Self {
        Self { kind: BackendErrorKind::TimedOut, cause: cause.into() }
    }

    /// Like [`new`](Self::new), for a store whose settings make it unable to keep what a
    /// [`Backend`](crate::backend::Backend) promises. The cause says what to change.
    pub fn misconfigured(cause: impl Into<BoxError>) -> Self {
        Self { kind: BackendErrorKind::Misconfigured, cause: cause.into() }
    }

    /// The cause, for a log: `Display` alone says little.
    pub(crate) fn cause(&self) -> &(dyn Error + 'static) {
        &*self.cause
    }

    /// Returns `true` if the store did not answer in time, whether by the backend's own timeout or by the [hub's
    /// timeout](crate::PublisherBuilder::timeout).
    pub fn is_timeout(&self) -> bool {
        self.kind == BackendErrorKind::TimedOut
    }

    /// Returns `true` if the store answers, but its configuration would make it lose events silently, or keeps the
    /// backend from checking that it does not. The operation did nothing. The cause, in `source()`, says what to
    /// change. Until then, every call fails in this way.
    pub fn is_misconfigured(&self) -> bool {
        self.kind == BackendErrorKind::Misconfigured
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BackendErrorKind::Failed => "the backend failed",
            BackendErrorKind::TimedOut => "the backend did not answer in time",
            BackendErrorKind::Misconfigured => "the backend is misconfigured",
        })
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause())
    }
}
