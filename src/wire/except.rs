//! Whom an event is not for.

use super::name::{ClientId, ConnectionId};

/// The readers that don't get an event: the connections of a client, a connection, or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Except {
    /// All connections of this client.
    pub client: Option<ClientId>,
    /// The connections that were opened under this id.
    pub connection: Option<ConnectionId>,
}

impl Except {
    /// Whether it excludes a reader with this identity.
    pub(crate) fn excludes(&self, client: Option<&ClientId>, connection: Option<&ConnectionId>) -> bool {
        let is = |excluded: &Option<ClientId>| excluded.is_some() && excluded.as_ref() == client;
        is(&self.client) || (self.connection.is_some() && self.connection.as_ref() == connection)
    }

    /// What its texts take from the allocator.
    pub(crate) fn heap(&self) -> usize {
        self.client.as_ref().map_or(0, ClientId::heap) + self.connection.as_ref().map_or(0, ConnectionId::heap)
    }
}
