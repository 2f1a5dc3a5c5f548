//! The first event of a run, which says who writes it. Readers don't get it.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::wire::{
    encoded::EncodedEvent,
    event::Event,
    name::{ChannelName, EventName},
};

/// What is known of a run from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The node of the producer.
    pub(super) node: u64,
    /// The producer's.
    pub(super) fence: u64,
    /// When it began, by that node's clock.
    pub(super) since: SystemTime,
}

/// The fence of a run's first producer.
pub(super) const FIRST: u64 = 1;

const NAME: EventName = EventName::from_static("run.started");

impl Head {
    pub(super) fn new(node: u64) -> Self {
        Self { node, fence: FIRST, since: SystemTime::now() }
    }

    pub(super) fn to_event(&self) -> Event {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let data = json!({ "node": self.node, "fence": self.fence, "since": since });
        Event::text(data.to_string()).name(NAME)
    }

    pub(super) fn of(event: &EncodedEvent) -> Option<Self> {
        if event.name()? != NAME.as_str() {
            return None;
        }
        let data: Value = serde_json::from_str(&event.data()).ok()?;
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(data["since"].as_u64()?))?;
        Some(Self { node: data["node"].as_u64()?, fence: data["fence"].as_u64()?, since })
    }
}

/// What is written down in the channel of a thread: that a run begins, or that it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The run's channel.
    pub(super) run: ChannelName,
    pub(super) node: u64,
    pub(super) fence: u64,
    pub(super) ended: bool,
}

const RECORD: EventName = EventName::from_static("run.record");

impl Record {
    pub(super) fn to_event(&self) -> Event {
        let Self { run, node, fence, ended } = self;
        let data = json!({ "run": run.as_str(), "node": node, "fence": fence, "ended": ended });
        Event::text(data.to_string()).name(RECORD)
    }

    pub(super) fn of(event: &EncodedEvent) -> Option<Self> {
        if event.name()? != RECORD.as_str() {
            return None;
        }
        let data: Value = serde_json::from_str(&event.data()).ok()?;
        Some(Self {
            run: ChannelName::try_from(data["run"].as_str()?).ok()?,
            node: data["node"].as_u64()?,
            fence: data["fence"].as_u64()?,
            ended: data["ended"].as_bool()?,
        })
    }
}
