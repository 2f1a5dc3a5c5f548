//! The record of a stream's life: how it began, what it was sent, and how it ended.
//!
//! Only hubs that something [observes](super::watch) keep records. The counts are plain numbers in the subscription, so
//! streams share nothing. Observers are called twice: when the stream opens and when it ends.

#[cfg(not(feature = "tracing"))]
#[path = "life/no_span.rs"]
mod span;
#[cfg(feature = "tracing")]
mod span;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::span::StreamSpan;
use crate::wire::{
    cursor::{Cursor, Offset},
    name::{ChannelName, ClientId},
    notice::{EndReason, GapReason},
};

/// What a [`Subscription`](crate::Subscription) found when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resumed {
    /// The reader had no last event id. It starts where the options [say](crate::OpenOptions::start).
    Fresh,
    /// The reader continues after its last event id and has missed nothing.
    Exact,
    /// The reader may have missed events, and gets a [`Gap`](crate::Gap) first. A reader without an id gets one only if
    /// it asked for the [whole](crate::Start::Whole) channel.
    Gap(GapReason),
}

/// A stream that was opened, as the hook of [`PublisherBuilder::on_open`](crate::PublisherBuilder::on_open) sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Opened {
    /// The channels that the stream reads.
    pub channels: Vec<ChannelName>,
    /// The client that the connection is bound to by its [`Grant`](crate::Grant).
    pub client: Option<ClientId>,
    /// How the stream began: fresh, resumed without a loss, or with a gap.
    pub resumed: Resumed,
    /// The position after which the stream starts.
    pub cursor: Cursor,
    /// How long opening the stream took. If the layer answers the request, the time starts with the request, so it includes
    /// the authorizer. Otherwise, it starts with the call to [`OpenOptions::open`](crate::OpenOptions::open).
    pub took: Duration,
}

/// A stream that has ended, as the hook of [`PublisherBuilder::on_close`](crate::PublisherBuilder::on_close) sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Closed {
    /// How the stream began.
    pub opened: Opened,
    /// Why the stream ended.
    pub ending: Ending,
    /// How long it was open.
    pub duration: Duration,
    /// How long the reader waited for its first bytes: [`Opened::took`], plus the time until the server took them from the
    /// body. `None` if the server took none.
    pub first_byte: Option<Duration>,
    /// The number of events that were delivered. Events that a [filter](crate::SseBody::filter) leaves out don't count.
    /// Events that a [transform](crate::SseBody::transform) gets count, whatever it does with them.
    pub events: u64,
    /// How many of these events were delivered before the reader had caught up for the first time: events that it had
    /// missed, or the history with which it started. Later events in the same chunk count, too.
    pub replayed: u64,
    /// The number of bytes that the server took from the body, including keep-alives, but without HTTP's framing. For a
    /// [`Subscription`](crate::Subscription) that is read without a body, the bytes of its events.
    pub bytes: u64,
    /// The number of [gaps](crate::Gap) that the reader was told of, including one with which the stream began.
    pub gaps: u64,
    /// The position up to which every event was delivered, or was lost and reported in a gap.
    pub cursor: Cursor,
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The subscription ended. A [strict](crate::SseBody::strict) body broke off, unless the reason is
    /// [`EndReason::Finished`].
    Ended(EndReason),
    /// The stream was dropped before its end, usually because the client has left.
    Left,
    /// The time that [`close_after`](crate::SseBody::close_after) sets was over, and the client polls for the rest.
    Elapsed,
    /// A [strict](crate::SseBody::strict) body broke off because events may have been lost.
    Gap(GapReason),
    /// A [transform](crate::Output::finish) finished the body.
    Completed,
    /// A [transform](crate::Output::break_off) broke the body off.
    BrokenOff,
}

impl Ending {
    /// Returns a text for logs and the labels of metrics: that of the [`EndReason`] or the [`GapReason`], or `left`,
    /// `elapsed`, `completed` or `broken-off`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ended(reason) => reason.as_str(),
            Self::Left => "left",
            Self::Elapsed => "elapsed",
            Self::Gap(reason) => reason.as_str(),
            Self::Completed => "completed",
            Self::BrokenOff => "broken-off",
        }
    }
}

