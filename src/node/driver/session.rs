//! One feed, and what is done with what it brings.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{
    Command, Driver, Over, TICK,
    calls::{Answer, Calls},
};
use crate::{
    backend::{Connected, Entry, Held, Message, Presence},
    hub::{
        engine::{Hub, now},
        state::Shared,
    },
    node::{
        mirror::{Filled, Pushed},
        remote::Remote,
    },
    trace::debug,
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::ChannelName,
    },
};

/// How often the feed is asked whether it is still there, and the store what it knows.
const CHECK: Duration = Presence::EVERY;
/// So many messages are taken at once.
const AT_ONCE: usize = 256;

pub(super) struct Session<'a> {
    driver: &'a mut Driver,
    calls: Calls,
    messages: mpsc::Receiver<Message>,
    taken: Vec<Message>,
    tick: Interval,
    checked: Instant,
    /// The hub's last offset when the heads were asked for.
    heads_at: Offset,
    heads_due: bool,
    /// Known when the first level has come; nothing is read before.
    epoch: Option<Epoch>,
    /// What was known when it began: a store that says less has lost it.
    known: Cursor,
    /// Everything up to here that it was to carry the feed has brought.
    position: Offset,
}

enum Happened {
    Messages,
    Answer(Answer),
    Command(Option<Command>),
    Tick,
}

