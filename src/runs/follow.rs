//! Watching a run that has moved to another node since it is watched.

use std::sync::Arc;

use super::{head::Head, local::Local, status};
use crate::{sync::lock, wire::name::ChannelName};

impl Local {
    /// A run whose node is gone has a producer on another node. Watches that one, until the run has ended.
    pub(super) async fn follow(self: Arc<Self>, run: ChannelName) {
        let Some(head) = last_attempt(&self, &run).await else { return };
        if head.node == self.number || !lock(&self.control.follows).insert((run.clone(), head.fence)) {
            return;
        }
        if let Ok(_watch) = self.watch(head.node, &run, head.fence).await {
            let _ = status::ended(&self, &run).await;
        }
        lock(&self.control.follows).remove(&(run, head.fence));
    }
}

/// How the last producer of a run has begun.
async fn last_attempt(local: &Arc<Local>, run: &ChannelName) -> Option<Head> {
    let channel = local.publisher.channel(run.clone());
    let (mut last, mut next) = (None, None);
    loop {
        let page = channel.read(next, PAGE).await.ok()?;
        last = page.events.iter().filter_map(Head::of_any).next_back().or(last);
        if page.caught_up {
            return last;
        }
        next = Some(page.next.into());
    }
}

const PAGE: usize = 512;
