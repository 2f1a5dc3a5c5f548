//! A window in which the tokens of a writer are merged before they are sent. What is sent stays in the order in which the
//! writer was told.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify, OwnedMutexGuard},
    time::{Instant, sleep, sleep_until},
};

use super::{
    error::{Kind, RunError},
    finish::{FIRST_PAUSE, LONGEST_PAUSE, once},
    merge::{Belongs, Merged, Rule},
};
use crate::{
    hub::Sent,
    publisher::{Channel, Publisher},
    wire::{event::Event, parts::Parts},
};

/// The longest text that is merged, as far as the hub's limit of an event allows: on the wire it is at most seven times as long.
const LONGEST: usize = 4 << 10;

pub(super) struct RollUp {
    channel: Channel,
    /// Over a backend, what is held is sent by a task, which goes on if nobody waits for it any more.
    is_shared: bool,
    rule: Rule,
    window: Duration,
    /// How many bytes of text are merged at most.
    limit: usize,
    /// How long an event may be that is held.
    longest: usize,
    /// Locked while something is sent, so that nothing overtakes it.
    state: Arc<Mutex<State>>,
    /// Something is held.
    holds: Notify,
}

#[derive(Default)]
struct State {
    /// When the window ends that the last token has opened.
    until: Option<Instant>,
    held: Option<Held>,
    /// What was held was not sent, and nobody was told.
    failed: Option<RunError>,
    is_closed: bool,
}

type Guard = OwnedMutexGuard<State>;

/// Events whose senders were told that they are accepted.
struct Held {
    merged: Merged,
    /// The last of them.
    last: Event,
}

/// What becomes of an event.
enum Fate {
    Held,
    /// It is held once that is sent which is held now.
    HeldAnew(Held),
    /// It is sent, after what is held.
    Sent(Event),
}

impl RollUp {
    pub(super) fn new(publisher: &Publisher, channel: Channel, rule: Rule, window: Duration) -> Self {
        let longest = publisher.limits().event_bytes / 4;
        let limit = LONGEST.min(longest / 4);
        let (is_shared, state) = (publisher.is_shared(), Arc::default());
        Self { channel, is_shared, rule, window, limit, longest, state, holds: Notify::new() }
    }

    /// Sends an event, or holds it: then it returns `None`.
    pub(super) async fn send(&self, event: Event) -> Result<Option<Sent>, RunError> {
        let mut state = self.lock().await?;
        match self.decide(&mut state, event) {
            Fate::Held => {}
            Fate::HeldAnew(held) => self.hold(&mut *self.flush(state).await?, held),
            Fate::Sent(event) => {
                let _state = self.flush(state).await?;
                return Ok(Some(self.channel.send(event).await?));
            }
        }
        Ok(None)
    }

    /// Sends events, after what is held.
    pub(super) async fn send_all(&self, events: Vec<Event>) -> Result<Vec<Sent>, RunError> {
        let _state = self.flush(self.lock().await?).await?;
        Ok(self.channel.send_all(events).await?)
    }

    /// Sends what is held whenever its window ends. It returns once that tells that the run has ended.
    pub(super) async fn run(&self, ended: impl FnOnce()) {
        loop {
            let due = self.state.lock().await.due();
            match due {
                None => self.holds.notified().await,
                Some(due) => sleep_until(due).await,
            }
            let state = self.state.clone().lock_owned().await;
            if state.due().is_some_and(|due| due <= Instant::now()) {
                let mut state = self.flushed(state).await;
                state.until = Instant::now().checked_add(self.window);
                match &state.failed {
                    Some(error) if error.is_ended() => return ended(),
                    _ => {}
                }
            }
        }
    }

    /// Accepts nothing more. Returns what is held, and the error with which something was not sent.
    pub(super) async fn close(&self) -> (Option<Event>, Option<RunError>) {
        self.state.lock().await.close()
    }

    /// Does the same without waiting, if nothing is being sent.
    pub(super) fn close_now(&self) -> Option<Event> {
        self.state.try_lock().ok()?.close().0
    }

    async fn lock(&self) -> Result<Guard, RunError> {
        let mut state = self.state.clone().lock_owned().await;
        state.check()?;
        Ok(state)
    }

    fn decide(&self, state: &mut State, event: Event) -> Fate {
        let Some(parts) = Parts::of(&event).filter(|parts| parts.data.len() <= self.longest) else {
            return Fate::Sent(event);
        };
        if let Some(held) = &mut state.held {
            return match held.merged.add(&parts, self.limit) {
                Belongs::Never => Fate::Sent(event),
                Belongs::Anew(merged) => Fate::HeldAnew(Held { merged, last: event }),
                Belongs::Yes => {
                    held.last = event;
                    Fate::Held
                }
            };
        }
        let Some(merged) = Merged::begin(self.rule, &parts) else { return Fate::Sent(event) };
        let now = Instant::now();
        if state.until.is_none_or(|until| until <= now) {
            state.until = now.checked_add(self.window);
            return Fate::Sent(event);
        }
        self.hold(state, Held { merged, last: event });
        Fate::Held
    }

    fn hold(&self, state: &mut State, held: Held) {
        state.held = Some(held);
        self.holds.notify_one();
    }

    /// Sends what is held.
    async fn flush(&self, state: Guard) -> Result<Guard, RunError> {
        let mut state = self.flushed(state).await;
        state.check()?;
        Ok(state)
    }

    async fn flushed(&self, state: Guard) -> Guard {
        if state.held.is_none() {
            return state;
        }
        let flushed = flush(self.channel.clone(), self.is_shared, state);
        if !self.is_shared {
            return flushed.await;
        }
        match tokio::spawn(flushed).await {
            Ok(state) => state,
            // The runtime shuts down.
            Err(_) => std::future::pending().await,
        }
    }
}

impl State {
    fn check(&mut self) -> Result<(), RunError> {
        match self.failed.take() {
            Some(error) => Err(error),
            None if self.is_closed => Err(Kind::Ended.into()),
            None => Ok(()),
        }
    }

    /// When what is held is to be sent.
    fn due(&self) -> Option<Instant> {
        self.until.filter(|_| self.held.is_some())
    }

    fn close(&mut self) -> (Option<Event>, Option<RunError>) {
        self.is_closed = true;
        (self.held.take().map(|held| held.event()), self.failed.take())
    }
}

impl Held {
    fn event(&self) -> Event {
        match Parts::of(&self.last) {
            Some(parts) if self.merged.count > 1 => self.merged.event(&parts),
            _ => self.last.clone(),
        }
    }
}

/// Sends what is held, as soon as the store answers: its senders were told that it is accepted. In process, it is sent when it is
/// not held any more, also if this is dropped in between.
async fn flush(channel: Channel, is_shared: bool, mut state: Guard) -> Guard {
    if let Some(held) = &state.held {
        let event = held.event();
        // In process the answer never gets lost.
        let event = if is_shared { once(event) } else { event };
        let mut pause = FIRST_PAUSE;
        let sent = loop {
            match channel.send(event.clone()).await {
                Err(error) if error.is_unavailable() => sleep(pause).await,
                sent => break sent,
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        };
        state.held = None;
        state.failed = sent.err().map(Into::into);
    }
    state
}
