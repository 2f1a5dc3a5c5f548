//! How a run ended: its last event, which is written in the same step as the end of its channel.

use std::fmt;

use serde_json::{Value, json};

use crate::wire::{encoded::EncodedEvent, event::Event, name::EventName};

/// How a run ended. Every run has exactly one outcome.
///
/// It is the last event of the run, and is held as long as the run is. More outcomes may be added.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The producer returned `Ok`: the answer is complete.
    Done,
    /// The run was [stopped](super::Runs::stop) before the producer had returned.
    Stopped,
    /// The producer returned an error, or panicked. The text is what [`Runs::explain`](super::Runs::explain) made of the
    /// error; readers may see it. By default there is none.
    Failed(Option<String>),
    /// The producer is gone: its task was dropped, or its node has died or was cut off from the store for longer than a
    /// [lease](super::Runs::lease).
    Lost,
    /// The producer's node was [drained](super::Runs::drain).
    Drained,
}

/// The name of the last event.
const NAME: EventName = EventName::from_static("run.outcome");

impl Outcome {
    /// Returns the outcome in one word: `done`, `stopped`, `failed`, `lost` or `drained`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
            Self::Lost => "lost",
            Self::Drained => "drained",
        }
    }

    /// Returns whether the answer is complete.
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// Returns what readers may be told: a short sentence, or what the application says of a failure.
    pub fn message(&self) -> &str {
        match self {
            Self::Done => "the run is done",
            Self::Stopped => "the run was stopped",
            Self::Failed(Some(message)) => message,
            Self::Failed(None) => "the run failed",
            Self::Lost => "the server that produced the run is gone",
            Self::Drained => "the server that produced the run was shut down",
        }
    }

    /// Reads the outcome in the last event of a run; `None` in any other event.
    pub fn of(event: &EncodedEvent) -> Option<Self> {
        let name = event.name()?;
        if name != NAME.as_str() {
            return None;
        }
        let data: Value = serde_json::from_str(&event.data()).ok()?;
        Some(match data["outcome"].as_str()? {
            "done" => Self::Done,
            "stopped" => Self::Stopped,
            "failed" => Self::Failed(data["message"].as_str().map(Into::into)),
            "drained" => Self::Drained,
            _ => Self::Lost,
        })
    }

    /// The last event of a run.
    pub(super) fn to_event(&self) -> Event {
        let data = match self {
            Self::Failed(Some(message)) => json!({ "outcome": self.as_str(), "message": message }),
            _ => json!({ "outcome": self.as_str() }),
        };
        Event::text(data.to_string()).name(NAME)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
