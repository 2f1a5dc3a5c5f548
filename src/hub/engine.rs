//! The hub: its parts and its shutdown. The other files of this folder do its work.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use super::{
    allowance::{Allowances, CountedElsewhere},
    due::Due,
    ledger::Ledger,
    limits::Limits,
    registry::Registry,
    seam::Elsewhere,
    seats::Seats,
    watch::Watch,
};
use crate::{
    backend::memory::Memory,
    footprint::Tally,
    log::Retention,
    meter::{Labels, Meter},
    observe::{Counters, Stats},
    random,
    trace::debug,
    wire::{
        cursor::{Cursor, Offset},
        name::ChannelName,
        notice::EndReason,
        traceparent::TraceParent,
    },
};

/// The settings that a hub is built with.
pub(crate) struct HubSettings {
    pub(crate) limits: Limits,
    pub(crate) retention: Box<dyn Fn(&ChannelName) -> Retention + Send + Sync>,
    /// Readers that are sent away reconnect after a random time between these.
    pub(crate) reconnect: (Duration, Duration),
    /// Who is told of streams.
    pub(crate) watch: Watch,
    /// Returns the trace in which an event is published that does not say one.
    pub(crate) traceparent: Option<Traced>,
    /// The labels of the hub's metrics.
    pub(crate) labels: Labels,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            retention: Box::new(|_| Retention::default()),
            reconnect: (Duration::from_secs(1), Duration::from_secs(5)),
            watch: Watch::default(),
            traceparent: None,
            labels: Labels::default(),
        }
    }
}

pub(crate) type Traced = Box<dyn Fn() -> Option<TraceParent> + Send + Sync>;

/// Changes how much some channels hold, starting from the settings.
pub(crate) type Adjust = Box<dyn Fn(&ChannelName, Retention) -> Option<Retention> + Send + Sync>;

pub(crate) struct Hub {
    pub(crate) settings: HubSettings,
    /// Set by a higher floor for its own channels.
    pub(crate) adjust: OnceLock<Adjust>,
    pub(crate) memory: Memory,
    /// Counts what all of this takes from the allocator.
    pub(crate) ledger: Arc<Ledger>,
    /// Where the logs live, if not here.
    pub(crate) elsewhere: Option<Arc<dyn Elsewhere>>,
    pub(crate) registry: Registry,
    pub(crate) counters: Counters,
    pub(crate) meter: Meter,
    pub(crate) seats: Arc<Seats>,
    pub(crate) allowances: Arc<Allowances>,
    pub(crate) due: Due,
}

impl Hub {
    pub(crate) fn new(settings: HubSettings, elsewhere: Option<Arc<dyn Elsewhere>>) -> Self {
        let seats = Arc::new(Seats::new(settings.limits.subscriptions));
        let max = settings.limits.hub_bytes;
        let tally = Arc::new(Tally::new(max / 4));
        let counted = elsewhere.clone().map(|elsewhere| elsewhere as Arc<dyn CountedElsewhere>);
        let allowances = Arc::new(Allowances::new(tally.clone(), counted));
        Self {
            meter: Meter::new(&settings.labels),
            settings,
            adjust: OnceLock::new(),
            memory: Memory::new(tally.clone(), max),
            ledger: Arc::new(Ledger::new(tally.clone())),
            elsewhere,
            registry: Registry::new(tally),
            counters: Counters::default(),
            seats,
            allowances,
            due: Due::new(now()),
        }
    }

    pub(crate) fn cursor(&self, offset: Offset) -> Cursor {
        Cursor { epoch: self.memory.epoch(), offset }
    }

    pub(crate) fn stats(&self) -> Stats {
        let stats = self.counters.snapshot(self.registry.len(), self.seats.counts(), self.ledger.tally.all());
        Stats { ephemeral_dropped: self.ledger.dropped.get(), ..stats }
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.seats.is_shutting_down()
    }

    /// Refuses publishes and subscriptions from now on, ends all readers, and waits up to `grace` until they are gone.
    /// Returns whether they are gone.
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

    /// Returns the time after which a reader that is sent away is to reconnect: random, within the configured spread.
    pub(crate) fn reconnect_after(&self) -> Duration {
        let (min, max) = self.settings.reconnect;
        random::between(min, max)
    }

    /// Returns such a time for a reader that has to stay away for `least`: as random, and no shorter.
    pub(crate) fn reconnect_after_at_least(&self, least: Duration) -> Duration {
        let (min, _) = self.settings.reconnect;
        self.reconnect_after().saturating_add(least.saturating_sub(min))
    }
}

/// Returns the time of tokio's clock, so that tests can stop it. Works outside a runtime too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