impl<'a> Session<'a> {
    pub(super) fn new(driver: &'a mut Driver) -> Self {
        let (calls, messages) = Calls::new(driver.backend.clone(), driver.timeout);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            driver,
            calls,
            messages,
            taken: Vec::new(),
            tick,
            checked: Instant::now(),
            heads_at: Offset::START,
            heads_due: false,
            epoch: None,
            known: Cursor { epoch: Epoch::from_bits(0), offset: Offset::START },
            position: Offset::START,
        }
    }

    pub(super) async fn run(mut self) -> Over {
        self.begin();
        loop {
            let happened = std::future::poll_fn(|cx| self.poll(cx)).await;
            // Held for no longer than it takes, so that the hub can end.
            let Some(hub) = self.driver.hub.upgrade() else { return Over::Hub };
            let Some(remote) = &hub.remote else { return Over::Hub };
            if let Some(over) = self.see(&hub, remote, happened) {
                return over;
            }
        }
    }

    /// Asks for everything anew: first for the level, so that the epoch is known before anything is read.
    fn begin(&mut self) {
        if let Some(hub) = self.driver.hub.upgrade()
            && let Some(remote) = &hub.remote
        {
            self.known = remote.known();
        }
        self.calls.sync(self.driver.ticket);
        for name in self.driver.watched.names() {
            let Some(watched) = self.driver.watched.get_mut(&name) else { continue };
            (watched.carried, watched.reading, watched.failures) = (false, false, 0);
            let holds = watched.mirror.interrupt();
            self.driver.watched.hold(&name, holds);
            self.calls.watch(&name);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        if let Poll::Ready(command) = self.driver.commands.poll_recv(cx) {
            return Poll::Ready(Happened::Command(command));
        }
        if let Poll::Ready(answer) = self.calls.poll_answer(cx) {
            return Poll::Ready(Happened::Answer(answer));
        }
        if self.tick.poll_tick(cx).is_ready() {
            return Poll::Ready(Happened::Tick);
        }
        match self.messages.poll_recv_many(cx, &mut self.taken, AT_ONCE) {
            // None come any more: the feed is over, which is an answer.
            Poll::Ready(0) | Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Happened::Messages),
        }
    }

    fn see(&mut self, hub: &Hub, remote: &Remote, happened: Happened) -> Option<Over> {
        match happened {
            Happened::Command(None) => Some(Over::Hub),
            Happened::Command(Some(command)) => {
                self.driver.obey(command, Some(&mut self.calls));
                None
            }
            Happened::Messages => {
                let mut taken = std::mem::take(&mut self.taken);
                let over = taken.drain(..).find_map(|message| self.message(hub, remote, message));
                self.taken = taken;
                over
            }
            Happened::Answer(answer) => self.answer(hub, remote, answer),
            Happened::Tick => self.tick(hub, remote),
        }
    }

    fn anew(&self) -> Option<Over> {
        Some(Over::Feed { useful: self.epoch.is_some() })
    }

    fn message(&mut self, hub: &Hub, remote: &Remote, message: Message) -> Option<Over> {
        match message {
            Message::Watching(channel) => {
                if let Some(watched) = self.driver.watched.get_mut(&channel) {
                    watched.carried = true;
                    self.read(hub, &channel);
                }
                None
            }
            // As if it had been lost on the way: the channel is read when that is seen, and it is none there either.
            Message::Entry { entry, .. } if !entry.is_whole() => None,
            // Before the epoch is known nothing is read, so that what comes until then will be in what is read.
            Message::Entry { epoch, .. } if self.epoch.is_none_or(|own| own != epoch) => {
                self.epoch.and_then(|_| self.anew())
            }
            Message::Entry { channel, epoch, entry } => {
                self.entry(hub, remote, &channel, epoch, entry);
                None
            }
            Message::Closed(channel) => {
                // As long as it is not carried this is what was on its way to readers of before; it will be read.
                if self.driver.watched.get(&channel).is_some_and(|watched| watched.carried)
                    && let Some(mirror) = self.driver.watched.remove(&channel)
                {
                    mirror.drop_closed(hub);
                    self.calls.unwatch(&channel);
                }
                None
            }
            Message::Level(level) => self.level(hub, remote, level),
        }
    }

    fn entry(&mut self, hub: &Hub, remote: &Remote, channel: &ChannelName, epoch: Epoch, entry: Entry) {
        self.position = self.position.max(entry.offset);
        remote.learn(Cursor { epoch, offset: entry.offset });
        let Some(watched) = self.driver.watched.get_mut(channel) else { return };
        match watched.mirror.push(hub, epoch, entry) {
            // The level first: who wakes up reads up to it.
            Pushed::In(wakeups) => {
                self.rise(hub, remote);
                drop(wakeups);
            }
            Pushed::Known => {}
            Pushed::Broken => {
                debug!("the feed lost an event", channel = channel);
                self.driver.watched.hold(channel, true);
                self.read(hub, channel);
            }
        }
    }

    fn level(&mut self, hub: &Hub, remote: &Remote, level: Cursor) -> Option<Over> {
        if self.epoch.is_some_and(|epoch| epoch != level.epoch) {
            return self.anew();
        }
        let known = if self.epoch.is_some() { hub.cursor(hub.memory.last()) } else { self.known };
        if known.epoch == level.epoch && known.offset > level.offset {
            debug!("the store has lost events", known = known.offset, last = level.offset);
            self.calls.renew(level.epoch);
            return None;
        }
        if self.epoch.replace(level.epoch).is_none() {
            self.enter(hub, remote, level.epoch);
        }
        remote.learn(level);
        self.position = self.position.max(level.offset);
        self.rise(hub, remote);
        if let Some(sync) = self.calls.synced() {
            self.check(hub, sync.expected);
            remote.synced.reach(sync.ticket);
            if sync.ticket == self.driver.ticket {
                self.driver.ticket = 0;
            }
        }
        if level.offset > self.heads_at && std::mem::take(&mut self.heads_due) {
            self.heads_at = level.offset;
            self.calls.heads(&self.driver.watched.names());
        }
        None
    }

    /// The epoch is known: mirrors of another are void, and what waited for it is read.
    fn enter(&mut self, hub: &Hub, remote: &Remote, epoch: Epoch) {
        self.driver.useful = true;
        if remote.known().epoch != epoch {
            remote.begin(hub, epoch);
            for name in self.driver.watched.names() {
                self.driver.watched.hold(&name, false);
                if let Some(watched) = self.driver.watched.get_mut(&name) {
                    watched.mirror.restart(hub, epoch);
                }
            }
        }
        self.driver.watched.names().iter().for_each(|channel| self.read(hub, channel));
    }

    /// Reads a channel, unless it is too early for that, it is being read, or it is whole: what comes while that is read
    /// would seem to be lost by the store.
    fn read(&mut self, hub: &Hub, channel: &ChannelName) {
        if self.epoch.is_some()
            && let Some(watched) = self.driver.watched.get_mut(channel)
            && watched.carried
            && watched.mirror.tail().is_none()
            && !std::mem::replace(&mut watched.reading, true)
        {
            let (shared, after) = (watched.mirror.channel.clone(), watched.mirror.read_after());
            self.calls.read(shared, after, hub.retention_of(channel));
        }
    }

    /// The feed was to bring these channels that far before now.
    fn check(&mut self, hub: &Hub, expected: Vec<(ChannelName, Offset)>) {
        for (channel, head) in expected {
            let Some(watched) = self.driver.watched.get(&channel) else { continue };
            if watched.mirror.tail().is_some_and(|tail| tail < head) {
                debug!("the feed lost an event", channel = channel);
                let holds = watched.mirror.interrupt();
                self.driver.watched.hold(&channel, holds);
                self.read(hub, &channel);
            }
        }
    }

    /// Lets the level follow the feed, unless a channel is broken.
    fn rise(&self, hub: &Hub, remote: &Remote) {
        if self.driver.watched.are_whole() {
            remote.rise(hub, self.position);
        }
    }

    fn answer(&mut self, hub: &Hub, remote: &Remote, answer: Answer) -> Option<Over> {
        match answer {
            Answer::Feed(result) => {
                if let Err(error) = result {
                    debug!("the feed failed", error = error, cause = error.cause());
                }
                self.anew()
            }
            Answer::Failed | Answer::Renewed => self.anew(),
            Answer::Refreshed => None,
            // Asked again at the next check.
            Answer::Heads(Err(_)) => {
                self.heads_at = Offset::START;
                None
            }
            Answer::Heads(Ok(heads)) => {
                let behind = |(channel, head): &(ChannelName, Offset)| {
                    let watched = self.driver.watched.get(channel);
                    watched.and_then(|watched| watched.mirror.tail()).is_some_and(|tail| tail < *head)
                };
                let heads: Vec<_> = heads.into_iter().filter(behind).collect();
                if !heads.is_empty() {
                    // It may be on its way.
                    self.calls.expect(heads);
                }
                None
            }
            Answer::Read { shared, after, held } => {
                let watched = self.driver.watched.get_mut(&shared.name)?;
                if !Arc::ptr_eq(&watched.mirror.channel, &shared) {
                    return None;
                }
                watched.reading = false;
                if held.is_ok() {
                    watched.failures = 0;
                }
                match held {
                    Err(_) => {
                        self.driver.watched.fail(&shared.name);
                        self.rise(hub, remote);
                        None
                    }
                    Ok(held) => self.fill(hub, remote, &shared, after, held),
                }
            }
        }
    }

    fn fill(&mut self, hub: &Hub, remote: &Remote, shared: &Arc<Shared>, after: Offset, held: Held) -> Option<Over> {
        if self.epoch.is_none_or(|epoch| epoch != held.epoch) {
            return self.anew();
        }
        let (epoch, level) = (held.epoch, held.level);
        remote.learn(Cursor { epoch, offset: level });
        let Some(watched) = self.driver.watched.get_mut(&shared.name) else { return None };
        match watched.mirror.fill(hub, after, held, hub.memory.last()) {
            Filled::Again(after) => {
                watched.reading = true;
                self.calls.read(shared.clone(), after, hub.retention_of(&shared.name));
            }
            Filled::Lost => self.calls.renew(epoch),
            Filled::Whole => {
                self.driver.watched.hold(&shared.name, false);
                self.rise(hub, remote);
                if level > self.position {
                    // The feed may be quiet, and readers wait for what was read.
                    self.calls.sync(self.driver.ticket);
                }
            }
        }
        None
    }

    fn tick(&mut self, hub: &Hub, remote: &Remote) -> Option<Over> {
        hub.maintain_some(now());
        for channel in self.driver.drop_unread(hub) {
            self.calls.unwatch(&channel);
        }
        for channel in self.driver.watched.due() {
            self.read(hub, &channel);
        }
        self.rise(hub, remote);
        if self.calls.sync_since().is_some_and(|since| since.elapsed() >= self.driver.timeout) {
            debug!("the feed does not answer");
            return self.anew();
        }
        if self.checked.elapsed() >= CHECK {
            self.checked = Instant::now();
            // That nobody is left has to be said yet.
            if self.driver.watched.is_empty() && !self.driver.present {
                return Some(Over::Idle);
            }
            self.refresh(hub, remote);
            self.heads_due = true;
            self.calls.sync(self.driver.ticket);
        }
        None
    }

    /// Says who is connected; when nobody is any more, once.
    fn refresh(&mut self, hub: &Hub, remote: &Remote) {
        let channels = hub.connected();
        if !channels.is_empty() || self.driver.present {
            self.driver.present = !channels.is_empty();
            self.calls.refresh(Presence::new(remote.node, channels));
        }
    }
}

impl Hub {
    /// Who is connected to this node.
    fn connected(&self) -> Vec<(ChannelName, Connected)> {
        let present = |shared: Arc<Shared>| (shared.name.clone(), shared.look().present());
        self.registry.all().map(present).filter(|(_, present)| !present.is_empty()).collect()
    }
}
