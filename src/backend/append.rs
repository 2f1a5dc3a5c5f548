//! Events on their way to a backend, and the result of appending them.

use std::fmt;

use bytes::Bytes;

use crate::{
    log::Retention,
    wire::{
        cursor::Cursor,
        encode::Draft,
        except::Except,
        name::{ChannelName, ClientId, CustomId, IdempotencyKey},
    },
};

/// Events to append to one channel in one step: all of them, or none.
#[derive(Clone)]
#[non_exhaustive]
pub struct Append {
    /// The channel to append to.
    pub channel: ChannelName,
    /// The events, in order. There is at least one, unless this only [finishes](Self::last) the channel.
    pub events: Vec<NewEvent>,
    /// What the channel may hold, according to the node's setting. `None` if the node has no setting and leaves that to
    /// [others](super::Backend::hold).
    pub retention: Option<Retention>,
    /// The fence of the writer, if it has one.
    pub fence: Option<u64>,
    /// What the channel's last event has to be, if that matters to the writer.
    pub expected: Option<Expected>,
    /// Whether this finishes the channel. No event is accepted after it.
    pub last: bool,
}

/// An event to append.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewEvent {
    /// The client that the event is for, if it is for one client only.
    pub client: Option<ClientId>,
    /// The event's bytes on the wire without the id, encoded once. A store does not look into them.
    pub bytes: Bytes,
    /// The application's own id.
    pub id: Option<CustomId>,
    /// The key by which a repeated append is recognised.
    pub key: Option<IdempotencyKey>,
    /// The readers that the event is not for, if there are any.
    pub except: Option<Except>,
}

/// What the last event of a channel has to be for an append to happen.
///
/// More conditions may be added. A store refuses an append with a condition that it does not know as a
/// [`Conflict`](Appended::Conflict).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// No event: nothing has been appended to the channel, as far as the store knows, or nothing since it was closed.
    Nothing,
    /// The event at this cursor, whether or not it is still held.
    At(Cursor),
}

impl Append {
    /// Creates an append of these events, without a condition, that does not finish the channel.
    pub fn new(channel: ChannelName, events: Vec<NewEvent>, retention: impl Into<Option<Retention>>) -> Self {
        Self { channel, events, retention: retention.into(), fence: None, expected: None, last: false }
    }
}

impl NewEvent {
    /// Creates a broadcast of these bytes, without a custom id or a key.
    pub fn new(bytes: Bytes) -> Self {
        Self { client: None, bytes, id: None, key: None, except: None }
    }

    /// Returns what the event counts against [`Retention::max_bytes`](crate::Retention::max_bytes) at this cursor.
    pub fn cost(&self, cursor: Cursor) -> usize {
        cost(self.bytes.len(), self.id.as_ref(), cursor)
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("channel", &self.channel).field("events", &self.events).finish_non_exhaustive()
    }
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// The result of an append that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Appended {
    /// The events are in the log. Contains the place of each, in order; if there were no events, the place of the
    /// channel's end.
    At(Vec<Placed>),
    /// Refused: the channel is finished.
    Finished,
    /// Refused: the channel already holds one of these custom ids for a reader that would get both events, or two of
    /// these events have the same custom id.
    DuplicateId,
    /// Refused: the channel has seen this higher fence.
    Fenced(u64),
    /// Refused: the channel's last event is not the expected one. It is at this cursor, or there is none if this is
    /// `None`.
    Conflict(Option<Cursor>),
}

/// Where an event is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placed {
    /// The event's cursor.
    pub cursor: Cursor,
    /// Whether an event with the same idempotency key is or was in the log. If so, this is that event's place, and
    /// nothing was appended.
    pub repeated: bool,
    /// The custom id of that event, if it is repeated and has one.
    pub id: Option<CustomId>,
}

impl Placed {
    /// Creates the place of an event that was appended.
    pub fn new(cursor: Cursor) -> Self {
        Self { cursor, repeated: false, id: None }
    }

    /// Creates the place of the first event with an idempotency key.
    pub fn repeated(cursor: Cursor, id: Option<CustomId>) -> Self {
        Self { cursor, repeated: true, id }
    }
}

/// Returns what an event of `len` bytes, not counting its id, counts against a limit in bytes.
pub(super) fn cost(len: usize, id: Option<&CustomId>, cursor: Cursor) -> usize {
    Retention::cost(len + Draft::id_len(id, cursor.offset))
}
