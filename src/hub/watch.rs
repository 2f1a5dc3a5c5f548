//! Who observes streams: the hooks of the application, and the subscribers of their spans.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tokio::time::Instant;

use super::life::{Closed, Life, Opened, StreamSpan};
use crate::{meter::Meter, trace::debug};

type Hook<T> = Box<dyn Fn(&T) + Send + Sync>;

/// Who observes the streams of a hub.
#[derive(Default)]
pub(crate) struct Watch {
    on_open: Vec<Hook<Opened>>,
    on_close: Vec<Hook<Closed>>,
    /// Whether spans name the client.
    pub(crate) names_clients: bool,
}

impl Watch {
    pub(crate) fn on_open(&mut self, hook: impl Fn(&Opened) + Send + Sync + 'static) {
        self.on_open.push(Box::new(hook));
    }

    pub(crate) fn on_close(&mut self, hook: impl Fn(&Closed) + Send + Sync + 'static) {
        self.on_close.push(Box::new(hook));
    }

    /// Whether streams keep records, for hooks or for the meter.
    pub(crate) fn is_on(&self) -> bool {
        Meter::KEEPS_RECORDS || self.wants_names()
    }

    /// Whether anything uses the names of channels and clients.
    pub(super) fn wants_names(&self) -> bool {
        !self.on_open.is_empty() || !self.on_close.is_empty() || StreamSpan::is_on()
    }

    /// Begins the record of a stream that was requested at this time, or now. Returns `None` if nobody observes it.
    pub(super) fn record(&self, asked: Option<Instant>) -> Option<Box<Life>> {
        self.is_on().then(|| Box::new(Life::new(asked)))
    }

    /// Reports a stream whose record has begun. Hooks run in its span.
    pub(super) fn opened(&self, life: &mut Life) {
        let Some(opened) = life.opened() else { return };
        let span = StreamSpan::open(opened, self.names_clients);
        span.in_scope(|| call(&self.on_open, opened));
        life.span = span;
    }

    pub(super) fn closed(&self, closed: &Closed, span: &StreamSpan) {
        span.close(closed);
        span.in_scope(|| call(&self.on_close, closed));
    }
}

/// Calls the application's code. A panic in it must not end a stream, and would abort the process if it came while the
/// stream is dropped in another panic.
fn call<T>(hooks: &[Hook<T>], of: &T) {
    for hook in hooks {
        if catch_unwind(AssertUnwindSafe(|| hook(of))).is_err() {
            debug!("a hook panicked");
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}
