//! The driver's task: session after session, with a pause after each that failed.

use std::sync::{Arc, Weak};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    command::Command,
    duties::Duties,
    pause::{patience, spread},
    session::{Over, Session},
};
use crate::{hub::engine::Hub, node::link::Link, random, trace::debug};

struct Driver {
    hub: Weak<Hub>,
    link: Arc<Link>,
    commands: mpsc::UnboundedReceiver<Command>,
    duties: Duties,
    number: u64,
    /// Whether the task has been polled.
    begun: bool,
}

/// Drives the hub for as long as it exists.
pub(crate) fn run(
    hub: Weak<Hub>,
    link: Arc<Link>,
    commands: mpsc::UnboundedReceiver<Command>,
    number: u64,
) -> impl Future<Output = ()> {
    // Includes the questions that the previous driver has not answered.
    let duties = Duties::new(link.last_ticket());
    Driver { hub, link, commands, duties, number, begun: false }.run()
}

impl Driver {
    async fn run(mut self) {
        self.begun = true;
        self.take_over();
        let mut failures = 0;
        loop {
            while self.duties.are_none() {
                let Some(command) = self.commands.recv().await else { return };
                self.duties.obey(command, None);
            }
            self.link.pulse.begins();
            let session = Session::new(&self.hub, self.link.clone(), &mut self.commands, &mut self.duties);
            match session.run().await {
                Over::Hub => return,
                Over::Idle => {
                    failures = 0;
                    self.duties.ticket = 0;
                    self.link.pulse.rests();
                }
                Over::Feed { useful } => {
                    failures = if useful { 0 } else { failures + 1 };
                    self.link.pulse.is_lost();
                    debug!("the feed of the backend ended", failures = failures);
                    if !self.pause(failures).await {
                        return;
                    }
                }
            }
        }
    }

    /// Takes over the channels of an earlier driver, whose runtime is gone. This can't be done where the driver is
    /// created: a channel is locked there, and shards are locked before channels.
    fn take_over(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            self.duties.take_over(&hub);
        }
    }

    /// Waits before the next session, longer after each failure. Returns `false` if the hub is gone.
    async fn pause(&mut self, failures: u32) -> bool {
        let until = Instant::now() + spread(patience(failures), random::bits());
        loop {
            match timeout_at(until, self.commands.recv()).await {
                Ok(Some(command)) => self.duties.obey(command, None),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }
}

impl Drop for Driver {
    /// Wakes all readers if the hub still exists, so that one of them starts another driver in its own runtime. In that
    /// case, this driver has ended with its runtime.
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else { return };
        // The order matters: a reader that finds the hub without a driver must be able to start another one.
        self.commands.close();
        self.link.driver_ended(self.number);
        self.link.pulse.rests();
        // A driver that was never polled may be dropped where it was started, with a channel locked. If a driver
        // panicked before the store had answered, the next one would probably panic too. In both cases a parked reader
        // starts another driver when it is polled for its keep-alive.
        if self.begun && (self.duties.useful || !std::thread::panicking()) {
            for channel in hub.registry.all() {
                let all = channel.change().readers.wake_all();
                drop(all);
            }
        }
    }
}
