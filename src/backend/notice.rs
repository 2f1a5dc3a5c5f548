//! Notices from one node to all others, through the store.

use std::sync::Arc;

/// A small message from one node to all nodes of a hub, for example that a client is to be disconnected.
///
/// A store passes the text on unchanged, and does not look into it. Nodes ignore what they don't understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(Arc<str>);

impl Notice {
    /// Creates a notice from the text of another one.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns its text: a few hundred bytes at most.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
