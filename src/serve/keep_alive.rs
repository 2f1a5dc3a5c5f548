//! What a reader is sent while its stream is idle. `idle` decides when.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::wire::{
    encode::{write_comment, write_empty_event},
    name::{Comment, EventName},
};

/// What a stream sends after an interval in which it sent nothing else. It keeps proxies from closing an idle
/// connection, and lets the server notice that a client is gone.
///
/// The default is a comment after 15 seconds, a line that clients skip: "authors can include a comment line (one
/// starting with a ':' character) every 15 seconds or so" ([HTML, 9.2.7][notes]). No blank line follows the comment,
/// because several clients would take that for an empty event.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::{Comment, KeepAlive, Route};
///
/// let keep_alive = KeepAlive::every(Duration::from_secs(30)).text(Comment::from_static("still here"));
/// let route = Route::new("/sse/{channel}").keep_alive(keep_alive);
/// ```
///
/// A page does not see comments, so it can't tell a dead connection from a quiet channel. If yours has to, send an
/// [event](Self::event) instead.
///
/// [notes]: https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a keep-alive does nothing until it is set on a route or a body"]
pub struct KeepAlive {
    /// `None` means never. It is never zero.
    interval: Option<Duration>,
    comment: Option<Comment>,
    event: Option<EventName>,
    /// The bytes of the comment and the event.
    line: Line,
}

impl KeepAlive {
    /// Sends a bare comment after each `interval` in which nothing else was sent. An `interval` of zero turns
    /// keep-alives off. The resolution is that of the runtime's timer, one millisecond.
    pub fn every(interval: Duration) -> Self {
        let interval = Some(interval).filter(|interval| !interval.is_zero());
        Self { interval, comment: None, event: None, line: Line::default() }
    }

    /// Turns keep-alives off, for streams that don't go through proxies. The server may then not notice for a long time
    /// that a client on an idle stream has vanished. Such a stream needs no runtime timer, unless it coalesces or its
    /// grant expires.
    pub fn off() -> Self {
        Self::every(Duration::ZERO)
    }

    /// Sets the comment's text. The default is none, which makes the shortest keep-alive: two bytes.
    pub fn text(mut self, text: Comment) -> Self {
        self.comment = Some(text);
        self.encoded()
    }

    /// Sends an event of this name, with empty data and without an id, instead of the bare comment. Off by default.
    ///
    /// A page that listens to the event can tell that the stream is alive, and open another one when nothing has
    /// arrived for longer than the interval. The event does not change the last event id. A client that handles every
    /// event must ignore the one with empty data.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_sse::{EventName, KeepAlive, Route};
    ///
    /// let ping = KeepAlive::every(Duration::from_secs(15)).event(EventName::from_static("ping"));
    /// let route = Route::new("/sse/{channel}").keep_alive(ping);
    /// ```
    ///
    /// ```js
    /// function open(id) {
    ///     const source = new EventSource("/sse/news" + (id ? `?last_event_id=${id}` : ""));
    ///     const dead = () => { source.close(); open(id); };
    ///     let timer = setTimeout(dead, 45_000);
    ///     const alive = (event) => { id = event.lastEventId; clearTimeout(timer); timer = setTimeout(dead, 45_000); };
    ///     source.addEventListener("ping", alive);
    ///     source.addEventListener("message", alive);
    /// }
    /// ```
    pub fn event(mut self, name: EventName) -> Self {
        self.event = Some(name);
        self.encoded()
    }

    /// Encodes the line that the comment and the event make.
    fn encoded(mut self) -> Self {
        let mut line = Vec::new();
        if let Some(comment) = &self.comment {
            write_comment(&mut line, Some(comment));
        }
        if let Some(name) = &self.event {
            write_empty_event(&mut line, name);
        }
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

/// The bytes of a keep-alive: whole lines, shared by all streams that send them; a bare comment by default. It is a
/// pointer because each stream holds one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Line(Option<Arc<Bytes>>);

impl Line {
    pub(crate) fn bytes(&self) -> Bytes {
        self.0.as_deref().cloned().unwrap_or(Bytes::from_static(b":\n"))
    }
}
