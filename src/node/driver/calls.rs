//! What a session has asked of the store, until it is answered.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::Instant,
};

use crate::{
    backend::{Connected, Heads, Held, Message, Presence, Progress, Request, feed_channels},
    error::BackendError,
    hub::{
        engine::Hub,
        registry::SHARDS,
        state::{Present, Shared},
    },
    log::Retention,
    node::link::Link,
    wire::{
        cursor::{Epoch, Offset},
        name::ChannelName,
    },
};

/// How many channels are read at once. The others wait for their turn, because a store may run one call after another,
/// and a publish waits behind all of them.
const READS: usize = 32;
/// How many channels one question asks about, and how many of these questions run at once.
const HEADS: usize = 250;
const QUESTIONS: usize = 2;

pub(crate) struct Calls {
    link: Arc<Link>,
    requests: mpsc::UnboundedSender<Request>,
    /// The calls in progress. All of them end with the session.
    tasks: JoinSet<Answer>,
    to_read: VecDeque<ToRead>,
    reading: usize,
    /// Channels for which to ask whether they have changed.
    to_compare: VecDeque<Arc<Shared>>,
    /// Channels for which to ask whether the feed has lost something.
    to_check: VecDeque<ChannelName>,
    /// How many questions about channels are in progress.
    asking: usize,
    sync: Option<Sync>,
    /// Whether another level was asked for while one was on its way.
    sync_again: bool,
    /// The offsets up to which the feed has to bring these channels before the next level.
    expected: Vec<(ChannelName, Offset)>,
    ticket: u64,
    /// Whether the store is being told who is connected.
    refreshing: bool,
}

struct ToRead {
    shared: Arc<Shared>,
    after: Offset,
    retention: Option<Retention>,
}

/// A level that is on its way.
pub(super) struct Sync {
    since: Instant,
    /// The latest ticket that the level answers.
    pub(super) ticket: u64,
    /// See the field of [`Calls`].
    pub(super) expected: Vec<(ChannelName, Offset)>,
}

pub(super) enum Answer {
    Feed(Result<(), BackendError>),
    Read {
        shared: Arc<Shared>,
        after: Offset,
        held: Result<Held, BackendError>,
    },
    /// How far these channels are, which may have changed.
    Compared {
        channels: Vec<Arc<Shared>>,
        heads: Result<Heads, BackendError>,
    },
    /// How far these channels are, of which the feed may have lost something.
    Checked {
        channels: Vec<ChannelName>,
        heads: Result<Heads, BackendError>,
    },
    /// The store was asked to begin a new epoch.
    Renewed,
    /// The store was told who is connected, or could not be told. `present` says whether anybody is.
    Refreshed {
        present: bool,
    },
    /// A call of the backend panicked.
    Failed,
}

