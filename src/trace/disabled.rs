//! Without the feature `tracing`: nothing.

use std::fmt::Display;

macro_rules! debug {
    ($message:literal $(, $field:ident = $value:expr)* $(,)?) => {
        { $(let _ = &$value;)* }
    };
}

pub(crate) use debug;

pub(crate) struct Span;

impl Span {
    #[inline]
    pub(crate) fn publish(_channel: &impl Display, _events: usize) -> Self {
        Self
    }

    pub(crate) fn backend(_call: &'static str) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }

    pub(crate) fn around<F: Future>(self, work: F) -> F {
        work
    }
}
