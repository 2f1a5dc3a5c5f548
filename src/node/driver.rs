//! The task of a hub whose backend is not in process: runs the feed, fills the mirrors, and says who is connected.
//!
//! It begins with the first reader, and ends with the hub, or with its runtime: then a reader of another runtime begins the
//! next. As long as there is a channel to watch it has a *session*: one feed, and all that is asked of the store meanwhile.
//! A session is of one epoch; when anything contradicts it, or the feed ends, or nothing came for too long, the next one
//! begins anew: it watches all channels, and reads what each of them missed. Until that is done the level stands still, and
//! with it the readers of several channels; all readers stay where they are, and none sees a hole. Only for a channel that
//! can't be read time after time the level does not wait: its late events are a gap to those who went on.

mod calls;
mod session;
mod watched;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use self::{calls::Calls, session::Session, watched::AllWatched};
use super::remote::Remote;
use crate::hub::{engine::Hub, state::Shared};
use crate::{backend::Backend, trace::debug, wire::name::ChannelName};

/// What the driver is told by those who open and leave.
pub(crate) enum Command {
    /// A channel has its first reader.
    Watch(Arc<Shared>),
    /// A channel has none any more, or so it was.
    Unread(Arc<Shared>),
    /// Somebody wants to know the hub's last offset.
    Sync(u64),
}

/// A mirror is kept this long after its last reader, who may be reloading a page.
const LINGER: Duration = Duration::from_secs(5);
/// How often what is due is looked at.
const TICK: Duration = Duration::from_millis(250);
/// The longest pause before the backend is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Driver {
    hub: Weak<Hub>,
    backend: Arc<dyn Backend>,
    timeout: Duration,
    commands: mpsc::UnboundedReceiver<Command>,
    watched: AllWatched,
    /// Those that nobody reads, and since when.
    unread: Vec<(Instant, Arc<Shared>)>,
    /// The last ticket that was given out for the hub's last offset.
    ticket: u64,
    /// The store knows of connections here.
    present: bool,
    number: u64,
    /// It was polled.
    begun: bool,
    /// It has heard of the store.
    useful: bool,
}

impl Drop for Driver {
    /// Where its hub is still there it has gone with its runtime. Who waits is told, to begin another elsewhere.
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else { return };
        let Some(remote) = &hub.remote else { return };
        // In this order: who finds it abandoned can begin another.
        self.commands.close();
        remote.driver_ended(self.number);
        // One that was never polled may be dropped where it was begun, with a channel locked; and after one that panics without
        // being of use the next would, too. Who is parked then begins another when it is polled for a keep-alive.
        if self.begun && (self.useful || !std::thread::panicking()) {
            for shared in hub.registry.all() {
                let all = shared.change().readers.wake_all();
                drop(all);
            }
        }
    }
}

/// How long to wait after so many failures, one after the other.
fn patience(failures: u32) -> Duration {
    TICK.saturating_mul(1 << failures.min(6)).min(PATIENCE)
}

/// Between half of `most` and all of it: of nodes that lost the same store, not all are to come back at once.
fn spread(most: Duration, random: u64) -> Duration {
    most / 2 + most / 2_000 * u32::try_from(random % 1_000).unwrap_or(0)
}

/// Why there is nothing more to do.
pub(crate) enum Over {
    /// The hub is gone.
    Hub,
    /// No channel is watched.
    Idle,
    /// The feed is of no use any more, after it was of some or not.
    Feed { useful: bool },
}

/// Drives the hub until it is gone.
pub(crate) fn run(
    hub: &Arc<Hub>,
    remote: &Remote,
    commands: mpsc::UnboundedReceiver<Command>,
    number: u64,
) -> impl Future<Output = ()> + use<> {
    let driver = Driver {
        backend: remote.backend.clone(),
        timeout: remote.timeout,
        commands,
        watched: AllWatched::default(),
        unread: Vec::new(),
        hub: Arc::downgrade(hub),
        // Those that the one before has not answered.
        ticket: remote.last_ticket(),
        present: false,
        number,
        begun: false,
        useful: false,
    };
    driver.run()
}

impl Driver {
    async fn run(mut self) {
        self.begun = true;
        self.take_over();
        let mut failures = 0;
        loop {
            while self.watched.is_empty() && !self.present && self.ticket == 0 {
                let Some(command) = self.commands.recv().await else { return };
                self.obey(command, None);
            }
            match Session::new(&mut self).run().await {
                Over::Hub => return,
                Over::Idle => {
                    failures = 0;
                    self.ticket = 0;
                }
                Over::Feed { useful } => {
                    failures = if useful { 0 } else { failures + 1 };
                    debug!("the feed of the backend ended", failures = failures);
                    if !self.pause(failures).await {
                        return;
                    }
                }
            }
        }
    }

    /// Watches the channels of a driver before, whose runtime is gone. Not sooner: who begins a driver has a channel locked,
    /// and shards are locked before channels.
    fn take_over(&mut self) {
        let Some(hub) = self.hub.upgrade() else { return };
        for shared in hub.registry.all() {
            self.watched.add(shared.clone());
            self.unread.push((Instant::now(), shared));
        }
    }

    /// Waits before the next try, longer from one to the next. `false`: the hub is gone.
    async fn pause(&mut self, failures: u32) -> bool {
        let until = Instant::now() + spread(patience(failures), RandomState::new().hash_one(failures));
        loop {
            match timeout_at(until, self.commands.recv()).await {
                Ok(Some(command)) => self.obey(command, None),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Does what it was told; in a session what is to be watched is asked for at once.
    fn obey(&mut self, command: Command, session: Option<&mut Calls>) {
        match command {
            Command::Watch(shared) => {
                if self.watched.has(&shared) {
                    return;
                }
                if let Some(calls) = session {
                    calls.watch(&shared.name);
                }
                self.watched.add(shared);
            }
            Command::Unread(shared) => self.unread.push((Instant::now(), shared)),
            Command::Sync(ticket) => {
                self.ticket = self.ticket.max(ticket);
                if let Some(calls) = session {
                    calls.sync(self.ticket);
                }
            }
        }
    }

    /// Drops the mirrors that nobody has read for a while. Gives their names.
    fn drop_unread(&mut self, hub: &Hub) -> Vec<ChannelName> {
        let due = Instant::now().checked_sub(LINGER);
        let is_due = |(since, _): &(Instant, Arc<Shared>)| due.is_some_and(|due| *since <= due);
        let left: Vec<_> = self.unread.extract_if(.., |unread| is_due(unread)).collect();
        let mut dropped = Vec::new();
        for (_, shared) in left {
            let mirror = self.watched.get(&shared.name).map(|watched| &watched.mirror);
            if mirror.is_some_and(|mirror| Arc::ptr_eq(&mirror.channel, &shared) && mirror.drop_unread(hub)) {
                self.watched.remove(&shared.name);
                dropped.push(shared.name.clone());
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_quarter_of_a_second_up_to_five() {
        let millis = |failures| patience(failures).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7, 100].map(millis),
            [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000, 5_000]
        );
    }

    #[test]
    fn a_pause_is_a_random_part_of_its_second_half() {
        let millis = |random| spread(Duration::from_secs(2), random).as_millis();
        assert_eq!([0, 500, 999, 1_000, 12_345_678].map(millis), [1_000, 1_500, 1_999, 1_000, 1_678]);
    }
}
