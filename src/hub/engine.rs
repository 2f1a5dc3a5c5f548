//! The hub: all channels, what they share, and what is done to many of them at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    coverage::Coverage,
    due::Due,
    ledger::Ledger,
    limits::Limits,
    readers::SLICE,
    registry::Registry,
    seam::Elsewhere,
    seats::Seats,
    sent::Sent,
    state::{Shared, State},
    wait::Wakeups,
};
use crate::{
    backend::memory::Memory,
    error::{PublishError, PublishErrorKind},
    footprint::Tally,
    log::{self, BROADCAST, Log, Retention, View},
    observe::{Counters, Stats},
    random,
    trace::debug,
    wire::{
        cursor::{Cursor, EventId, Offset},
        encode::{Draft, EncodedEvent},
        event::Event,
        name::{ChannelName, ClientId},
        notice::EndReason,
    },
};

/// What a hub is built with.
pub(crate) struct HubSettings {
    pub(crate) limits: Limits,
    pub(crate) retention: Box<dyn Fn(&ChannelName) -> Retention + Send + Sync>,
    /// Readers that are sent away come back after a random time between these.
    pub(crate) reconnect: (Duration, Duration),
}

pub(crate) struct Hub {
    pub(crate) settings: HubSettings,
    pub(crate) memory: Memory,
    /// What all of this takes from the allocator.
    pub(crate) ledger: Arc<Ledger>,
    /// Where the log lives, if not here.
    pub(crate) elsewhere: Option<Arc<dyn Elsewhere>>,
    pub(crate) registry: Registry,
    pub(crate) counters: Counters,
    pub(crate) seats: Arc<Seats>,
    pub(crate) due: Due,
}

impl Hub {
    pub(crate) fn new(settings: HubSettings, elsewhere: Option<Arc<dyn Elsewhere>>) -> Self {
        let seats = Arc::new(Seats::new(settings.limits.subscriptions));
        let max = settings.limits.hub_bytes;
        let tally = Arc::new(Tally::new(max / 4));
        Self {
            settings,
            memory: Memory::new(tally.clone(), max),
            ledger: Arc::new(Ledger::new(tally.clone())),
            elsewhere,
            registry: Registry::new(tally),
            counters: Counters::default(),
            seats,
            due: Due::new(now()),
        }
    }

    /// Does `work` on the channel of that name, under its lock; a new one if there is none. `None`: there may be no more.
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
                // It may have been made for an event or a reader that was refused.
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

    /// How much a channel of that name holds. The application's own code says it, so under no lock.
    pub(crate) fn retention_of(&self, name: &ChannelName) -> Retention {
        (self.settings.retention)(name)
    }

    /// Does `work` on the channel of that name, under its lock, if there is one.
    pub(crate) fn with_existing<T>(&self, name: &ChannelName, work: impl FnOnce(&mut State) -> T) -> Option<T> {
        let shared = self.registry.get(name)?;
        let mut state = shared.change();
        (!state.dropped).then(|| work(&mut state))
    }

    /// Looks at the channel of that name, under its lock, if there is one.
    pub(crate) fn look_at<T>(&self, name: &ChannelName, look: impl FnOnce(&State) -> T) -> Option<T> {
        let shared = self.registry.get(name)?;
        let state = shared.look();
        (!state.dropped).then(|| look(&state))
    }

    /// An event's bytes, if they are not too many.
    pub(crate) fn draft(&self, event: Event) -> Result<Draft, PublishError> {
        let draft = Draft::new(event, self.memory.last());
        let (len, max) = (draft.len(), self.settings.limits.event_bytes);
        if len > max {
            return Err(PublishErrorKind::TooLarge { len, max }.into());
        }
        Ok(draft)
    }

    /// Appends an event and wakes who waits for it.
    pub(crate) fn publish(
        self: &Arc<Self>,
        name: &ChannelName,
        target: Option<&ClientId>,
        event: Event,
        last: bool,
    ) -> Result<Sent, PublishError> {
        let now = now();
        let published = self.try_publish(name, target, event, last, now);
        self.maintain(now);
        published
    }

