//! What a driver keeps from one session to the next: the channels that it watches, and which of them have no readers.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{calls::Calls, command::Command, watched::AllWatched};
use crate::{
    hub::{engine::Hub, state::Shared},
    wire::name::ChannelName,
};

/// How long a mirror stays after its last reader has left. That reader may be reloading a page.
const LINGER: Duration = Duration::from_secs(5);
/// How many channels without readers are looked at in one go, so that the feed does not wait while thousands are
/// dropped.
const AT_ONCE: usize = 1_000;

pub(super) struct Duties {
    pub(super) watched: AllWatched,
    /// The channels whose last reader has left, in the order in which that happened. A channel that gained readers and
    /// lost them again is listed twice.
    unread: VecDeque<(Instant, Arc<Shared>)>,
    /// The latest ticket of a question for the hub's last offset; 0 once that is answered.
    pub(super) ticket: u64,
    /// Whether the store may have been told of connections to this node.
    pub(super) present: bool,
    /// Whether the store has answered.
    pub(super) useful: bool,
}

impl Duties {
    /// Creates duties without channels, with the questions up to `ticket` to answer.
    pub(super) fn new(ticket: u64) -> Self {
        Self { watched: AllWatched::default(), unread: VecDeque::new(), ticket, present: false, useful: false }
    }

    /// Returns whether there is nothing to ask the store.
    pub(super) fn are_none(&self) -> bool {
        self.watched.is_empty() && !self.present && self.ticket == 0
    }

    /// Watches all channels of the hub, some of which may no longer have readers.
    pub(super) fn take_over(&mut self, hub: &Hub) {
        for channel in hub.registry.all() {
            self.watched.add(channel.clone());
            self.is_unread(channel);
        }
    }

    /// Obeys a command. During a session, also passes it on to the feed at once.
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
            Command::Unread(channel) => self.is_unread(channel),
            Command::Sync(ticket) => {
                self.ticket = self.ticket.max(ticket);
                if let Some(calls) = session {
                    calls.sync(self.ticket);
                }
            }
        }
    }

    /// Records that the last reader of a channel has left. A channel that is no longer watched has already been
    /// dropped.
    fn is_unread(&mut self, channel: Arc<Shared>) {
        let now = Instant::now();
        if let Some(watched) = self.watched.get_same(&channel) {
            watched.left = Some(now);
            self.unread.push_back((now, channel));
        }
    }

    /// Drops mirrors that have had no readers for a while, a limited number at a time. Returns their names.
    pub(super) fn drop_unread(&mut self, hub: &Hub) -> Vec<ChannelName> {
        let due = Instant::now().checked_sub(LINGER);
        let mut dropped = Vec::new();
        for _ in 0..AT_ONCE {
            let is_due = self.unread.front().is_some_and(|(left, _)| due.is_some_and(|due| *left <= due));
            let next = if is_due { self.unread.pop_front() } else { None };
            let Some((left, channel)) = next else { break };
            let watched = self.watched.get_same(&channel);
            // If the channel was read and left again later, it is in the queue again.
            if watched.is_some_and(|watched| watched.left == Some(left) && watched.mirror.drop_unread(hub)) {
                self.watched.remove(&channel.name);
                dropped.push(channel.name.clone());
            }
        }
        if self.watched.is_empty() {
            // All of these channels have already been dropped. Once the session ends, nothing else would clear the
            // queue.
            self.unread = VecDeque::new();
        }
        dropped
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::{
        hub::{HubSettings, coverage::Coverage, engine::now, limits::Limits},
        log::Retention,
        wire::cursor::Epoch,
    };

    fn hub() -> Hub {
        let settings = HubSettings {
            limits: Limits::new(),
            retention: Box::new(|_| Retention::new()),
            reconnect: (Duration::ZERO, Duration::ZERO),
            ..HubSettings::default()
        };
        Hub::new(settings, None)
    }

    fn channel(hub: &Hub, n: usize) -> Arc<Shared> {
        let name = ChannelName::try_from(n.to_string()).unwrap();
        let log = Coverage::log(Retention::new(), now());
        let make = || Shared::new(name.clone(), log, Some(Coverage::none(Epoch::from_bits(7))), hub.ledger.clone());
        hub.registry.get_or_insert(&name, 10_000, make).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_stays_for_a_while_after_its_last_reader_has_left_for_the_last_time() {
        let (hub, mut duties) = (hub(), Duties::new(0));
        let channel = channel(&hub, 1);
        duties.obey(Command::Watch(channel.clone()), None);
        duties.obey(Command::Unread(channel.clone()), None);
        advance(LINGER - Duration::from_secs(1)).await;
        // A reader came back, and has left again.
        duties.obey(Command::Unread(channel.clone()), None);
        advance(Duration::from_secs(2)).await;
        assert!(duties.drop_unread(&hub).is_empty());
        advance(LINGER).await;
        assert_eq!(duties.drop_unread(&hub), std::slice::from_ref(&channel.name));
        assert!(duties.are_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_was_dropped_already_is_not_kept() {
        let (hub, mut duties) = (hub(), Duties::new(0));
        let channel = channel(&hub, 1);
        duties.obey(Command::Watch(channel.clone()), None);
        duties.watched.remove(&channel.name);
        let holders = Arc::strong_count(&channel);
        duties.obey(Command::Unread(channel.clone()), None);
        assert_eq!(Arc::strong_count(&channel), holders);
    }

    #[tokio::test(start_paused = true)]
    async fn many_channels_are_dropped_a_limited_number_at_a_time() {
        let (hub, mut duties) = (hub(), Duties::new(0));
        for n in 0..2 * AT_ONCE {
            let channel = channel(&hub, n);
            duties.obey(Command::Watch(channel.clone()), None);
            duties.obey(Command::Unread(channel), None);
        }
        advance(LINGER).await;
        assert_eq!(duties.drop_unread(&hub).len(), AT_ONCE);
        assert_eq!(duties.drop_unread(&hub).len(), AT_ONCE);
    }
}
