//! What a publish returns.

use crate::wire::{
    cursor::{Cursor, EventId},
    name::CustomId,
};

/// The result of publishing an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The event's id on the wire.
    pub id: EventId,
    /// The event's position in the log. If the event has no custom id, this is also its [`id`](Self::id).
    pub cursor: Cursor,
    /// The number of connections in this process that the event is for: those that read the channel or, for a targeted
    /// event, the client's among them. Each of them gets the event, or a gap if it is too slow. If the hub spans
    /// several processes, [`Channel::presence`](crate::Channel::presence) tells you who reads in the others.
    pub reached: usize,
    /// Whether an event with the same [idempotency key](crate::Event::idempotency_key) was sent before. If so, `id`
    /// and `cursor` are those of the earlier event, and no reader gets this one.
    pub repeated: bool,
}

impl Sent {
    /// Creates the result for an event at this cursor, with this custom id.
    pub(crate) fn new(cursor: Cursor, custom: Option<CustomId>, reached: usize, repeated: bool) -> Self {
        Self { id: custom.map_or_else(|| cursor.into(), EventId::from), cursor, reached, repeated }
    }
}
