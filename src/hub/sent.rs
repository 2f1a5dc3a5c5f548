//! What a publish is answered with.

use crate::wire::cursor::EventId;

/// What became of an event that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Its id on the wire.
    pub id: EventId,
    /// How many connections read the channel on this node, or are the client's there: each of them gets it, or a gap if it
    /// is too slow. A node that only publishes to a remote backend reaches none by itself:
    /// [`Channel::presence`](crate::Channel::presence) says who reads on the others.
    pub reached: usize,
    /// An event with its [idempotency key](crate::Event::idempotency_key) had been sent before, whose id this is; nobody gets it
    /// again.
    pub repeated: bool,
}
