//! What a driver knows of the channels that it watches.

use std::{collections::HashMap, sync::Arc};

use crate::{channel::state::Shared, name::ChannelName};

#[derive(Default)]
pub(super) struct AllWatched {
    by_name: HashMap<ChannelName, Watched>,
    /// How many of them the level waits for.
    holding: usize,
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
        self.get(&shared.name).is_some_and(|watched| Arc::ptr_eq(&watched.shared, shared))
    }

    pub(super) fn get(&self, channel: &ChannelName) -> Option<&Watched> {
        self.by_name.get(channel)
    }

    pub(super) fn get_mut(&mut self, channel: &ChannelName) -> Option<&mut Watched> {
        self.by_name.get_mut(channel)
    }

    pub(super) fn add(&mut self, shared: Arc<Shared>) {
        self.remove(&shared.name);
        self.by_name.insert(shared.name.clone(), Watched::new(shared));
    }

    pub(super) fn remove(&mut self, channel: &ChannelName) -> Option<Arc<Shared>> {
        let watched = self.by_name.remove(channel)?;
        self.holding -= usize::from(watched.holds_level);
        Some(watched.shared)
    }

    /// Whether the level waits for it.
    pub(super) fn hold(&mut self, channel: &ChannelName, hold: bool) {
        if let Some(watched) = self.by_name.get_mut(channel) {
            self.holding -= usize::from(std::mem::replace(&mut watched.holds_level, hold));
            self.holding += usize::from(hold);
        }
    }

    pub(super) fn names(&self) -> Vec<ChannelName> {
        self.by_name.keys().cloned().collect()
    }
}

pub(super) struct Watched {
    pub(super) shared: Arc<Shared>,
    /// The feed carries it.
    pub(super) carried: bool,
    /// It is being read, or about to be.
    pub(super) reading: bool,
    /// Its readers were whole, and are not until it was read again: the level waits for it.
    holds_level: bool,
}

impl Watched {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, carried: false, reading: false, holds_level: false }
    }
}
