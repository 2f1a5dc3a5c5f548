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

/// While the hub evicts its oldest events a slice at a time, it may exceed its limit by one part in this many. A call
/// that finds it further above the limit evicts more than a slice.
const SLACK: usize = 32;

impl Hub {
    /// Evicts a slice of the oldest events of the channels whose turn it is, if the hub takes more than it may.
    /// Returns whether there is more to evict. Beyond the [slack](SLACK), one call evicts about as much as was added
    /// since the previous call, at most `bytes`, so that each publisher pays for its own events.
    pub(super) fn reclaim(&self, bytes: usize) -> bool {
        let max = self.settings.limits.hub_bytes;
        let excess = || self.ledger.tally.all().saturating_sub(max);
        if excess() == 0 {
            return false;
        }
        debug!("the hub is full", bytes = self.ledger.tally.all(), channels = self.registry.len());
        // Enough to free a run of the smallest events, half of which have to go for that, plus the part of `bytes`
        // that does not fit into the slack. Other publishers have added the rest, and evict it.
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

    /// Frees what was forgotten. The caller must not hold a lock.
    pub(crate) fn free(&self, remains: impl IntoIterator<Item = Box<Remains>>) {
        for mut remains in remains {
            in_slices(move || remains.free_some(log::SLICE));
        }
    }
}

/// Evicts events as long as `is_to_go` returns `true`, at most `most`, until `bytes` are given back. Returns how many
/// it has evicted.
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
