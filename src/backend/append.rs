//! An event on its way to a backend, and the result of appending it.

use std::fmt;

use bytes::Bytes;

use crate::{
    log::Retention,
    wire::{
        cursor::Cursor,
        encode::Draft,
        name::{ChannelName, ClientId, CustomId, IdempotencyKey},
    },
};

/// An event to append.
#[derive(Clone)]
#[non_exhaustive]
pub struct Append {
    /// Its channel.
    pub channel: ChannelName,
    /// The client it is for, if it is for one client only.
    pub client: Option<ClientId>,
    /// Its bytes on the wire without the id, encoded once. A store does not look into them.
    pub bytes: Bytes,
    /// The application's own id.
    pub id: Option<CustomId>,
    /// The key by which a repeated append is recognised.
    pub key: Option<IdempotencyKey>,
    /// What the channel may hold, as the node is set. `None` if the node has no setting and leaves that to
    /// [others](super::Backend::hold).
    pub retention: Option<Retention>,
    /// Whether it is the channel's last event. No event is accepted after it.
    pub last: bool,
}

impl Append {
    /// Creates a broadcast of these bytes, without a custom id or a key, and not the channel's last event.
    pub fn new(channel: ChannelName, bytes: Bytes, retention: impl Into<Option<Retention>>) -> Self {
        Self { channel, client: None, bytes, id: None, key: None, retention: retention.into(), last: false }
    }

    /// What it counts against [`Retention::max_bytes`](crate::Retention::max_bytes) at this cursor.
    pub fn cost(&self, cursor: Cursor) -> usize {
        cost(self.bytes.len(), self.id.as_ref(), cursor)
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("channel", &self.channel).field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// The result of an append that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Appended {
    /// It is in the log, at this cursor.
    At(Cursor),
    /// An event with its idempotency key is or was in the log.
    Before {
        /// At this cursor.
        cursor: Cursor,
        /// With this custom id, if it had one.
        id: Option<CustomId>,
    },
    /// Refused: the channel is finished.
    Finished,
    /// Refused: the channel already holds its custom id for a reader that would get it.
    DuplicateId,
}

/// What an event of `len` bytes, not counting its id, counts against a limit in bytes.
pub(super) fn cost(len: usize, id: Option<&CustomId>, cursor: Cursor) -> usize {
    Retention::cost(len + Draft::id_len(id, cursor.offset))
}
