//! The driver's life: session after session, with pauses after those that failed.

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
    /// It was polled.
    begun: bool,
}

/// Drives the hub until it is gone.
pub(crate) fn run(
    hub: Weak<Hub>,
    link: Arc<Link>,
    commands: mpsc::UnboundedReceiver<Command>,
    number: u64,
) -> impl Future<Output = ()> {
    // Those tickets that the one before has not answered.
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
            let session = Session::new(&self.hub, self.link.clone(), &mut self.commands, &mut self.duties);
            match session.run().await {
                Over::Hub => return,
                Over::Idle => {
                    failures = 0;
                    self.duties.ticket = 0;
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
        if let Some(hub) = self.hub.upgrade() {
            self.duties.take_over(&hub);
        }
    }

    /// Waits before the next try, longer from one to the next. `false`: the hub is gone.
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
    /// Where its hub is still there it has gone with its runtime. Who waits is told, to begin another elsewhere.
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else { return };
        // In this order: who finds it abandoned can begin another.
        self.commands.close();
        self.link.driver_ended(self.number);
        // One that was never polled may be dropped where it was begun, with a channel locked; and after one that panics without
        // being of use the next would, too. Who is parked then begins another when it is polled for a keep-alive.
        if self.begun && (self.duties.useful || !std::thread::panicking()) {
            for channel in hub.registry.all() {
                let all = channel.change().readers.wake_all();
                drop(all);
            }
        }
    }
}
