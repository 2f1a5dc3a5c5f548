//! Writing an outcome.

use std::time::Duration;

use tokio::time::sleep;

use super::outcome::Outcome;
use crate::{publisher::Channel, trace::debug};

/// Ends a run, as soon as its store answers. It is no failure if somebody else was first.
pub(super) async fn finish(channel: &Channel, outcome: &Outcome) {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = channel.finish(outcome.to_event()).await {
        if !(error.is_unavailable() || error.is_limit()) {
            debug!("the outcome of a run was not written", outcome = outcome, error = error);
            return;
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
