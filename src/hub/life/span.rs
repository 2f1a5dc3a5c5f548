//! The span of a stream, with the feature `tracing`. It is created when the stream opens, and gets the rest of its fields
//! when the stream ends. It is not entered while the stream is polled, since that costs more than the rest of its life.

use std::time::Duration;

use tracing::{Level, Span, field::Empty};

use super::{Closed, Opened, Resumed};

/// The span of one stream.
pub(crate) struct StreamSpan(Span);

impl StreamSpan {
    pub(crate) const NONE: Self = Self(Span::none());

    /// Whether somebody listens.
    pub(crate) fn is_on() -> bool {
        tracing::span_enabled!(target: "tower_sse", Level::INFO)
    }

    /// Opens the span, as a child of the current one.
    pub(crate) fn open(opened: &Opened, names_client: bool) -> Self {
        if !Self::is_on() {
            return Self::NONE;
        }
        let channels = opened.channels.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",");
        let resumed = match opened.resumed {
            Resumed::Fresh => "fresh",
            Resumed::Exact => "exact",
            Resumed::Gap(reason) => reason.as_str(),
        };
        let span = tracing::info_span!(
            target: "tower_sse",
            "stream",
            channels,
            client = Empty,
            resumed,
            after = %opened.cursor,
            end = Empty,
            duration_ms = Empty,
            first_byte_ms = Empty,
            events = Empty,
            replayed = Empty,
            bytes = Empty,
            gaps = Empty,
        );
        if names_client && let Some(client) = &opened.client {
            span.record("client", client.as_str());
        }
        Self(span)
    }

    /// Does something that belongs to the stream.
    pub(crate) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.in_scope(work)
    }

    /// Notes how the stream ended.
    pub(crate) fn close(&self, closed: &Closed) {
        let Self(span) = self;
        span.record("end", closed.ending.as_str());
        span.record("duration_ms", millis(closed.duration));
        if let Some(first_byte) = closed.first_byte {
            span.record("first_byte_ms", millis(first_byte));
        }
        span.record("events", closed.events);
        span.record("replayed", closed.replayed);
        span.record("bytes", closed.bytes);
        span.record("gaps", closed.gaps);
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
