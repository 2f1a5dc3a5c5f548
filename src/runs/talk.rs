//! What the nodes tell each other, through a channel that each of them reads: that a node is alive, that a run is to stop,
//! that a run was lost. Without a backend there is one node, and nothing to tell.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_core::Stream as _;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    active::Why,
    error::RunError,
    finish::finish,
    handover::Waiting,
    local::Local,
    names::NODES,
    outcome::Outcome,
    race::{Either, race},
    status,
};
use crate::{
    hub::{Delivery, Grant, OpenOptions, Subscription},
    random,
    sync::lock,
    wire::{event::Event, name::ChannelName},
};

/// Somebody here depends on a run of another node, as long as this is held.
pub(super) struct Watch {
    local: Weak<Local>,
    node: u64,
    run: ChannelName,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(local) = self.local.upgrade() {
            lock(&local.control.peers).unwatch(self.node, &self.run);
        }
    }
}

impl Local {
    /// Takes part in what the nodes tell each other, if there may be others. From now on nothing is missed.
    pub(super) async fn take_part(self: &Arc<Self>) -> Result<(), RunError> {
        if !self.publisher.is_shared() {
            return Ok(());
        }
        let mut tasks = self.control.tasks.lock().await;
        if !tasks.is_empty() && tasks.iter().all(|task| !task.is_finished()) {
            return Ok(());
        }
        tasks.drain(..).for_each(|task| task.abort());
        let subscription = OpenOptions::new().own().open(&self.publisher, Grant::new([NODES]), None).await?;
        let changed = self.control.changed.clone();
        let listens = tokio::spawn(listen(Arc::downgrade(self), subscription, changed));
        let beats = tokio::spawn(beat(Arc::downgrade(self), self.count()));
        tasks.extend([listens.abort_handle(), beats.abort_handle()]);
        Ok(())
    }

    /// Watches the node of a run. While the returned watch is held, the run ends at the latest some time after its node's
    /// lease. A run of this node needs no watch.
    pub(super) async fn watch(
        self: &Arc<Self>,
        node: u64,
        run: &ChannelName,
        fence: u64,
    ) -> Result<Option<Watch>, RunError> {
        if node == self.number || !self.publisher.is_shared() {
            return Ok(None);
        }
        self.take_part().await?;
        lock(&self.control.peers).watch(node, run, fence, Instant::now());
        self.control.changed.notify_one();
        Ok(Some(Watch { local: Arc::downgrade(self), node, run: run.clone() }))
    }

    /// Watches the node of a run that somebody has asked about, for as long as it takes to notice that the node is gone. If
    /// it is, whoever asks again finds that the run has ended.
    pub(super) async fn watch_for_a_while(self: &Arc<Self>, node: u64, run: &ChannelName, fence: u64) {
        // If the store does not answer, nobody notices anything.
        let Ok(Some(watch)) = self.watch(node, run, fence).await else { return };
        {
            let mut asked_about = lock(&self.control.asked_about);
            if asked_about.len() >= MOST_ASKED_ABOUT || !asked_about.insert(run.clone()) {
                return;
            }
        }
        let time = self.control.lease() + TELLING;
        tokio::spawn(async move {
            sleep(time).await;
            if let Some(local) = watch.local.upgrade() {
                lock(&local.control.asked_about).remove(&watch.run);
            }
        });
    }

    /// Asks the producer of a run to stop, on whichever node it is.
    pub(super) async fn stop(self: &Arc<Self>, run: &ChannelName) -> Result<(), RunError> {
        match self.get(run) {
            Some(active) => active.ask(Why::Stop),
            None if self.publisher.is_shared() => {
                self.tell(format!("stop {run}")).await?;
                if let Ok(Some(head)) = status::head(self, run).await {
                    self.watch_for_a_while(head.node, run, head.fence).await;
                }
            }
            None => {}
        }
        Ok(())
    }

    async fn tell(&self, text: String) -> Result<(), RunError> {
        self.publisher.channel(NODES).send(Event::text(text)).await?;
        Ok(())
    }