impl Calls {
    /// Starts a feed.
    pub(super) fn new(link: Arc<Link>) -> (Self, mpsc::Receiver<Message>) {
        let (requests, messages, request, message) = feed_channels();
        let mut tasks = JoinSet::new();
        let feed = link.backend.clone();
        tasks.spawn(async move { Answer::Feed(feed.feed(requests, messages).await) });
        let calls = Self {
            link,
            requests: request,
            tasks,
            to_read: VecDeque::new(),
            reading: 0,
            to_compare: VecDeque::new(),
            to_check: VecDeque::new(),
            asking: 0,
            sync: None,
            sync_again: false,
            expected: Vec::new(),
            ticket: 0,
            refreshing: false,
        };
        (calls, message)
    }

    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        // The set is never empty for long, since it contains the feed.
        let Some(answer) = ready!(self.tasks.poll_join_next(cx)) else { return Poll::Pending };
        let answer = answer.unwrap_or(Answer::Failed);
        match &answer {
            Answer::Read { .. } => {
                self.reading -= 1;
                self.start_reads();
            }
            Answer::Compared { .. } | Answer::Checked { .. } => {
                self.asking -= 1;
                self.start_questions();
            }
            Answer::Refreshed { .. } => self.refreshing = false,
            Answer::Feed(_) | Answer::Renewed | Answer::Failed => {}
        }
        Poll::Ready(answer)
    }

    pub(super) fn watch(&self, channel: &ChannelName) {
        self.request(Request::Watch(channel.clone()));
    }

    pub(super) fn unwatch(&self, channel: &ChannelName) {
        self.request(Request::Unwatch(channel.clone()));
    }

    fn request(&self, request: Request) {
        // A feed that has ended reports that with its answer.
        let _ = self.requests.send(request);
    }

    /// Asks for a level that answers all tickets up to this one. Only one such question is in progress at a time.
    pub(super) fn sync(&mut self, ticket: u64) {
        self.ticket = self.ticket.max(ticket);
        self.sync_again = self.sync.is_some();
        if !self.sync_again {
            let expected = std::mem::take(&mut self.expected);
            self.sync = Some(Sync { since: Instant::now(), ticket: self.ticket, expected });
            self.request(Request::Sync);
        }
    }

    /// Asks for a level before which the feed has to bring these channels up to these offsets.
    pub(super) fn expect(&mut self, heads: Vec<(ChannelName, Offset)>) {
        self.expected.extend(heads);
        self.sync(self.ticket);
    }

    /// Handles the arrival of a level. Returns what the level answers, and asks for another one if that was requested
    /// meanwhile.
    pub(super) fn synced(&mut self) -> Option<Sync> {
        let sync = self.sync.take();
        if std::mem::take(&mut self.sync_again) {
            self.sync(self.ticket);
        }
        sync
    }

    pub(super) fn sync_since(&self) -> Option<Instant> {
        self.sync.as_ref().map(|sync| sync.since)
    }

    pub(super) fn read(&mut self, shared: Arc<Shared>, after: Offset, retention: Option<Retention>) {
        self.to_read.push_back(ToRead { shared, after, retention });
        self.start_reads();
    }

    fn start_reads(&mut self) {
        while self.reading < READS
            && let Some(ToRead { shared, after, retention }) = self.to_read.pop_front()
        {
            let link = self.link.clone();
            self.reading += 1;
            let progress = Progress::new();
            shared.is_loading(progress.clone());
            self.tasks.spawn(async move {
                let read = link.backend.read_paged(shared.name.clone(), after, retention, progress.clone());
                let held = link.while_it_goes_on("read", &progress, read).await.map(Held::without_damage);
                Answer::Read { shared, after, held }
            });
        }
    }

    /// Asks whether a loaded channel has changed.
    pub(super) fn compare(&mut self, channel: Arc<Shared>) {
        self.to_compare.push_back(channel);
        self.start_questions();
    }

    /// Asks how far these channels are. They replace the channels of the previous check that have not been asked about
    /// yet.
    pub(super) fn check(&mut self, channels: Vec<ChannelName>) {
        self.to_check = channels.into();
        self.start_questions();
    }

    fn start_questions(&mut self) {
        while self.asking < QUESTIONS && !(self.to_compare.is_empty() && self.to_check.is_empty()) {
            self.asking += 1;
            let link = self.link.clone();
            // These come first, since readers wait for them.
            if !self.to_compare.is_empty() {
                let channels: Vec<_> = self.to_compare.drain(..HEADS.min(self.to_compare.len())).collect();
                let names = channels.iter().map(|channel| channel.name.clone()).collect();
                self.tasks.spawn(async move {
                    let heads = link.within("heads", link.backend.heads(names)).await;
                    Answer::Compared { channels, heads }
                });
            } else {
                let channels: Vec<_> = self.to_check.drain(..HEADS.min(self.to_check.len())).collect();
                let names = channels.clone();
                self.tasks.spawn(async move {
                    let heads = link.within("heads", link.backend.heads(names)).await;
                    Answer::Checked { channels, heads }
                });
            }
        }
    }

    pub(super) fn renew(&mut self, lost: Epoch) {
        let link = self.link.clone();
        self.tasks.spawn(async move {
            // Whether it succeeded or not, the next session asks for everything again.
            let _ = link.within("renew", link.backend.renew(lost)).await;
            Answer::Renewed
        });
    }

    /// Returns whether the store is still being told who was connected some time ago. Two such calls at once would mix
    /// their reports.
    pub(super) fn is_refreshing(&self) -> bool {
        self.refreshing
    }

    /// Tells the store who is connected. If nobody is, tells it that only if it may have been `told` otherwise before.
    pub(super) fn refresh(&mut self, hub: &Weak<Hub>, told: bool) {
        self.refreshing = true;
        let (link, hub) = (self.link.clone(), hub.clone());
        self.tasks.spawn(async move {
            let channels = connected(&hub).await;
            let streams = hub.upgrade().map(|hub| hub.allowances.all()).unwrap_or_default();
            let present = !channels.is_empty();
            if present || told {
                // If it failed, the next report says the same.
                let _ = link.within("refresh", link.backend.refresh(Presence::new(link.node, channels, streams))).await;
            }
            Answer::Refreshed { present }
        });
    }
}

