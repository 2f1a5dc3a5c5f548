//! The channels of a hub: finding, making, closing and dropping them.

use std::sync::Arc;

use super::{
    coverage::Coverage,
    engine::{Hub, now},
    readers::SLICE,
    seats::Seat,
    state::{Shared, State},
};
use crate::{
    log::{self, Log, Retention},
    wire::{
        cursor::Offset,
        encode::Sealed,
        encoded::EncodedEvent,
        name::{ChannelName, ClientId},
        notice::EndReason,
    },
};

impl Hub {
    /// Does `work` on the channel of that name, under its lock. Makes the channel if there is none. Returns `None` if
    /// there may be no more channels.
    pub(crate) fn with_channel<T>(
        &self,
        name: &ChannelName,
        work: impl FnOnce(&Arc<Shared>, &mut State) -> T,
    ) -> Option<T> {
        loop {
            let shared = match self.registry.get(name) {
                Some(shared) => shared,
                None => self.make_channel(name)?,
            };
            let mut state = shared.change();
            if !state.dropped {
                let done = work(&shared, &mut state);
                let idle = state.is_idle();
                drop(state);
                // The channel may have been made for an event or a reader that was then refused.
                if idle {
                    self.drop_if_idle(&shared);
                }
                return Some(done);
            }
        }
    }

    fn make_channel(&self, name: &ChannelName) -> Option<Arc<Shared>> {
        let retention = self.retention_of(name);
        let make = || {
            let (log, coverage) = match self.elsewhere {
                None => (Log::new(retention, self.memory.exhume(name), now()), None),
                Some(_) => (Coverage::log(retention, now()), Some(Coverage::none(self.memory.epoch()))),
            };
            Shared::new(name.clone(), log, coverage, self.ledger.clone())
        };
        let max = self.settings.limits.channels;
        self.registry.get_or_insert(name, max, make).or_else(|| {
            self.make_room(now());
            self.registry.get_or_insert(name, max, make)
        })
    }

    /// Returns how much a channel of that name holds. Calls the application's code, so the caller must not hold a
    /// lock.
    pub(crate) fn retention_of(&self, name: &ChannelName) -> Retention {
        let set = (self.settings.retention)(name);
        self.adjusted(name, set).unwrap_or(set)
    }

    /// Returns how much a channel of that name holds, if that depends on more than the settings.
    pub(crate) fn adjusted(&self, name: &ChannelName, set: Retention) -> Option<Retention> {
        self.adjust.get().and_then(|adjust| adjust(name, set))
    }

    /// Does `work` on the channel of that name, under its lock. Returns `None` if there is no such channel.
    pub(crate) fn with_existing<T>(&self, name: &ChannelName, work: impl FnOnce(&mut State) -> T) -> Option<T> {
        let shared = self.registry.get(name)?;
        let mut state = shared.change();
        (!state.dropped).then(|| work(&mut state))
    }

    /// Looks at the channel of that name, under its lock. Returns `None` if there is no such channel.
    pub(crate) fn look_at<T>(&self, name: &ChannelName, look: impl FnOnce(&State) -> T) -> Option<T> {
        let shared = self.registry.get(name)?;
        let state = shared.look();
        (!state.dropped).then(|| look(&state))
    }

    /// Returns the channels that have a reader or an event.
    pub(crate) fn channels(&self) -> Vec<ChannelName> {
        let used = self.registry.all().filter(|shared| !shared.look().is_idle());
        used.map(|shared| shared.name.clone()).collect()
    }

    /// Returns the newest `n` held events for a client, or for everybody if `client` is `None`, oldest first.
    pub(crate) fn recent(&self, name: &ChannelName, client: Option<&ClientId>, n: usize) -> Vec<EncodedEvent> {
        let mut recent: Vec<Sealed> = Vec::new();
        // Read a slice under each lock.
        loop {
            let end = recent.last().map_or(Offset::new(u64::MAX), Sealed::offset);
            let most = (n - recent.len()).min(log::SLICE);
            let newest = self.with_existing(name, |state| {
                let (now, view) = (now(), state.log.view_for(client));
                state.log.expire(view, now);
                let newest = state.log.newest_before(view, end, most);
                self.counters.evicted.add(state.log.enforce(now, log::SLICE));
                newest
            });
            let newest = newest.unwrap_or_default();
            let is_all = newest.len() < most;
            recent.extend(newest);
            if is_all || recent.len() == n {
                break;
            }
        }
        let epoch = self.memory.epoch();
        recent.into_iter().rev().map(|sealed| EncodedEvent::new(name.clone(), epoch, sealed)).collect()
    }

