//! What the service `Inspect` asks of the hub, beside what everybody may ask.

use super::{Channel, Publisher};
use crate::hub::inspect::{Found, ReaderInfo, Search};

impl Publisher {
    /// Returns whether the hub has other nodes, so that what this one knows is not all there is.
    pub(crate) fn is_one_of_several(&self) -> bool {
        self.handle.remote.is_some()
    }

    /// Returns channels that have a reader or an event on this node.
    pub(crate) async fn search(&self, search: &Search) -> Found {
        self.handle.hub.search(search).await
    }
}

impl Channel {
    /// Returns up to `limit` readers on this node, starting at the number `from`, and the number to continue with, if
    /// there may be more.
    pub(crate) fn readers(&self, from: u32, limit: usize) -> (Vec<ReaderInfo>, Option<u32>) {
        match &self.name {
            Ok(name) => self.handle.hub.readers_of(name, from, limit),
            Err(_) => (Vec::new(), None),
        }
    }
}