/// Returns who is connected to this node. Looks it up in slices, so that nothing waits for all channels and clients.
async fn connected(hub: &Weak<Hub>) -> Vec<(ChannelName, Connected)> {
    let mut connected = Vec::new();
    for shard in 0..SHARDS {
        let channels = hub.upgrade().map(|hub| hub.registry.in_shard(shard)).unwrap_or_default();
        let is_empty = channels.is_empty();
        for channel in channels {
            let mut present = Present::default();
            while channel.look_for_more(&mut present) {
                yield_now().await;
            }
            let present = present.into_connected();
            if !present.is_empty() {
                connected.push((channel.name.clone(), present));
            }
        }
        if !is_empty {
            yield_now().await;
        }
    }
    connected
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::{
        hub::{HubSettings, coverage::Coverage, engine::now, limits::Limits, state::work::LOOKS},
        wire::name::ClientId,
    };

    #[test]
    fn connections_are_looked_up_in_slices() {
        let settings = HubSettings {
            limits: Limits::new(),
            retention: Box::new(|_| Retention::new()),
            reconnect: Default::default(),
            ..HubSettings::default()
        };
        let hub = Arc::new(Hub::new(settings, None));
        for n in 0..2_000 {
            let name = ChannelName::try_from(n.to_string()).unwrap();
            let log = Coverage::log(Retention::new(), now());
            let make = || Shared::new(name.clone(), log, None, hub.ledger.clone());
            let channel = hub.registry.get_or_insert(&name, 10_000, make).unwrap();
            // The first channel has many clients, each other channel has one connection without a client, and the last
            // has nobody.
            let clients = if n == 0 { 3_000 } else { usize::from(n < 1_999) };
            for client in 0..clients {
                let mut state = channel.change();
                let client = (n == 0).then(|| ClientId::try_from(client.to_string()).unwrap());
                let lane = client.map(|client| state.log.lane_for(&client, usize::MAX).unwrap());
                state.readers.insert(lane, hub.seats.take().unwrap());
            }
        }
        let weak = Arc::downgrade(&hub);
        let mut looking = std::pin::pin!(connected(&weak));
        let mut most = 0;
        let connected = loop {
            let before = LOOKS.get();
            let polled = looking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            most = most.max(LOOKS.get() - before);
            if let Poll::Ready(connected) = polled {
                break connected;
            }
        };
        assert_eq!(connected.len(), 1_999);
        let count = |(_, present): &(ChannelName, Connected)| present.iter().map(|(_, n)| n).sum::<usize>();
        assert_eq!(connected.iter().map(count).sum::<usize>(), 3_000 + 1_998);
        assert!(most < 50, "{most} looks in one poll");
    }
}