    fn try_publish(
        &self,
        name: &ChannelName,
        target: Option<&ClientId>,
        event: Event,
        last: bool,
        now: Instant,
    ) -> Result<Sent, PublishError> {
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown.into());
        }
        let mut draft = self.draft(event)?;
        let key = draft.take_key();
        // For when the channel's lock is free again.
        let mut wakeups = Wakeups::default();
        let appended = self.with_channel(name, |shared, state| {
            if let Some(key) = &key
                && let Some(offset) = self.memory.repeated(name, key, now)
            {
                let id = draft.custom().cloned().map_or_else(|| self.cursor(offset).into(), EventId::from);
                return Ok((id, 0, true));
            }
            let (id, offset, reached) = self.append(state, target, draft, last, now, &mut wakeups)?;
            if let Some(key) = key {
                self.memory.remember(&shared.name, key, offset, now);
            }
            Ok::<_, PublishErrorKind>((id, reached, false))
        });
        drop(wakeups);
        let (id, reached, repeated) = appended.ok_or(PublishErrorKind::TooManyChannels)??;
        self.counters.published.add(u64::from(!repeated));
        Ok(Sent { id, reached, repeated })
    }

    fn append(
        &self,
        state: &mut State,
        target: Option<&ClientId>,
        draft: Draft,
        last: bool,
        now: Instant,
        wakeups: &mut Wakeups,
    ) -> Result<(EventId, Offset, usize), PublishErrorKind> {
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown);
        }
        let State { log, readers, .. } = state;
        if log.is_finished() {
            return Err(PublishErrorKind::Finished);
        }
        let max = self.settings.limits.lanes;
        let lane = match target {
            None => BROADCAST,
            Some(client) => log.lane_for(client, max).map_err(|_| PublishErrorKind::TooManyLanes)?,
        };
        if let Some(id) = draft.custom() {
            log.expire(View { client: target.map(|_| lane) }, now);
            if log.holds(lane, id) {
                return Err(PublishErrorKind::DuplicateId);
            }
        }
        let custom = draft.custom().cloned();
        let event = self.memory.append(log, lane, draft, now, &self.counters);
        if last {
            log.finish();
        }
        let reached;
        (reached, *wakeups) = match target {
            None => (readers.live(), readers.wake_all()),
            Some(_) => (readers.of(lane), readers.wake_lane(lane)),
        };
        let offset = event.offset();
        let id = custom.map_or_else(|| self.cursor(offset).into(), EventId::from);
        if reached > 0 {
            log.keep(lane, event);
        }
        Ok((id, offset, reached))
    }

    pub(crate) fn cursor(&self, offset: Offset) -> Cursor {
        Cursor { epoch: self.memory.epoch(), offset }
    }

    /// The channels that have a reader or an event.
    pub(crate) fn channels(&self) -> Vec<ChannelName> {
        let used = self.registry.all().filter(|shared| !shared.look().is_idle());
        used.map(|shared| shared.name.clone()).collect()
    }

    /// The newest `n` events that are held for a client, or for everybody; oldest first.
    pub(crate) fn recent(&self, name: &ChannelName, client: Option<&ClientId>, n: usize) -> Vec<EncodedEvent> {
        let newest = self.with_existing(name, |state| {
            let (now, view) = (now(), View { client: client.and_then(|client| state.log.lane_of(client)) });
            state.log.expire(view, now);
            let newest = state.log.newest(view, n);
            self.counters.evicted.add(state.log.enforce(now, log::SLICE));
            newest
        });
        let mut recent = newest.unwrap_or_default();
        recent.reverse();
        recent
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot(self.registry.len(), self.seats.counts(), self.ledger.tally.all())
    }

    /// Ends the readers of a client on all channels. Says how many.
    pub(crate) fn disconnect(&self, client: &ClientId) -> usize {
        self.registry.all().map(|shared| end_client(&shared, client)).sum()
    }

    /// Ends all readers of a channel and forgets its history, and that it was finished. Says how many readers there were.
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
                tombstone.finished = false;
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
                // What a copy knows is known where the log lives.
                let here = self.elsewhere.is_none();
                let forgotten = here.then(|| self.memory.bury(shared.name.clone(), tombstone)).flatten();
                remains = (held, forgotten);
            }
            idle
        });
        let (held, forgotten) = remains;
        self.free(held.into_iter().chain(forgotten));
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.seats.is_shutting_down()
    }

    /// Refuses publishes and subscriptions from now on, ends all readers, and waits for them to be gone for at most `grace`.
    /// Says whether they are.
    pub(crate) async fn shutdown(&self, grace: Duration) -> bool {
        debug!("shutdown", subscriptions = self.seats.taken());
        self.end_readers();
        tokio::time::timeout(grace, self.seats.emptied()).await.is_ok()
    }

    /// Refuses publishes and subscriptions from now on, and ends all readers once they have read what is left.
    pub(crate) fn end_readers(&self) {
        self.seats.shut_down();
        if self.seats.taken() == 0 {
            return;
        }
        for shared in self.registry.all() {
            let ended = shared.change().readers.end_all(EndReason::Shutdown);
            drop(ended);
        }
    }

    /// When a reader that is sent away is to reconnect: a random time within the configured spread.
    pub(crate) fn reconnect_after(&self) -> Duration {
        let (min, max) = self.settings.reconnect;
        random::between(min, max)
    }
}

/// Ends the readers of a client on one channel, in slices. Says how many.
pub(crate) fn end_client(shared: &Shared, client: &ClientId) -> usize {
    let connected = |state: &State| state.log.lane_of(client).map_or(0, |lane| state.readers.of(lane));
    // Those that are there now: as many as a client that comes back at once.
    let (mut left, mut all) = (connected(&shared.look()), 0);
    while left > 0 {
        let mut state = shared.change();
        let Some(lane) = state.log.lane_of(client) else { break };
        let (ended, wakeups) = state.readers.end_lane(lane, EndReason::Disconnected, |_| true);
        drop(state);
        drop(wakeups);
        all += ended;
        left = if ended < SLICE { 0 } else { left.saturating_sub(ended) };
    }
    all
}

/// The clock: tokio's, so that tests can stop it. Works outside of a runtime too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
