//! What higher floors need to know of a hub.

use super::Publisher;
use crate::{log::Retention, wire::name::ChannelName};

impl Publisher {
    /// Whether the log lives in a store, which other nodes may share.
    pub(crate) fn is_shared(&self) -> bool {
        self.handle.remote.is_some()
    }

    /// Has a hub hold more or less of some channels than its settings say. The first call counts.
    pub(crate) fn adjust(&self, adjust: impl Fn(&ChannelName, Retention) -> Option<Retention> + Send + Sync + 'static) {
        // An error says that there is one.
        let _ = self.handle.hub.adjust.set(Box::new(adjust));
    }
}
