//! A client's position, for dialects that have to see what came before it.

use crate::wire::{
    cursor::{Cursor, EventId},
    encoded::EncodedEvent,
};

/// The event that a client got last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position(Cursor);

impl Position {
    /// Reads an id. One that is no position counts as none, so that the client gets everything.
    pub(super) fn of(id: Option<&[u8]>) -> Option<Self> {
        EventId::parse(id?)?.cursor().map(Self)
    }

    /// Whether the client has this event.
    pub(super) fn is_at_or_after(self, event: &EncodedEvent) -> bool {
        event.id().cursor().is_some_and(|cursor| cursor.epoch == self.0.epoch && cursor.offset <= self.0.offset)
    }
}