    /// Obeys what some node has told.
    fn hear(self: &Arc<Self>, text: &str) {
        let (now, control) = (Instant::now(), &self.control);
        let (verb, what) = text.split_once(' ').unwrap_or((text, ""));
        match (verb, ChannelName::try_from(what), what.parse()) {
            ("alive", _, Ok(node)) => lock(&control.peers).heard(node, now),
            ("probe", _, Ok(nonce)) => {
                let lost = lock(&control.peers).echo(nonce, control.lease(), now);
                lost.into_iter().for_each(|(run, fence)| drop(tokio::spawn(self.clone().lose(run, fence))));
            }
            ("stop", Ok(run), _) => self.get(&run).iter().for_each(|run| run.ask(Why::Stop)),
            ("lost", Ok(run), _) => self.get(&run).iter().for_each(|run| run.ask(Why::Gone)),
            _ => {}
        }
    }

    /// Ends a run of a node that is gone, unless its producer has handed it over: then the next producer is watched instead.
    ///
    /// `fence` is that of the producer that was watched, and this writes with the next one. A hand-over has a higher one, and the
    /// producer that takes over has one that is higher still, so this ends neither a run that waits nor that of another producer.
    async fn lose(self: Arc<Self>, run: ChannelName, fence: u64) {
        let channel = self.publisher.channel(run.clone()).fence(fence.saturating_add(1));
        loop {
            match Waiting::find(&self, &run).await {
                // Another producer may come at any time, and its node may be gone soon after.
                Ok(Some(waiting)) => waiting.pass(&self, &run, self.control.lease()).await,
                Ok(None) => break,
                Err(_) => sleep(AGAIN).await,
            }
        }
        if finish(&channel, None, &Outcome::Lost).await {
            return self.follow(run).await;
        }
        self.publisher.meter().found_lost();
        // If it does not arrive, the old writer notices when it sends something.
        let _ = self.tell(format!("lost {run}")).await;
    }

    async fn probe(self: Arc<Self>, nonce: u64) {
        // If it fails, it does not come back, and the next one is late.
        let _ = self.tell(format!("probe {nonce}")).await;
    }
}

/// Listens to what the nodes tell each other, and probes those that are silent.
async fn listen(local: Weak<Local>, subscription: Subscription, changed: Arc<Notify>) {
    let mut subscription = pin!(subscription);
    loop {
        let due = match local.upgrade() {
            Some(local) => lock(&local.control.peers).due(local.control.lease()),
            None => return,
        };
        let next = poll_fn(|cx| subscription.as_mut().poll_next(cx));
        let heard = race(next, race(until(due), changed.notified())).await;
        let Some(local) = local.upgrade() else { return };
        match heard {
            Either::Left(Some(Delivery::Event(event))) => local.hear(&event.data()),
            Either::Left(Some(_)) => lock(&local.control.peers).forgive(Instant::now()),
            Either::Left(None) => return,
            Either::Right(_) => {
                let nonce = random::bits();
                if lock(&local.control.peers).probe(nonce, local.control.lease(), Instant::now()) {
                    tokio::spawn(local.probe(nonce));
                }
            }
        }
    }
}

/// Says that this node is alive, as long as it has runs.
async fn beat(local: Weak<Local>, mut count: watch::Receiver<usize>) {
    while count.wait_for(|count| *count > 0).await.is_ok() {
        let Some(local) = local.upgrade() else { return };
        let lease = local.control.lease();
        let told = local.tell(format!("alive {}", local.number)).await;
        drop(local);
        sleep(if told.is_ok() { lease / 3 } else { (lease / 10).min(AGAIN) }).await;
    }
}

/// How long after a lease it is noticed at the latest that it is over.
const TELLING: Duration = Duration::from_secs(2);

/// So many runs are watched at once because somebody has asked about them.
const MOST_ASKED_ABOUT: usize = 1_000;

/// How soon a node tries again to say that it is alive.
const AGAIN: Duration = Duration::from_millis(500);

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
