//! Waiting until nobody has read a channel for some time.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{engine::Hub, state::Shared};
use crate::wire::name::ChannelName;

/// One task that waits.
struct Watch<'a> {
    hub: &'a Hub,
    channel: Arc<Shared>,
    changed: Arc<Notify>,
}

impl<'a> Watch<'a> {
    /// Begins to wait. Returns `None` if there may be no more channels; the channel then does not exist, and nobody
    /// reads it.
    fn begin(hub: &'a Hub, name: &ChannelName) -> Option<Self> {
        hub.with_channel(name, |shared, state| Self {
            hub,
            channel: shared.clone(),
            changed: state.keep_vigil().changed.clone(),
        })
    }

    /// Returns when the last reader left, or `Some(None)` while the channel is read. Returns `None` if the channel is
    /// gone.
    fn left(&self) -> Option<Option<Instant>> {
        let state = self.channel.look();
        state.vigil().filter(|_| !state.dropped).map(|vigil| vigil.left)
    }

    /// Waits until nobody has read the channel for `after`, counted from `since` at the earliest. Returns `false` if
    /// the channel is gone.
    async fn wait(&self, since: Instant, after: Duration) -> bool {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let Some(left) = self.left() else { return false };
            let Some(left) = left else {
                changed.await;
                continue;
            };
            // A time too far in the future never comes.
            let due = left.max(since).checked_add(after);
            match due {
                Some(due) if due <= Instant::now() => return true,
                Some(due) => drop(timeout_at(due, changed).await),
                None => changed.await,
            }
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut state = self.channel.change();
        state.end_vigil();
        let idle = state.is_idle() && !state.dropped;
        drop(state);
        if idle {
            self.hub.drop_if_idle(&self.channel);
        }
    }
}

impl Hub {
    /// Waits until nobody has read the channel for `after`, counted from now.
    pub(crate) async fn unread(&self, name: &ChannelName, after: Duration) {
        let mut since = Instant::now();
        loop {
            match Watch::begin(self, name) {
                Some(watch) if watch.wait(since, after).await => return,
                // The channel was closed, which ended its readers.
                Some(_) => since = Instant::now(),
                None => match since.checked_add(after).map(|due| due.saturating_duration_since(Instant::now())) {
                    Some(Duration::ZERO) => return,
                    left => tokio::time::sleep(left.unwrap_or(RETRY).min(RETRY)).await,
                },
            }
        }
    }
}

/// How often to retry for a channel for which there is no room.
const RETRY: Duration = Duration::from_secs(1);
