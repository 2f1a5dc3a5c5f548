//! What a store answers when it fails.

use std::{error::Error, fmt};

/// A [`Backend`](crate::backend::Backend) failed, or did not answer in time; the cause is in `source()`. What failed may
/// have happened all the same, and you may try it again. A backend that can't be built, because its settings can't be
/// right, is not worth another try; one that is [set up wrongly](Self::is_misconfigured) is worth one after that was mended.
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
    cause: Box<dyn Error + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BackendErrorKind {
    Failed,
    TimedOut,
    Misconfigured,
}

impl BackendError {
    /// For this cause; a text will do.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: BackendErrorKind::Failed, cause: cause.into() }
    }

    /// As [`new`](Self::new), where the store did not answer in time.
    pub fn timed_out(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: BackendErrorKind::TimedOut, cause: cause.into() }
    }

    /// As [`new`](Self::new), where the store is set up in a way in which it can't keep what a
    /// [`Backend`](crate::backend::Backend) promises. The cause says what to change.
    pub fn misconfigured(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: BackendErrorKind::Misconfigured, cause: cause.into() }
    }

    /// For a log, in which `Display` alone says little.
    pub(crate) fn cause(&self) -> &(dyn Error + 'static) {
        &*self.cause
    }

    /// It did not answer in time, be it in the backend's own or in the
    /// [hub's](crate::PublisherBuilder::timeout).
    pub fn is_timeout(&self) -> bool {
        self.kind == BackendErrorKind::TimedOut
    }

    /// The store answers, but is set up in a way in which it would lose events silently, or denies what is needed to know.
    /// Nothing was done. The cause, in `source()`, says what to change; until then every call fails like this.
    pub fn is_misconfigured(&self) -> bool {
        self.kind == BackendErrorKind::Misconfigured
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BackendErrorKind::Failed => "the backend failed",
            BackendErrorKind::TimedOut => "the backend did not answer in time",
            BackendErrorKind::Misconfigured => "the backend is not set up for this",
        })
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause())
    }
}
