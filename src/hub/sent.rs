//! What a publish returns.

use crate::wire::cursor::EventId;

/// The result of publishing an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The event's id on the wire.
    pub id: EventId,
    /// The number of connections in this process that the event is for: those that read the channel, or the client's
    /// among them if the event is targeted. Each of them gets the event, or a gap if it is too slow. If the hub spans
    /// several processes, [`Channel::presence`](crate::Channel::presence) tells you who reads in the others.
    pub reached: usize,
    /// Whether an event with the same [idempotency key](crate::Event::idempotency_key) had been sent before. Then `id`
    /// is the id of that event, and no reader gets this one.
    pub repeated: bool,
}
