//! An event on its way to a backend, and what became of it.

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
    /// For whom it is, if it is for one client only.
    pub client: Option<ClientId>,
    /// Its bytes on the wire but for the id, encoded once; a store does not look into them.
    pub bytes: Bytes,
    /// The application's own id.
    pub id: Option<CustomId>,
    /// By which a repeated append is known.
    pub key: Option<IdempotencyKey>,
    /// What the channel is to hold, as the node is set; `None` if the node is not set, and leaves that to
    /// [others](super::Backend::hold).
    pub retention: Option<Retention>,
    /// It is the channel's last: no other is taken after it.
    pub last: bool,
}

impl Append {
    /// A broadcast of these bytes, with neither an id nor a key of its own, and not the last.
    pub fn new(channel: ChannelName, bytes: Bytes, retention: impl Into<Option<Retention>>) -> Self {
        Self { channel, client: None, bytes, id: None, key: None, retention: retention.into(), last: false }
    }

    /// What it counts against [`Retention::max_bytes`] at that cursor.
    pub fn cost(&self, cursor: Cursor) -> usize {
        cost(self.bytes.len(), self.id.as_ref(), cursor)
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("channel", &self.channel).field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// What became of an append that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Appended {
    /// It is in the log, here.
    At(Cursor),
    /// One with its idempotency key is in the log, or was, here.
    Before(Cursor),
    /// Refused: the channel is finished.
    Finished,
    /// Refused: its own id is held already for the same readers.
    DuplicateId,
}

/// What an event of `len` bytes without its id counts against a limit in bytes.
pub(super) fn cost(len: usize, id: Option<&CustomId>, cursor: Cursor) -> usize {
    Retention::cost(len + Draft::id_len(id, cursor.offset))
}
