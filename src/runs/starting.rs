//! How a run begins: its place in its thread, and the first event in its channel. The store lets only one of several in.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::sleep};

use super::{
    active::Active,
    error::{Kind, RunError},
    finish::finish,
    handover::Waiting,
    head::{Attempt, Head},
    local::Local,
    merge::Rule,
    outcome::Outcome,
    produce::Duty,
    race::{Either, race},
    settings::Settings,
    thread::{self, Turn},
};
use crate::{
    error::PublishError,
    hub::{ChannelState, Sent},
    publisher::Channel,
    random,
    wire::{
        cursor::Cursor,
        event::Event,
        name::{ChannelName, IdempotencyKey},
    },
};

/// How a producer comes to its run.
pub(super) enum Beginning {
    /// It is the first one of a run, which may belong to a thread.
    First(Option<ChannelName>),
    /// It takes over the run of another node.
    Next,
}

/// Begins a run. The caller owes it an outcome. Gives up while it waits for another run, if nobody waits for `begun` any more.
pub(super) async fn begin<T>(
    local: &Arc<Local>,
    settings: &Settings,
    rule: Rule,
    run: &ChannelName,
    beginning: Beginning,
    begun: &mut oneshot::Sender<T>,
) -> Result<Duty, RunError> {
    local.take_part().await?;
    let waiting = match beginning {
        Beginning::First(_) => None,
        Beginning::Next => Some(Waiting::find(local, run).await?.ok_or(Kind::NotHandedOver)?),
    };
    let attempt = waiting.as_ref().map_or(Attempt::FIRST, |waiting| waiting.event.next());
    let active = Arc::new(Active::new(&local.publisher, run.clone(), attempt, settings, rule));
    // Before anybody can know of the run, so that a request to stop it finds it.
    local.add(&active, settings.max_runs)?;
    let begun = match (beginning, waiting) {
        (_, Some(waiting)) => next(local, &active, waiting).await,
        (Beginning::First(Some(thread)), _) => first(local, settings, &active, Some(&thread), begun).await,
        (Beginning::First(None) | Beginning::Next, _) => first(local, settings, &active, None, begun).await,
    };
    match begun {
        Ok(turn) => Ok(Duty::new(local.clone(), active, turn)),
        Err(error) => {
            local.remove(&active);
            Err(error)
        }
    }
}

/// Goes on with a run that waits for a producer.
async fn next(local: &Local, active: &Active, waiting: Waiting) -> Result<Option<Turn>, RunError> {
    append(local, active, Some(waiting.at)).await?;
    let fence = active.attempt.fence;
    Ok(waiting.event.turn.map(|(thread, at)| Turn::taken_over(local, &active.name, fence, thread, at)))
}

async fn first<T>(
    local: &Arc<Local>,
    settings: &Settings,
    active: &Active,
    thread: Option<&ChannelName>,
    begun: &mut oneshot::Sender<T>,
) -> Result<Option<Turn>, RunError> {
    let turn = match thread {
        None => None,
        Some(thread) => Some(taken(local, settings, active, thread, begun).await?),
    };
    match append(local, active, None).await {
        Ok(()) => Ok(turn),
        Err(error) => {
            if let Some(turn) = turn {
                turn.end().await;
            }
            Err(error)
        }
    }
}

async fn taken<T>(
    local: &Arc<Local>,
    settings: &Settings,
    active: &Active,
    thread: &ChannelName,
    begun: &mut oneshot::Sender<T>,
) -> Result<Turn, RunError> {
    // Before another run is stopped for it.
    if active.channel.info().await?.state != ChannelState::Absent {
        return Err(Kind::Started.into());
    }
    let take = thread::take(local, settings, thread, &active.name);
    match race(take, begun.closed()).await {
        Either::Left(turn) => turn,
        Either::Right(()) => Err(Kind::Stopped.into()),
    }
}

/// Appends the producer's first event, which nobody may have done before.
async fn append(local: &Local, active: &Active, after: Option<Cursor>) -> Result<(), RunError> {
    let mut event = Head::new(local.number, active.attempt).to_event();
    if local.publisher.is_shared() {
        // So that an attempt that was not acknowledged is not taken for somebody else's.
        let key = format!("run.started/{:x}/{:x}", local.number, random::bits());
        event = event.idempotency_key(IdempotencyKey::try_from(key)?);
    }
    for _ in 1..ATTEMPTS {
        match active.channel.send_if(after, event.clone()).await {
            Err(error) if error.is_unavailable() => sleep(PAUSE).await,
            sent => return checked(active, sent),
        }
    }
    let sent = active.channel.send_if(after, event.clone()).await;
    if sent.as_ref().is_err_and(|error| error.is_unavailable()) {
        tokio::spawn(give_up(active.channel.clone(), after, event));
    }
    checked(active, sent)
}

/// Ends a run that has no producer, if it has begun all the same. If another start of its id was first, that one's producer has
/// it.
async fn give_up(channel: Channel, after: Option<Cursor>, first: Event) {
    let mut pause = PAUSE;
    loop {
        match channel.send_if(after, first.clone()).await {
            Ok(_) => {
                finish(&channel, None, &Outcome::Lost).await;
                return;
            }
            Err(error) if error.is_unavailable() => sleep(pause).await,
            Err(_) => return,
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

fn checked(active: &Active, sent: Result<Sent, PublishError>) -> Result<(), RunError> {
    match sent {
        Ok(sent) => {
            if active.attempt == Attempt::FIRST {
                let _ = active.first.set(sent.cursor);
            }
            Ok(())
        }
        Err(error) if error.is_conflict() || error.is_finished() || error.is_fenced() => Err(Kind::Started.into()),
        Err(error) => Err(error.into()),
    }
}
