//! With the feature `tracing`: events at level `DEBUG`, and spans.

use std::{
    error::Error,
    fmt::{self, Display},
};

use tracing::{
    Instrument, debug_span,
    field::{Empty, display},
};

/// `debug!("message", field = value, ..)`.
macro_rules! debug {
    ($message:literal $(, $field:ident = $value:expr)* $(,)?) => {
        tracing::debug!(target: "tower_sse", $($field = %$value,)* $message)
    };
}

pub(crate) use debug;

/// A span around work that may fail. If nobody listens, it costs a load and a comparison.
pub(crate) struct Span(tracing::Span);

impl Span {
    /// The span of a publish of so many events to a channel.
    pub(crate) fn publish(channel: &impl Display, events: usize) -> Self {
        Self(debug_span!(target: "tower_sse", "publish", %channel, events, error = Empty))
    }

    /// The span of a call to a backend.
    pub(crate) fn backend(call: &'static str) -> Self {
        Self(debug_span!(target: "tower_sse", "backend", call, error = Empty))
    }

    /// Enters the span while `work` runs. Always inline, because otherwise what `work` takes along is copied.
    #[inline(always)]
    pub(crate) fn scope<T, E: Error + 'static>(self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let entered = self.0.enter();
        let result = work();
        drop(entered);
        self.done(&result);
        result
    }

    /// Enters the span whenever `work` is polled.
    pub(crate) async fn around<T, E: Error + 'static>(self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let result = work.instrument(self.0.clone()).await;
        self.done(&result);
        result
    }

    fn done<T, E: Error + 'static>(&self, result: &Result<T, E>) {
        if let Err(error) = result {
            self.0.record("error", display(Chain(error)));
        }
    }
}

/// An error with its causes, since the crate's errors leave these to `source`.
struct Chain<'a>(&'a (dyn Error + 'static));

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}
