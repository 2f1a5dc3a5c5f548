//! What a node keeps for its talk with the others, which is in `talk`.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, task::AbortHandle};

use super::lease::Peers;
use crate::{sync::Mutex, wire::name::ChannelName};

/// A node's part in it.
pub(super) struct Control {
    pub(super) peers: Mutex<Peers>,
    /// Somebody else is watched.
    pub(super) changed: Arc<Notify>,
    /// The runs that are watched for a while although nobody here depends on them.
    pub(super) asked_about: Mutex<HashSet<ChannelName>>,
    /// The runs that have moved to another node since they are watched, with the fence of their producer there.
    pub(super) follows: Mutex<HashSet<(ChannelName, u64)>>,
    lease_millis: AtomicU64,
    /// The tasks that listen and say that this node is alive. Locked while they are started.
    pub(super) tasks: tokio::sync::Mutex<Vec<AbortHandle>>,
}

impl Default for Control {
    fn default() -> Self {
        let lease_millis = AtomicU64::new(10_000);
        Self {
            peers: Mutex::default(),
            changed: Arc::default(),
            asked_about: Mutex::default(),
            follows: Mutex::default(),
            lease_millis,
            tasks: tokio::sync::Mutex::default(),
        }
    }
}

impl Control {
    pub(super) fn set_lease(&self, lease: Duration) {
        let millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(100);
        self.lease_millis.store(millis, Ordering::Release);
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_millis.load(Ordering::Acquire))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.tasks.get_mut().iter().for_each(AbortHandle::abort);
    }
}
