//! How many streams somebody has open on a node.

use std::sync::Arc;

/// How many streams a node has open for one client whose streams are limited.
///
/// The limit is for all nodes together, so the store adds up what each node has told it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Streams {
    /// A random number that identifies the node as long as it runs.
    pub node: u64,
    /// Whose streams they are: a text that is the same on all nodes.
    pub holder: Arc<str>,
    /// How many are open on this node now, including the one that is about to open.
    pub open: usize,
    /// How many may be open on all nodes together, if one is about to open. `None` if one has ended. If several are about
    /// to open at the same time, the node adds those that come after this one.
    pub max: Option<usize>,
}

impl Streams {
    pub(crate) fn new(node: u64, holder: Arc<str>, open: usize, max: Option<usize>) -> Self {
        Self { node, holder, open, max }
    }
}
