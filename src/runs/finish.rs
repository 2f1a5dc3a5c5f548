//! Writing an outcome.

use std::time::Duration;

use tokio::time::sleep;

use super::outcome::Outcome;
use crate::{
    hub::Batch,
    publisher::Channel,
    random,
    trace::debug,
    wire::{event::Event, name::IdempotencyKey},
};

/// The end of a run: what the writer has left to be sent, and the outcome, in one step.
pub(super) fn ending(rest: Option<&Event>, outcome: &Outcome) -> Batch {
    rest.cloned().into_iter().chain([outcome.to_event()]).collect::<Batch>().finish()
}

/// Ends a run, as soon as its store answers. It is no failure if somebody else was first. Returns whether the run is somebody
/// else's, who has a higher fence.
pub(super) async fn finish(channel: &Channel, mut rest: Option<&Event>, outcome: &Outcome) -> bool {
    let (mut pause, failed) = (FIRST_PAUSE, Outcome::Failed(None));
    let mut outcome = outcome;
    while let Err(error) = channel.send_all(ending(rest, outcome)).await {
        if error.is_unavailable() || error.is_limit() {
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        } else if rest.take().is_some() && !(error.is_finished() || error.is_fenced()) {
            // What was left is refused.
            outcome = if outcome.is_done() { &failed } else { outcome };
        } else {
            debug!("the outcome of a run was not written", outcome = outcome, error = error);
            return error.is_fenced();
        }
    }
    false
}

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An event that is sent once, however often that is tried.
pub(super) fn once(event: Event) -> Event {
    match IdempotencyKey::try_from(format!("run.once/{:x}", random::bits())) {
        Ok(key) => event.idempotency_key(key),
        // It is a valid key.
        Err(_) => event,
    }
}
