//! The span of a stream, without the feature `tracing`: nothing.

use super::{Closed, Opened};

pub(crate) struct StreamSpan;

impl StreamSpan {
    pub(crate) const NONE: Self = Self;

    pub(crate) fn is_on() -> bool {
        false
    }

    pub(crate) fn open(_opened: &Opened, _names_client: bool) -> Self {
        Self
    }

    pub(crate) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }

    pub(crate) fn close(&self, _closed: &Closed) {}
}
