//! Giving memory back: when the hub takes more than it may, and when a log is forgotten.

use super::{
    engine::Hub,
    slices::in_slices,
    state::{Locked, Shared},
};
use crate::{
    log::{self, Remains},
    trace::debug,
};

/// By what part of the limit a hub may be above it while its oldest events are evicted a slice at a time. A call that finds it
/// further above evicts more than a slice.
const SLACK: usize = 32;

impl Hub {
    /// If the hub takes more than it may: evicts a slice of the oldest events of the channels whose turn it is. Returns whether there
    /// is more to evict. Beyond the [slack](SLACK), one call evicts about what has come since the one before, at most `bytes`, so
    /// that each publisher pays for its own events.
    pub(super) fn reclaim(&self, bytes: usize) -> bool {
        let max = self.settings.limits.hub_bytes;
        let excess = || self.ledger.tally.all().saturating_sub(max);
        if excess() == 0 {
            return false;
        }
        debug!("the hub is full", bytes = self.ledger.tally.all(), channels = self.registry.len());
        // Enough to free a run of the smallest events, of which half have to go for that; and what more these events take, if that
        // does not fit into the slack. What is beyond that others have added, and evict.
        let beyond = excess().saturating_sub(max / SLACK);
        let mut most = 8 * log::SLICE + beyond.min(bytes) / log::LEAST;
        while excess() > 0
            && most > 0
            && let Some((name, upto)) = self.ledger.next()
        {
            most -= 1;
            let Some(shared) = self.registry.get(&name) else { continue };
            let mut state = shared.change();
            let is_to_go = |state: &Locked<'_>| state.log.oldest().is_some_and(|oldest| oldest <= upto);
            let evicted = evict(&shared, &mut state, log::SLICE.min(most), excess(), is_to_go);
            most -= evicted;
            self.counters.evicted.add(u64::try_from(evicted).unwrap_or(u64::MAX));
            shared.renew_turn(&mut state);
            let idle = state.is_idle();
            drop(state);
            if idle && self.elsewhere.is_none() {
                self.drop_if_idle(&shared);
            }
        }
        most == 0 && excess() > 0
    }

    /// Frees what was forgotten, where no lock is held.
    pub(crate) fn free(&self, remains: impl IntoIterator<Item = Box<Remains>>) {
        for mut remains in remains {
            in_slices(move || remains.free_some(log::SLICE));
        }
    }
}

/// Evicts events as long as they are to go, at most so many, until so many bytes are given back. Says how many.
fn evict(
    shared: &Shared,
    state: &mut Locked<'_>,
    most: usize,
    bytes: usize,
    is_to_go: impl Fn(&Locked<'_>) -> bool,
) -> usize {
    let mut evicted = 0;
    while evicted < most && state.released(shared) < bytes && is_to_go(state) && state.log.evict() {
        evicted += 1;
    }
    evicted
}
