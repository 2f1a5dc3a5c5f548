//! What a driver knows of the channels that it watches.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::pause::patience;
use crate::{hub::state::Shared, node::mirror::Mirror, wire::name::ChannelName};

/// The level waits for a channel until so many reads of it have failed, one after the other. Its readers are told when it
/// can be read at last.
const TRIES: u32 = 4;

#[derive(Default)]
pub(super) struct AllWatched {
    by_name: HashMap<ChannelName, Watched>,
    /// How many of them the level waits for.
    holding: usize,
    /// Those whose reads failed, and when to try again.
    failed: Vec<(Instant, ChannelName)>,
}

impl AllWatched {
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Those whose readers may read up to the level: all are whole.
    pub(super) fn are_whole(&self) -> bool {
        self.holding == 0
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

    /// The one of that name, if it is this channel and not one that came after it.
    pub(super) fn get_same(&mut self, channel: &Arc<Shared>) -> Option<&mut Watched> {
        self.get_mut(&channel.name).filter(|watched| Arc::ptr_eq(&watched.mirror.channel, channel))
    }

    pub(super) fn add(&mut self, shared: Arc<Shared>) {
        self.remove(&shared.name);
        self.by_name.insert(shared.name.clone(), Watched::new(shared));
    }

    pub(super) fn remove(&mut self, channel: &ChannelName) -> Option<Mirror> {
        let watched = self.by_name.remove(channel)?;
        self.holding -= usize::from(watched.holds_level);
        Some(watched.mirror)
    }

    /// A channel of which something is to be asked, unless it is too early for that, something is being asked, or it is whole:
    /// what comes while that is read would seem to be lost by the store.
    pub(super) fn take_up(&mut self, channel: &ChannelName) -> Option<&Mirror> {
        let watched = self.by_name.get_mut(channel)?;
        let is_free =
            watched.carried && watched.mirror.tail().is_none() && !std::mem::replace(&mut watched.reading, true);
        is_free.then_some(&watched.mirror)
    }

    /// Whether the level waits for it.
    pub(super) fn hold(&mut self, channel: &ChannelName, hold: bool) {
        if let Some(watched) = self.by_name.get_mut(channel) {
            self.holding -= usize::from(std::mem::replace(&mut watched.holds_level, hold));
            self.holding += usize::from(hold);
        }
    }

    /// It could not be read.
    pub(super) fn fail(&mut self, channel: &ChannelName) {
        let Some(watched) = self.by_name.get_mut(channel) else { return };
        self.failed.push((Instant::now() + patience(watched.failures), channel.clone()));
        watched.failures = watched.failures.saturating_add(1);
        if watched.failures >= TRIES {
            self.hold(channel, false);
        }
    }

    /// Those to be read again.
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
    /// The feed carries it.
    pub(super) carried: bool,
    /// It is being read or compared, or about to be.
    pub(super) reading: bool,
    /// So many reads failed, one after the other.
    pub(super) failures: u32,
    /// Its readers were whole, and are not until it was read again: the level waits for it.
    holds_level: bool,
}

impl Watched {
    fn new(shared: Arc<Shared>) -> Self {
        Self { mirror: Mirror::new(shared), carried: false, reading: false, failures: 0, holds_level: false }
    }
}
