//! The channels that a driver watches, and what it knows about each.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::pause::patience;
use crate::{hub::state::Shared, node::mirror::Mirror, wire::name::ChannelName};

/// After this many failed reads in a row, the level no longer waits for a channel. Its own readers still do.
const TRIES: u32 = 4;

#[derive(Default)]
pub(super) struct AllWatched {
    by_name: HashMap<ChannelName, Watched>,
    /// The number of channels that were whole, and are not until they have been read again.
    behind: usize,
    /// The number of channels for which the level waits.
    holding: usize,
    /// Channels that could not be read, and when to try again.
    failed: Vec<(Instant, ChannelName)>,
}

impl AllWatched {
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns whether no channel is behind.
    pub(super) fn are_whole(&self) -> bool {
        self.behind == 0
    }

    /// Returns whether the level waits for a channel.
    pub(super) fn hold_level(&self) -> bool {
        self.holding > 0
    }

    pub(super) fn has(&self, shared: &Arc<Shared>) -> bool {
        self.get(&shared.name).is_some_and(|watched| Arc::ptr_eq(&watched.mirror.channel, shared))
    }

    pub(super) fn get(&self, channel: &ChannelName) -> Option<&Watched> {
        self.by_name.get(channel)
    }

    pub(super) fn get_mut(&mut self, channel: &ChannelName) -> Option<&mut Watched> {
        self.by_name.get_mut(channel)
    }

    /// Returns the watched channel of that name, if it is this one and not a later one.
    pub(super) fn get_same(&mut self, channel: &Arc<Shared>) -> Option<&mut Watched> {
        self.get_mut(&channel.name).filter(|watched| Arc::ptr_eq(&watched.mirror.channel, channel))
    }

    pub(super) fn add(&mut self, shared: Arc<Shared>) {
        self.remove(&shared.name);
        self.by_name.insert(shared.name.clone(), Watched::new(shared));
    }

    pub(super) fn remove(&mut self, channel: &ChannelName) -> Option<Mirror> {
        let watched = self.by_name.remove(channel)?;
        self.behind -= usize::from(watched.behind);
        self.holding -= usize::from(watched.holds_level);
        Some(watched.mirror)
    }

    /// Returns the mirror of a channel about which to ask the store, and marks it as being read. Returns `None` if the
    /// feed does not carry the channel yet, a question is in progress, or the mirror is whole: events that arrive
    /// during a needless read would look lost.
    pub(super) fn take_up(&mut self, channel: &ChannelName) -> Option<&Mirror> {
        let watched = self.by_name.get_mut(channel)?;
        let is_free =
            watched.carried && watched.mirror.tail().is_none() && !std::mem::replace(&mut watched.reading, true);
        is_free.then_some(&watched.mirror)
    }

    /// Sets whether a channel is behind. The level waits for it at first.
    pub(super) fn set_behind(&mut self, channel: &ChannelName, behind: bool) {
        if let Some(watched) = self.by_name.get_mut(channel) {
            self.behind -= usize::from(std::mem::replace(&mut watched.behind, behind));
            self.behind += usize::from(behind);
            self.hold(channel, behind);
        }
    }

    /// Sets whether the level waits for a channel.
    fn hold(&mut self, channel: &ChannelName, hold: bool) {
        if let Some(watched) = self.by_name.get_mut(channel) {
            self.holding -= usize::from(std::mem::replace(&mut watched.holds_level, hold));
            self.holding += usize::from(hold);
        }
    }

    /// Records that a channel could not be read.
    pub(super) fn fail(&mut self, channel: &ChannelName) {
        let Some(watched) = self.by_name.get_mut(channel) else { return };
        self.failed.push((Instant::now() + patience(watched.failures), channel.clone()));
        watched.failures = watched.failures.saturating_add(1);
        if watched.failures >= TRIES {
            self.hold(channel, false);
        }
    }

    /// Returns the channels to try again now.
    pub(super) fn due(&mut self) -> Vec<ChannelName> {
        let now = Instant::now();
        self.failed.extract_if(.., |(at, _)| *at <= now).map(|(_, channel)| channel).collect()
    }

    pub(super) fn names(&self) -> Vec<ChannelName> {
        self.by_name.keys().cloned().collect()
    }
}

pub(super) struct Watched {
    pub(super) mirror: Mirror,
    /// Whether the feed carries the channel.
    pub(super) carried: bool,
    /// Whether the store is being asked about the channel, or is about to be.
    pub(super) reading: bool,
    /// How many reads have failed in a row.
    pub(super) failures: u32,
    /// When the last reader left most recently. There may be readers again.
    pub(super) left: Option<Instant>,
    /// Whether the channel was whole, and is not until it has been read again.
    behind: bool,
    /// Whether the level waits for the channel.
    holds_level: bool,
}

impl Watched {
    fn new(shared: Arc<Shared>) -> Self {
        let mirror = Mirror::new(shared);
        let (carried, reading, failures, left, behind, holds_level) = (false, false, 0, None, false, false);
        Self { mirror, carried, reading, failures, left, behind, holds_level }
    }
}
