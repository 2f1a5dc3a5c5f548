//! The status of a run, and waiting for its end.

use std::{future::poll_fn, pin::pin, sync::Arc, time::SystemTime};

use futures_core::Stream as _;

use super::{
    error::{Kind, RunError},
    handover::Waiting,
    head::Head,
    local::Local,
    outcome::Outcome,
};
use crate::{
    hub::{ChannelState, Grant, OpenOptions, Start},
    wire::{encoded::EncodedEvent, name::ChannelName},
};

/// The status of a run, from [`Runs::status`](super::Runs::status).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Its producer writes it.
    #[non_exhaustive]
    Running {
        /// When it was started, by the clock of its node.
        since: SystemTime,
        /// How many connections read it, on all nodes.
        readers: usize,
    },
    /// Its node was [drained](super::Runs::drain), and it waits for another one to [take it over](super::Runs::take_over).
    HandedOver,
    /// It has ended.
    Ended(Outcome),
}

/// Returns the status of a run, or `None` if there is no such run or it is no longer held.
pub(super) async fn status(local: &Arc<Local>, run: &ChannelName) -> Result<Option<Status>, RunError> {
    let channel = local.publisher.channel(run.clone());
    let info = channel.info().await?;
    if let Some(waiting) = Waiting::of(&info) {
        if !waiting.is_over() {
            return Ok(Some(Status::HandedOver));
        }
        waiting.end(local, run, &Outcome::Drained).await?;
        return Ok(Some(Status::Ended(Outcome::Drained)));
    }
    match info.state {
        ChannelState::Absent => Ok(None),
        // Without the last event, nothing is held any more. If that is no outcome, somebody has ended the channel by other means.
        ChannelState::Finished => {
            let outcome = |last| Outcome::of(last).unwrap_or(Outcome::Lost);
            Ok(info.last_event.as_ref().map(outcome).map(Status::Ended))
        }
        ChannelState::Open => {
            let head = head(local, run).await?;
            if let Some(head) = &head {
                local.watch_for_a_while(head.node, run, head.fence).await;
            }
            let since = head.map_or(SystemTime::UNIX_EPOCH, |head| head.since);
            let readers = channel.presence().await?.iter().map(|(_, connections)| connections).sum();
            Ok(Some(Status::Running { since, readers }))
        }
    }
}

/// What is known of a run from its beginning, if that is still held.
pub(super) async fn head(local: &Arc<Local>, run: &ChannelName) -> Result<Option<Head>, RunError> {
    Ok(first(local, run).await?.as_ref().and_then(Head::of))
}

/// The first event of a run that is held.
pub(super) async fn first(local: &Arc<Local>, run: &ChannelName) -> Result<Option<EncodedEvent>, RunError> {
    let mut page = local.publisher.channel(run.clone()).read(None, 1).await?;
    Ok(page.events.pop())
}

/// Waits until a run has ended, and returns how, or `None` if there is no such run or it is no longer held. If its node dies,
/// that is noticed as long as somebody watches it.
pub(super) async fn ended(local: &Arc<Local>, run: &ChannelName) -> Result<Option<Outcome>, RunError> {
    let options = OpenOptions::new().existing(true).start(Start::Last(1)).own();
    match options.open(&local.publisher, Grant::new([run.clone()]), None).await {
        Ok(subscription) => {
            let mut subscription = pin!(subscription);
            while poll_fn(|cx| subscription.as_mut().poll_next(cx)).await.is_some() {}
        }
        Err(error) if error.is_over() => {}
        Err(error) if error.is_absent() => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    match status(local, run).await? {
        Some(Status::Ended(outcome)) => Ok(Some(outcome)),
        // Nothing else ends the subscription of a run that goes on: the hub shuts down.
        Some(Status::Running { .. } | Status::HandedOver) => Err(Kind::Draining.into()),
        None => Ok(None),
    }
}
