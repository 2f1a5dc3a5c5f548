//! The runs of a thread: at most one is active. A channel holds what was written down last, and the store compares and sets.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    error::{Kind, RunError},
    handover::{self, Waiting},
    head::{FIRST, Record},
    local::Local,
    names,
    outcome::Outcome,
    settings::{Conflict, Settings},
    status,
};
use crate::{
    hub::{Batch, ChannelState},
    publisher::Channel,
    wire::{cursor::Cursor, name::ChannelName},
};

/// A run's place in its thread: it is the active one.
pub(super) struct Turn {
    channel: Channel,
    record: Record,
    at: Cursor,
}

impl Turn {
    /// The place of a run that had it on another node.
    pub(super) fn taken_over(local: &Local, run: &ChannelName, fence: u64, thread: ChannelName, at: Cursor) -> Self {
        let record = Record { run: run.clone(), node: local.number, fence, ended: false };
        Self { channel: local.publisher.channel(thread), record, at }
    }

    /// The thread, and where the place is written down.
    pub(super) fn place(&self) -> Option<(ChannelName, Cursor)> {
        Some((self.channel.name().ok()?.clone(), self.at))
    }

    /// Writes down that the run has ended, unless another one has begun. If that fails, whoever comes finds out by the run
    /// itself.
    pub(super) async fn end(self) {
        let ended = Record { ended: true, ..self.record };
        let _ = self.channel.send_if(Some(self.at), ended.to_event()).await;
    }
}

/// Makes a run the active one of a thread, as the settings say for one in which another run is active.
pub(super) async fn take(
    local: &Arc<Local>,
    settings: &Settings,
    thread: &ChannelName,
    run: &ChannelName,
) -> Result<Turn, RunError> {
    let deadline = Instant::now() + settings.patience;
    let channel = local.publisher.channel(thread.clone());
    let record = Record { run: run.clone(), node: local.number, fence: FIRST, ended: false };
    loop {
        let info = channel.info().await?;
        let last = info.last_event.as_ref().and_then(Record::of).filter(|last| !last.ended);
        if let Some(last) = last {
            if last.run == *run {
                return Err(Kind::Started.into());
            }
            if is_active(local, &last).await? {
                wait(local, settings.conflict, &last, deadline).await?;
                continue;
            }
        }
        match channel.send_if(info.last, record.to_event()).await {
            Ok(sent) => return Ok(Turn { channel, record, at: sent.cursor }),
            // Another run has begun. Each of these is one that got in.
            Err(error) if error.is_conflict() && Instant::now() < deadline => {}
            Err(error) if error.is_conflict() => return Err(Kind::Busy(String::new()).into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The run that is active in a thread, if one is.
pub(super) async fn active(local: &Arc<Local>, thread: &ChannelName) -> Result<Option<Record>, RunError> {
    let info = local.publisher.channel(thread.clone()).info().await?;
    let last = info.last_event.as_ref().and_then(Record::of).filter(|last| !last.ended);
    let Some(last) = last else { return Ok(None) };
    let state = local.publisher.channel(last.run.clone()).info().await?.state;
    Ok((state == ChannelState::Open).then_some(last))
}

async fn is_active(local: &Arc<Local>, last: &Record) -> Result<bool, RunError> {
    let channel = local.publisher.channel(last.run.clone());
    let info = channel.info().await?;
    if let Some(waiting) = Waiting::of(&info).filter(Waiting::is_over) {
        waiting.end(local, &last.run, &Outcome::Drained).await?;
        return Ok(channel.info().await?.state == ChannelState::Open);
    }
    match info.state {
        ChannelState::Finished => return Ok(false),
        ChannelState::Open => return Ok(true),
        _ => {}
    }
    if local.get(&last.run).is_some() {
        return Ok(true);
    }
    // Its node is about to begin it, or is gone. Whichever comes first: its first event, or its end.
    sleep(BEGINNING).await;
    let lost = Batch::from(Outcome::Lost.to_event()).only_after(None).finish();
    match channel.fence(last.fence + 1).send_all(lost).await {
        Ok(_) => Ok(false),
        Err(error) if error.is_conflict() || error.is_finished() || error.is_fenced() => {
            Ok(channel.info().await?.state == ChannelState::Open)
        }
        Err(error) => Err(error.into()),
    }
}

/// How long a run may take from its record to its first event.
const BEGINNING: Duration = Duration::from_secs(1);

/// How soon to look again for a run that is about to begin.
const SOON: Duration = Duration::from_millis(10);

async fn wait(local: &Arc<Local>, conflict: Conflict, last: &Record, deadline: Instant) -> Result<(), RunError> {
    let busy = || RunError::from(Kind::Busy(names::run_in(&last.run).to_owned()));
    if conflict == Conflict::Reject {
        // If its node is gone, the thread is free once the lease is over.
        local.watch_for_a_while(last.node, &last.run, last.fence).await;
        return Err(busy());
    }
    let _watch = local.watch(last.node, &last.run, last.fence).await?;
    if conflict == Conflict::Interrupt {
        handover::stop(local, &last.run).await?;
    }
    match timeout_at(deadline, status::ended(local, &last.run)).await {
        Ok(Ok(Some(_))) => Ok(()),
        // It is about to begin.
        Ok(Ok(None)) => {
            sleep(SOON).await;
            Ok(())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(busy()),
    }
}
