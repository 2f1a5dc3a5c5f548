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
    /// Which producer it is, counted from 1.
    pub(super) attempt: u64,
    /// When it began, by that node's clock.
    pub(super) since: SystemTime,
}

/// Which of a run's producers one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) fence: u64,
}

impl Attempt {
    pub(super) const FIRST: Self = Self { number: 1, fence: FIRST };
}

/// The fence of a run's first producer.
pub(super) const FIRST: u64 = 1;

const NAME: EventName = EventName::from_static("run.started");
/// The name for any but the first producer.
const NEXT: EventName = EventName::from_static("run.attempt");

impl Head {
    pub(super) fn new(node: u64, attempt: Attempt) -> Self {
        Self { node, fence: attempt.fence, attempt: attempt.number, since: SystemTime::now() }
    }

    pub(super) fn to_event(&self) -> Event {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let data = json!({ "node": self.node, "fence": self.fence, "attempt": self.attempt, "since": since });
        Event::text(data.to_string()).name(if self.attempt == 1 { NAME } else { NEXT })
    }

    /// Reads the first event of a run.
    pub(super) fn of(event: &EncodedEvent) -> Option<Self> {
        (event.name()? == NAME.as_str()).then(|| Self::read(event))?
    }

    /// Reads the event with which another producer goes on with a run.
    pub(super) fn of_next(event: &EncodedEvent) -> Option<Self> {
        (event.name()? == NEXT.as_str()).then(|| Self::read(event))?
    }

    /// Reads the event with which any producer begins.
    pub(super) fn of_any(event: &EncodedEvent) -> Option<Self> {
        Self::of(event).or_else(|| Self::of_next(event))
    }

    fn read(event: &EncodedEvent) -> Option<Self> {
        let data: Value = serde_json::from_str(&event.data()).ok()?;
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(data["since"].as_u64()?))?;
        let (node, fence) = (data["node"].as_u64()?, data["fence"].as_u64()?);
        Some(Self { node, fence, attempt: data["attempt"].as_u64()?, since })
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
