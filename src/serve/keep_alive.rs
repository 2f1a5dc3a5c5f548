//! What is sent to a reader when there is nothing to send; `idle` knows when.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::wire::{encode::write_comment, name::Comment};

/// The idle comment: a line that clients skip, sent when nothing else was for an interval, so that proxies don't take
/// the stream for dead. "Authors can include a comment line (one starting with a ':' character) every 15 seconds or so"
/// ([HTML, 9.2.7][notes]), which is the default.
///
/// No blank line follows it: several clients would take that for an empty event.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::{Comment, KeepAlive, Route};
///
/// let keep_alive = KeepAlive::every(Duration::from_secs(30)).text(Comment::from_static("still here"));
/// let route = Route::new("/sse/{channel}").keep_alive(keep_alive);
/// ```
///
/// [notes]: https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a keep-alive does nothing until a route or a body has it"]
pub struct KeepAlive {
    /// `None` is never; never zero.
    interval: Option<Duration>,
    line: Line,
}

impl KeepAlive {
    /// A bare comment after each `interval` without anything else. An interval of zero turns it off. The runtime's timer
    /// counts in milliseconds.
    pub fn every(interval: Duration) -> Self {
        Self { interval: Some(interval).filter(|interval| !interval.is_zero()), line: Line::default() }
    }

    /// None: for streams that nothing stands in front of. Such a stream needs no timer of the runtime either, unless its
    /// grant expires.
    pub fn off() -> Self {
        Self::every(Duration::ZERO)
    }

    /// What the comment says; by default nothing. It costs its length on every idle connection.
    pub fn text(mut self, text: Comment) -> Self {
        let mut line = Vec::new();
        write_comment(&mut line, Some(&text));
        self.line = Line(Some(Arc::new(line.into())));
        self
    }

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    pub(crate) fn into_line(self) -> Line {
        self.line
    }
}

/// A bare comment after 15 seconds.
impl Default for KeepAlive {
    fn default() -> Self {
        Self::every(Duration::from_secs(15))
    }
}

/// The whole line, shared by all streams that send it; by default a bare comment. A pointer, for each stream holds one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Line(Option<Arc<Bytes>>);

impl Line {
    pub(crate) fn bytes(&self) -> Bytes {
        self.0.as_deref().cloned().unwrap_or(Bytes::from_static(b":\n"))
    }
}
