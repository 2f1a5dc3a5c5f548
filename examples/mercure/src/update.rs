//! An update as an event of the channel: a line of JSON that says whom it is for, and the data.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tower_sse::{EncodedEvent, Event, EventName};

use crate::selector::Selectors;

/// Whom an update is for, and what the event does not have.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The canonical topic, and the alternate ones.
    pub(crate) topics: Vec<String>,
    pub(crate) private: bool,
    /// The reconnection time, in milliseconds.
    pub(crate) retry: Option<u64>,
}

impl Head {
    /// Puts an update into an event.
    pub(crate) fn with(&self, data: &str) -> Result<Event, serde_json::Error> {
        Ok(Event::text(format!("{}\n{data}", serde_json::to_string(self)?)))
    }

    /// Reads the first line of an event's data. The rest may be large, and most readers don't want it.
    pub(crate) fn of(event: &EncodedEvent) -> Option<Self> {
        let lines = std::str::from_utf8(event.as_bytes()).ok()?.lines();
        serde_json::from_str(lines.filter_map(|line| line.strip_prefix("data: ")).next()?).ok()
    }
}

/// What a subscriber is sent.
pub(crate) struct Wanted {
    /// The topics that it has asked for.
    pub(crate) asked: Selectors,
    /// The topics whose private updates it may read.
    pub(crate) private: Selectors,
}

impl Wanted {
    /// The event to send for one of the channel, if the subscriber wants it and may read it.
    ///
    /// "The hub MUST check that at least one topic of the update to dispatch (canonical or alternate) matches at least
    /// one topic selector provided in `mercure.subscribe`": it need not be the topic that was asked for.
    pub(crate) fn map(&self, event: &EncodedEvent) -> Option<Event> {
        let head = Head::of(event)?;
        let is_wanted = self.asked.match_any(&head.topics);
        let is_allowed = !head.private || self.private.match_any(&head.topics);
        if !is_wanted || !is_allowed {
            return None;
        }
        let data = event.data();
        let mut sent = Event::text(data.split_once('\n')?.1);
        if let Some(name) = event.name().and_then(|name| EventName::try_from(name).ok()) {
            sent = sent.name(name);
        }
        if let Some(retry) = head.retry {
            sent = sent.retry(Duration::from_millis(retry));
        }
        Some(sent)
    }
}
