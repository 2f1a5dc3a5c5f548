//! A run whose producer is in this process.

use std::sync::OnceLock;

use tokio::sync::watch;

use super::{
    error::{Kind, RunError},
    head::Attempt,
    merge::Rule,
    outcome::Outcome,
    roll_up::RollUp,
    settings::Settings,
};
use crate::{
    publisher::{Channel, Publisher},
    sync::{AtomicBool, Ordering},
    wire::{cursor::Cursor, name::ChannelName},
};

/// Why a run is to end before its producer returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Stop,
    Drain,
    /// Another node is to go on with it.
    HandOver,
    /// Another node has ended it.
    Gone,
}

impl Why {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Stop => Outcome::Stopped,
            // If it can't be handed over.
            Self::Drain | Self::HandOver => Outcome::Drained,
            Self::Gone => Outcome::Lost,
        }
    }
}

/// What the producer, its writers and the node share of a run.
pub(super) struct Active {
    pub(super) name: ChannelName,
    pub(super) attempt: Attempt,
    /// With the run's fence.
    pub(super) channel: Channel,
    /// The position of the run's first event.
    pub(super) first: OnceLock<Cursor>,
    /// How tokens are merged before they are sent, if they are.
    pub(super) roll_up: Option<RollUp>,
    /// `why` may say why the run is to end. Read first, because it costs less.
    asked: AtomicBool,
    why: watch::Sender<Option<Why>>,
}

impl Active {
    pub(super) fn new(
        publisher: &Publisher,
        name: ChannelName,
        attempt: Attempt,
        settings: &Settings,
        rule: Rule,
    ) -> Self {
        let channel = publisher.channel(name.clone()).fence(attempt.fence);
        let roll_up = settings.roll_up.map(|window| RollUp::new(publisher, channel.clone(), rule, window));
        Self {
            name,
            attempt,
            channel,
            first: OnceLock::new(),
            roll_up,
            asked: AtomicBool::new(false),
            why: watch::Sender::new(None),
        }
    }

    /// Asks the producer to end. The first reason counts.
    pub(super) fn ask(&self, why: Why) {
        // Before the producer learns of it, so that from then on everything is checked against the reason.
        self.asked.store(true, Ordering::Release);
        self.why.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(why);
            is_first
        });
    }

    pub(super) fn why(&self) -> Option<Why> {
        *self.why.borrow()
    }

    /// Waits until the producer is asked to end.
    pub(super) async fn asked(&self) -> Why {
        let mut why = self.why.subscribe();
        match why.wait_for(Option::is_some).await.map(|why| *why) {
            Ok(Some(why)) => why,
            // The sender is in `self`.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Refuses what a writer sends once the run was asked to end.
    pub(super) fn check(&self) -> Result<(), RunError> {
        match self.asked.load(Ordering::Acquire).then(|| self.why()).flatten() {
            None => Ok(()),
            Some(Why::Gone) => Err(Kind::Ended.into()),
            Some(Why::Stop | Why::Drain | Why::HandOver) => Err(Kind::Stopped.into()),
        }
    }
}