/// The record of one stream.
pub(crate) struct Life {
    /// When the stream was requested.
    asked: Instant,
    /// How the stream began. `None` until nothing can refuse it any more.
    began: Option<Began>,
    first_byte: Option<Duration>,
    events: u64,
    bytes: u64,
    replayed: u64,
    gaps: u64,
    /// Whether the reader has caught up at least once.
    caught_up: bool,
    /// Whether the reader waits for events after `upto`.
    waits: bool,
    upto: Offset,
    /// How the body says that it ended.
    ending: Option<Ending>,
    pub(super) span: StreamSpan,
}

struct Began {
    at: Instant,
    opened: Opened,
    /// The last offset that the hub had assigned at that time.
    last: Offset,
}

impl Life {
    pub(super) fn new(asked: Option<Instant>) -> Self {
        Self {
            asked: asked.unwrap_or_else(Instant::now),
            began: None,
            first_byte: None,
            events: 0,
            bytes: 0,
            replayed: 0,
            gaps: 0,
            caught_up: false,
            waits: false,
            upto: Offset::START,
            ending: None,
            span: StreamSpan::NONE,
        }
    }

    /// Notes how the stream begins. `last` is the last offset that the hub has assigned.
    pub(super) fn begin(
        &mut self,
        channels: Vec<ChannelName>,
        client: Option<ClientId>,
        resumed: Resumed,
        cursor: Cursor,
        last: Offset,
    ) {
        let at = Instant::now();
        self.gaps = matches!(resumed, Resumed::Gap(_)).into();
        (self.caught_up, self.upto) = (cursor.offset >= last, cursor.offset);
        let opened = Opened { channels, client, resumed, cursor, took: at.saturating_duration_since(self.asked) };
        self.began = Some(Began { at, opened, last });
    }

    /// Returns how many bytes the record takes from the allocator. It shares the names with the channels.
    pub(super) fn footprint(&self) -> usize {
        let names = self.opened().map_or(0, |opened| opened.channels.capacity());
        size_of::<Self>() + names * size_of::<ChannelName>()
    }

    pub(super) fn opened(&self) -> Option<&Opened> {
        self.began.as_ref().map(|began| &began.opened)
    }

    /// Returns the offset after which a reader that waited has taken events up to `last`.
    #[inline]
    pub(super) fn woken(&mut self, last: Offset) -> Option<Offset> {
        let before = std::mem::replace(&mut self.upto, last);
        std::mem::take(&mut self.waits).then_some(before)
    }

    /// Notes that events up to and including `last` were delivered. Returns how many of them count as replayed.
    #[inline]
    pub(super) fn delivered(&mut self, events: u64, last: Offset) -> u64 {
        self.events += events;
        if self.caught_up {
            return 0;
        }
        self.replayed += events;
        self.caught_up = self.began.as_ref().is_none_or(|began| last >= began.last);
        events
    }

    /// Notes that bytes were taken. If they are the first ones, returns how long the reader has waited for them.
    #[inline]
    pub(super) fn sent(&mut self, bytes: u64) -> Option<Duration> {
        self.bytes += bytes;
        match self.first_byte {
            Some(_) => None,
            None => {
                self.first_byte = Some(self.asked.elapsed());
                self.first_byte
            }
        }
    }

    /// Notes that there is nothing left to read.
    #[inline]
    pub(super) fn catches_up(&mut self) {
        (self.caught_up, self.waits) = (true, true);
    }

    pub(super) fn misses(&mut self) {
        self.gaps += 1;
    }

    /// Notes how the body ends.
    pub(super) fn ends(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Returns the whole record. `end` is the end of the subscription, if it has come. `None` if the stream was refused
    /// before it began.
    pub(super) fn over(self, end: Option<EndReason>, cursor: Cursor) -> Option<(Closed, StreamSpan)> {
        let Began { at, opened, .. } = self.began?;
        let closed = Closed {
            opened,
            ending: self.ending.or(end.map(Ending::Ended)).unwrap_or(Ending::Left),
            duration: at.elapsed(),
            first_byte: self.first_byte,
            events: self.events,
            replayed: self.replayed,
            bytes: self.bytes,
            gaps: self.gaps,
            cursor,
        };
        Some((closed, self.span))
    }
}
