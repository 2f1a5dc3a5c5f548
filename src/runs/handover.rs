//! Handing a run over: its producer stops without an outcome, and another node goes on with the run under a higher fence.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    error::RunError,
    finish::{FIRST_PAUSE, LONGEST_PAUSE},
    head::Attempt,
    local::Local,
    outcome::Outcome,
};
use crate::{
    error::PublishError,
    hub::{Batch, ChannelState, Info},
    wire::{
        cursor::{Cursor, EventId},
        encoded::EncodedEvent,
        event::Event,
        name::{ChannelName, EventName},
    },
};

/// The last event of a run that waits for another producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HandedOver {
    /// Of the producer that has stopped.
    pub(super) attempt: u64,
    /// With which this event was written, so that nothing of that producer comes after it.
    pub(super) fence: u64,
    /// When the run ends if nobody goes on with it.
    pub(super) until: SystemTime,
    /// The run's place in its thread.
    pub(super) turn: Option<(ChannelName, Cursor)>,
}

const NAME: EventName = EventName::from_static("run.handed_over");

impl HandedOver {
    pub(super) fn new(attempt: Attempt, within: Duration, turn: Option<(ChannelName, Cursor)>) -> Self {
        // The longest that every system's clock can express.
        let until = SystemTime::now() + within.min(Duration::from_secs(10 * 365 * 24 * 3_600));
        // A node that took the producer for lost would end the run with the next fence. It comes too late.
        Self { attempt: attempt.number, fence: attempt.fence.saturating_add(2), until, turn }
    }

    pub(super) fn to_event(&self) -> Event {
        let until = self.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        let turn = self.turn.as_ref().map(|(thread, at)| json!([thread.as_str(), EventId::from(*at).to_string()]));
        let data = json!({ "attempt": self.attempt, "fence": self.fence, "until": until, "turn": turn });
        Event::text(data.to_string()).name(NAME)
    }

    pub(super) fn of(event: &EncodedEvent) -> Option<Self> {
        if event.name()? != NAME.as_str() {
            return None;
        }
        let data: Value = serde_json::from_str(&event.data()).ok()?;
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(data["until"].as_u64()?))?;
        let turn = match &data["turn"] {
            Value::Null => None,
            turn => {
                let at = EventId::parse(turn[1].as_str()?.as_bytes())?.cursor()?;
                Some((ChannelName::try_from(turn[0].as_str()?).ok()?, at))
            }
        };
        Some(Self { attempt: data["attempt"].as_u64()?, fence: data["fence"].as_u64()?, until, turn })
    }

    /// What the next producer is.
    pub(super) fn next(&self) -> Attempt {
        Attempt { number: self.attempt.saturating_add(1), fence: self.fence.saturating_add(1) }
    }

    /// For how long it waits.
    fn left(&self) -> Duration {
        self.until.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

/// A run that waits for another producer.
pub(super) struct Waiting {
    pub(super) event: HandedOver,
    /// The position of that event, the run's last one.
    pub(super) at: Cursor,
}

impl Waiting {
    pub(super) fn of(info: &Info) -> Option<Self> {
        let last = info.last_event.as_ref().filter(|_| info.state == ChannelState::Open)?;
        let at = info.last.filter(|at| *at == last.cursor())?;
        Some(Self { event: HandedOver::of(last)?, at })
    }

    /// Finds out whether a run waits for another producer.
    pub(super) async fn find(local: &Local, run: &ChannelName) -> Result<Option<Self>, RunError> {
        Ok(Self::of(&local.publisher.channel(run.clone()).info().await?))
    }

    /// Whether nobody has come in time.
    pub(super) fn is_over(&self) -> bool {
        self.event.left().is_zero()
    }

    /// Ends the run, unless another producer goes on with it.
    pub(super) async fn end(&self, local: &Local, run: &ChannelName, outcome: &Outcome) -> Result<(), PublishError> {
        let channel = local.publisher.channel(run.clone()).fence(self.event.fence);
        let end = Batch::from(outcome.to_event()).only_after(Some(self.at)).finish();
        match channel.send_all(end).await {
            Err(error) if !(error.is_conflict() || error.is_finished() || error.is_fenced()) => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until another producer has come, and looks for it this often. Ends the run if none comes in time.
    pub(super) async fn pass(&self, local: &Local, run: &ChannelName, every: Duration) {
        let due = Instant::now() + self.event.left();
        while Instant::now() < due {
            sleep_until(due.min(Instant::now() + every)).await;
            match Self::find(local, run).await {
                Ok(Some(waiting)) if waiting.at == self.at => {}
                Ok(_) => return,
                // The store does not answer.
                Err(_) => {}
            }
        }
        if self.end(local, run, &Outcome::Drained).await.is_err() {
            sleep(LONGEST_PAUSE).await;
        }
    }

    /// Ends the run if no other producer comes in time.
    pub(super) async fn lapse(self, local: Arc<Local>, run: ChannelName) {
        sleep(self.event.left()).await;
        let mut pause = FIRST_PAUSE;
        while self.end(&local, &run, &Outcome::Drained).await.is_err_and(|error| error.is_unavailable()) {
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// Asks the producer of a run to stop, on whichever node it is. A run that waits for one ends at once.
pub(super) async fn stop(local: &Arc<Local>, run: &ChannelName) -> Result<(), RunError> {
    if local.get(run).is_none()
        && let Some(waiting) = Waiting::find(local, run).await?
    {
        waiting.end(local, run, &Outcome::Stopped).await?;
    }
    // Also if another producer has come in between.
    local.stop(run).await
}
