//! What higher floors need to know about a hub.

use super::Publisher;
use crate::{log::Retention, wire::name::ChannelName};

impl Publisher {
    /// Returns whether the log lives in a store, which other nodes may share.
    pub(crate) fn is_shared(&self) -> bool {
        self.handle.remote.is_some()
    }

    /// Makes a hub hold more or less of some channels than its settings say. Only the first call has an effect.
    pub(crate) fn adjust(&self, adjust: impl Fn(&ChannelName, Retention) -> Option<Retention> + Send + Sync + 'static) {
        // An error means that one was set before.
        let _ = self.handle.hub.adjust.set(Box::new(adjust));
    }
}
