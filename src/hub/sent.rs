//! What a publish is answered with.

use crate::wire::cursor::EventId;

/// What became of an event that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Its id on the wire.
    pub id: EventId,
    /// How many connections of this process read the channel, or are the client's there. Each of them gets the event, or a gap
    /// if it is too slow. In a hub of several processes, [`Channel::presence`](crate::Channel::presence) says who reads in
    /// the others.
    pub reached: usize,
    /// An event with its [idempotency key](crate::Event::idempotency_key) had been sent before, whose id this is; nobody gets it
    /// again.
    pub repeated: bool,
}
