//! A session: one feed, and how the driver handles its messages.

mod answers;
mod feed;

use std::{
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{
    calls::{Answer, Calls},
    command::Command,
    duties::Duties,
    pause::TICK,
};
use crate::{
    backend::{Message, Presence},
    hub::engine::{Hub, now},
    node::link::Link,
    trace::debug,
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::ChannelName,
    },
};

/// How often the session asks the feed for a sign of life, and the store how far the channels are.
const CHECK: Duration = Presence::EVERY;
/// How many messages are taken at once.
const AT_ONCE: usize = 256;

/// Why a session is over.
pub(super) enum Over {
    /// The hub is gone.
    Hub,
    /// No channel is watched.
    Idle,
    /// The feed has ended or can't be trusted any more. `useful` says whether it had brought a level.
    Feed { useful: bool },
}

pub(super) struct Session<'a> {
    hub: &'a Weak<Hub>,
    link: Arc<Link>,
    commands: &'a mut mpsc::UnboundedReceiver<Command>,
    duties: &'a mut Duties,
    calls: Calls,
    messages: mpsc::Receiver<Message>,
    taken: Vec<Message>,
    tick: Interval,
    checked: Instant,
    /// The hub's last offset when the heads were asked for.
    heads_at: Offset,
    heads_due: bool,
    /// `None` until the first level has arrived. Nothing is read before that.
    epoch: Option<Epoch>,
    /// The store's last offset when the session began. If the store is behind it later, it has lost events.
    known: Cursor,
    /// The offset up to which the feed has brought everything that it has to carry.
    position: Offset,
}

#[allow(clippy::large_enum_variant, reason = "there is one at a time, and a box would be allocated for each answer")]
enum Happened {
    Messages,
    Answer(Answer),
    Command(Option<Command>),
    Tick,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        hub: &'a Weak<Hub>,
        link: Arc<Link>,
        commands: &'a mut mpsc::UnboundedReceiver<Command>,
        duties: &'a mut Duties,
    ) -> Self {
        let (calls, messages) = Calls::new(link.clone());
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            known: link.known(),
            hub,
            link,
            commands,
            duties,
            calls,
            messages,
            taken: Vec::new(),
            tick,
            checked: Instant::now(),
            heads_at: Offset::START,
            heads_due: false,
            epoch: None,
            position: Offset::START,
        }
    }

    pub(super) async fn run(mut self) -> Over {
        let Some(hub) = self.hub.upgrade() else { return Over::Hub };
        self.begin(&hub);
        drop(hub);
        loop {
            let happened = std::future::poll_fn(|cx| self.poll(cx)).await;
            // Held only while the event is handled, so that the hub can end.
            let Some(hub) = self.hub.upgrade() else { return Over::Hub };
            if let Some(over) = self.see(&hub, happened) {
                return over;
            }
        }
    }

    /// Asks for everything again. Asks for the level first, so that the epoch is known before anything is read.
    fn begin(&mut self, hub: &Hub) {
        self.calls.sync(self.duties.ticket);
        for name in self.duties.watched.names() {
            let Some(watched) = self.duties.watched.get_mut(&name) else { continue };
            (watched.carried, watched.reading, watched.failures) = (false, false, 0);
            let holds = watched.mirror.interrupt(hub);
            self.duties.watched.set_behind(&name, holds);
            self.calls.watch(&name);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        if let Poll::Ready(command) = self.commands.poll_recv(cx) {
            return Poll::Ready(Happened::Command(command));
        }
        if let Poll::Ready(answer) = self.calls.poll_answer(cx) {
            return Poll::Ready(Happened::Answer(answer));
        }
        if self.tick.poll_tick(cx).is_ready() {
            return Poll::Ready(Happened::Tick);
        }
        match self.messages.poll_recv_many(cx, &mut self.taken, AT_ONCE) {
            // The feed has ended, which is reported as an answer.
            Poll::Ready(0) | Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Happened::Messages),
        }
    }

    fn see(&mut self, hub: &Hub, happened: Happened) -> Option<Over> {
        match happened {
            Happened::Command(None) => Some(Over::Hub),
            Happened::Command(Some(command)) => {
                self.duties.obey(command, Some(&mut self.calls));
                None
            }
            Happened::Messages => {
                let mut taken = std::mem::take(&mut self.taken);
                let over = taken.drain(..).find_map(|message| self.message(hub, message));
                self.taken = taken;
                over
            }
            Happened::Answer(answer) => self.answer(hub, answer),
            Happened::Tick => self.tick(hub),
        }
    }

    fn anew(&self) -> Option<Over> {
        Some(Over::Feed { useful: self.epoch.is_some() })
    }

    /// Finds out what is missing of a channel. If the channel has been loaded, first asks whether it has changed.
    fn look_at(&mut self, hub: &Hub, channel: &ChannelName) {
        let Some(mirror) = self.epoch.and_then(|_| self.duties.watched.take_up(channel)) else { return };
        match mirror.is_loaded() {
            true => self.calls.compare(mirror.channel.clone()),
            false => self.calls.read(mirror.channel.clone(), Offset::START, self.link.retention_of(hub, channel)),
        }
    }

    /// Reads what is missing of a channel.
    fn read(&mut self, hub: &Hub, channel: &ChannelName) {
        if let Some(mirror) = self.epoch.and_then(|_| self.duties.watched.take_up(channel)) {
            self.calls.read(mirror.channel.clone(), mirror.read_after(), self.link.retention_of(hub, channel));
        }
    }

    /// Raises the level to where the feed is, unless the level waits for a channel.
    fn rise(&self, hub: &Hub) {
        if !self.duties.watched.hold_level() {
            self.link.rise(hub, self.position);
        }
        if self.duties.watched.are_whole() && self.epoch.is_some() {
            // Whatever was acknowledged before the question that is open may still be on its way.
            self.link.pulse.is_whole(self.calls.sync_since().unwrap_or_else(Instant::now));
        }
    }

    fn tick(&mut self, hub: &Hub) -> Option<Over> {
        hub.maintain_some(now());
        for channel in self.duties.drop_unread(hub) {
            self.calls.unwatch(&channel);
        }
        for channel in self.duties.watched.due() {
            self.look_at(hub, &channel);
        }
        self.rise(hub);
        if self.calls.sync_since().is_some_and(|since| since.elapsed() >= self.link.timeout) {
            debug!("the feed does not answer");
            return self.anew();
        }
        if self.checked.elapsed() >= CHECK {
            self.checked = Instant::now();
            // The session is idle only once the store knows that nobody is connected.
            if self.duties.watched.is_empty() && !self.duties.present {
                return Some(Over::Idle);
            }
            self.refresh();
            self.heads_due = true;
            self.calls.sync(self.duties.ticket);
        }
        None
    }

    /// Tells the store who is connected, unless that is already in progress. Tells it only once that nobody is
    /// connected.
    fn refresh(&mut self) {
        if !self.calls.is_refreshing() {
            // Set until it turns out that nobody is connected. If the session ends before that, the next one tells the
            // store again.
            let told = std::mem::replace(&mut self.duties.present, true);
            self.calls.refresh(self.hub, told);
        }
    }
}
