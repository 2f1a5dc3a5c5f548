//! What a driver keeps from one session to the next: the channels that it watches, and those of them that nobody reads.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{calls::Calls, command::Command, watched::AllWatched};
use crate::{
    hub::{engine::Hub, state::Shared},
    wire::name::ChannelName,
};

/// How long a mirror stays after its last reader has left, who may be reloading a page.
const LINGER: Duration = Duration::from_secs(5);

pub(super) struct Duties {
    pub(super) watched: AllWatched,
    /// The channels that nobody reads, and since when.
    unread: Vec<(Instant, Arc<Shared>)>,
    /// The latest ticket of a question for the hub's last offset; 0 once that is answered.
    pub(super) ticket: u64,
    /// The store has been told of connections to this node.
    pub(super) present: bool,
    /// The store has answered.
    pub(super) useful: bool,
}

impl Duties {
    /// No channels; and the questions up to `ticket` to answer.
    pub(super) fn new(ticket: u64) -> Self {
        Self { watched: AllWatched::default(), unread: Vec::new(), ticket, present: false, useful: false }
    }

    /// Nothing has to be asked of the store.
    pub(super) fn are_none(&self) -> bool {
        self.watched.is_empty() && !self.present && self.ticket == 0
    }

    /// Watches all channels of the hub. Nobody may read them any more.
    pub(super) fn take_over(&mut self, hub: &Hub) {
        for channel in hub.registry.all() {
            self.watched.add(channel.clone());
            self.unread.push((Instant::now(), channel));
        }
    }

    /// Obeys a command. During a session the feed is asked at once.
    pub(super) fn obey(&mut self, command: Command, session: Option<&mut Calls>) {
        match command {
            Command::Watch(channel) => {
                if self.watched.has(&channel) {
                    return;
                }
                if let Some(calls) = session {
                    calls.watch(&channel.name);
                }
                self.watched.add(channel);
            }
            Command::Unread(channel) => self.unread.push((Instant::now(), channel)),
            Command::Sync(ticket) => {
                self.ticket = self.ticket.max(ticket);
                if let Some(calls) = session {
                    calls.sync(self.ticket);
                }
            }
        }
    }

    /// Drops the mirrors that nobody has read for a while, and returns their names.
    pub(super) fn drop_unread(&mut self, hub: &Hub) -> Vec<ChannelName> {
        let due = Instant::now().checked_sub(LINGER);
        let is_due = |(since, _): &(Instant, Arc<Shared>)| due.is_some_and(|due| *since <= due);
        let left: Vec<_> = self.unread.extract_if(.., |unread| is_due(unread)).collect();
        let mut dropped = Vec::new();
        for (_, channel) in left {
            let mirror = self.watched.get(&channel.name).map(|watched| &watched.mirror);
            if mirror.is_some_and(|mirror| Arc::ptr_eq(&mirror.channel, &channel) && mirror.drop_unread(hub)) {
                self.watched.remove(&channel.name);
                dropped.push(channel.name.clone());
            }
        }
        if self.watched.is_empty() {
            // These are all dropped already. The session may end, and then nothing would drop what is left of them.
            self.unread = Vec::new();
        }
        dropped
    }
}