    /// Ends the readers of a client on all channels. Returns how many it has ended.
    pub(crate) fn disconnect(&self, client: &ClientId) -> usize {
        self.registry.all().map(|shared| end_client(&shared, client, EndReason::Disconnected, |_| true)).sum()
    }

    /// Ends the readers of a client on one channel. Returns how many it has ended.
    pub(crate) fn disconnect_from(&self, name: &ChannelName, client: &ClientId) -> usize {
        let shared = self.registry.get(name);
        shared.map_or(0, |shared| end_client(&shared, client, EndReason::Disconnected, |_| true))
    }

    /// Has the readers of a client on all channels authorized again. Returns how many there are.
    pub(crate) fn reauthorize(&self, client: &ClientId) -> usize {
        self.registry.all().map(|shared| reauthorize(&shared, client)).sum()
    }

    /// Ends all readers of a channel, and forgets its history and that it was finished. Returns how many readers there
    /// were.
    pub(crate) fn close(&self, name: &ChannelName) -> usize {
        loop {
            let Some(shared) = self.registry.get(name) else {
                if self.registry.if_absent(name, || self.memory.reopen(name)) {
                    return 0;
                }
                continue;
            };
            let mut closed = None;
            self.registry.remove_if(&shared, || {
                let mut state = shared.change();
                let (ended, wakeups) = state.readers.end_all(EndReason::Closed);
                let (mut tombstone, held) = state.bury();
                tombstone.reopen();
                closed = Some((ended, wakeups, held, self.memory.bury(shared.name.clone(), tombstone)));
                true
            });
            if let Some((ended, wakeups, held, forgotten)) = closed {
                drop(wakeups);
                shared.give_seats_back();
                self.counters.evicted.add(held.as_ref().map_or(0, |held| held.events));
                self.free(held.into_iter().chain(forgotten));
                return ended;
            }
        }
    }

    /// Drops a channel if it is idle.
    pub(crate) fn drop_if_idle(&self, shared: &Arc<Shared>) {
        if let Some(elsewhere) = &self.elsewhere
            && shared.look().is_wanted()
        {
            elsewhere.unread(shared);
            return;
        }
        let mut remains = (None, None);
        self.registry.remove_if(shared, || {
            let mut state = shared.change();
            let idle = state.is_idle() && !state.is_wanted();
            if idle {
                let (tombstone, held) = state.bury();
                // What is known about a copy is also known where the log lives.
                let here = self.elsewhere.is_none();
                let forgotten = here.then(|| self.memory.bury(shared.name.clone(), tombstone)).flatten();
                remains = (held, forgotten);
            }
            idle
        });
        let (held, forgotten) = remains;
        self.free(held.into_iter().chain(forgotten));
    }
}

/// Ends the readers of a client on one channel for which `concerns` returns `true`, in slices. Returns how many it has
/// ended.
fn end_client(shared: &Shared, client: &ClientId, reason: EndReason, concerns: impl Fn(&Seat) -> bool) -> usize {
    let connected = |state: &State| state.log.lane_of(client).map_or(0, |lane| state.readers.of(lane));
    // Look at no more readers than there are now, because the client may reconnect just as fast.
    let (mut left, mut all, mut from) = (connected(&shared.look()), 0, None);
    while left > 0 {
        let mut state = shared.change();
        let Some(lane) = state.log.lane_of(client) else { break };
        let (ended, wakeups) = state.readers.end_lane(lane, &mut from, reason, &concerns);
        drop(state);
        drop(wakeups);
        all += ended;
        left = if from.is_none() { 0 } else { left.saturating_sub(SLICE) };
    }
    all
}

/// Has the readers of a client on one channel authorized again. Readers whose access can be decided here wait for the
/// decision; the others are sent back to the authorizer. Returns how many there are.
fn reauthorize(shared: &Shared, client: &ClientId) -> usize {
    if shared.look().log.lane_of(client).is_none() {
        return 0;
    }
    let mut all = end_client(shared, client, EndReason::Reauthorize, |seat| !seat.has_open_access());
    let mut from = None;
    loop {
        let mut state = shared.change();
        let Some(lane) = state.log.lane_of(client) else { return all };
        let (called, wakeups) = state.readers.call(lane, &mut from);
        drop(state);
        drop(wakeups);
        all += called;
        if from.is_none() {
            return all;
        }
    }
}
