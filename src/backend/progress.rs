//! How a long read reports that it makes progress.

use std::sync::Arc;

use tokio::time::Instant;

use crate::sync::{Mutex, lock};

/// Reports that a [read](super::Backend::read_paged) makes progress. All clones report for the same read.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// Creates the progress of a read that begins now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Reports that something has arrived. From now on, the node waits once more for as long as a call may take.
    pub fn made(&self) {
        *lock(&self.0) = Instant::now();
    }

    /// Returns when something last arrived.
    pub(crate) fn last(&self) -> Instant {
        *lock(&self.0)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
