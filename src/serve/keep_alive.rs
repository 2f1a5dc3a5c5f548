//! What a reader is sent while its stream is idle. `idle` decides when.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::idle::Interval;
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
    comment: Option<Comment>,
    event: Option<EventName>,
    /// The interval, and the bytes of the comment and the event.
    pulse: Pulse,
}

impl KeepAlive {
    /// Sends a bare comment after each `interval` in which nothing else was sent. An `interval` of zero turns
    /// keep-alives off, and the shortest is one millisecond.
    ///
    /// One timer serves the idle streams of a runtime. A keep-alive may therefore be late by up to a sixteenth of the
    /// interval, though by no more than 256 milliseconds, or by a millisecond if the interval is shorter than 32. Clients
    /// should wait for longer than one interval before they take a stream for dead.
    pub fn every(interval: Duration) -> Self {
        let pulse = Pulse(Some(Arc::new(Beat { interval: Interval::of(interval), line: Bytes::from_static(BARE) })));
        Self { comment: None, event: None, pulse }
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
        self.pulse = Pulse(Some(Arc::new(Beat { interval: self.pulse.interval(), line: line.into() })));
        self
    }

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.pulse.interval().map(Interval::duration)
    }

    pub(crate) fn into_pulse(self) -> Pulse {
        self.pulse
    }
}

/// A bare comment after 15 seconds.
impl Default for KeepAlive {
    fn default() -> Self {
        Self { comment: None, event: None, pulse: Pulse::default() }
    }
}

/// What keeps a stream alive, shared by all streams with the same [`KeepAlive`]. It is a pointer because each stream holds
/// one. `None` is the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Option<Arc<Beat>>);

#[derive(Debug)]
struct Beat {
    /// `None` means never.
    interval: Option<Interval>,
    /// Whole lines.
    line: Bytes,
}

/// A bare comment.
const BARE: &[u8] = b":\n";

impl Pulse {
    pub(crate) fn interval(&self) -> Option<Interval> {
        match &self.0 {
            Some(beat) => beat.interval,
            None => Interval::of(Duration::from_secs(15)),
        }
    }

    pub(crate) fn line(&self) -> Bytes {
        self.0.as_ref().map_or(Bytes::from_static(BARE), |beat| beat.line.clone())
    }
}

impl PartialEq for Pulse {
    fn eq(&self, other: &Self) -> bool {
        (self.interval(), self.line()) == (other.interval(), other.line())
    }
}

impl Eq for Pulse {}
