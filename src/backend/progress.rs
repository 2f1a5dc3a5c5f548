//! How a read that takes its time says that it goes on.

use std::sync::Arc;

use tokio::time::Instant;

use crate::sync::{Mutex, lock};

/// Says that a [read](super::Backend::read_paged) goes on. Clones are the same.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// Of a read that begins now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Something has come: from now on the node waits once more for as long as a call may take.
    pub fn made(&self) {
        *lock(&self.0) = Instant::now();
    }

    /// When something came last.
    pub(crate) fn last(&self) -> Instant {
        *lock(&self.0)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
