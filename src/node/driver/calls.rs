//! What a session has asked of the backend and not been answered yet.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::{
    backend::{Heads, Held, Message, Presence, Progress, Request, feed_channels},
    error::BackendError,
    hub::state::Shared,
    log::Retention,
    node::link::Link,
    wire::{
        cursor::{Epoch, Offset},
        name::ChannelName,
    },
};

/// So many reads at once; the others wait for their turn. A store may do one thing after the other, and what is published
/// meanwhile has to wait for all of them.
const READS: usize = 16;
/// So many channels in one question for how far they are, and so many of these at once.
const HEADS: usize = 250;
const QUESTIONS: usize = 2;

pub(crate) struct Calls {
    link: Arc<Link>,
    requests: mpsc::UnboundedSender<Request>,
    /// All of them end with the session.
    tasks: JoinSet<Answer>,
    to_read: VecDeque<ToRead>,
    reading: usize,
    /// Channels of which it is to be found out whether they have changed.
    to_compare: VecDeque<Arc<Shared>>,
    /// Channels of which it is to be found out whether the feed has lost something.
    to_check: VecDeque<ChannelName>,
    /// How far some of these are is being asked.
    asking: usize,
    sync: Option<Sync>,
    /// Somebody asked for a level after the one on its way was asked for.
    sync_again: bool,
    /// By the next level these channels must have come as far as these offsets.
    expected: Vec<(ChannelName, Offset)>,
    ticket: u64,
}

struct ToRead {
    shared: Arc<Shared>,
    after: Offset,
    retention: Option<Retention>,
}

/// A level that is on its way.
pub(super) struct Sync {
    since: Instant,
    /// Of the last who asked before.
    pub(super) ticket: u64,
    /// See there.
    pub(super) expected: Vec<(ChannelName, Offset)>,
}

pub(super) enum Answer {
    Feed(Result<(), BackendError>),
    Read {
        shared: Arc<Shared>,
        after: Offset,
        held: Result<Held, BackendError>,
    },
    /// How far these are, of which it was to be found out whether they have changed.
    Compared {
        channels: Vec<Arc<Shared>>,
        heads: Result<Heads, BackendError>,
    },
    /// How far these are, of which the feed may have lost something.
    Checked {
        channels: Vec<ChannelName>,
        heads: Result<Heads, BackendError>,
    },
    /// Asked the store to begin a new epoch.
    Renewed,
    /// Said who is connected; or tried to.
    Refreshed,
    /// A task of the backend's panicked.
    Failed,
}

impl Calls {
    /// Runs a new feed.
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
        };
        (calls, message)
    }

    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        // It is never empty for long: the feed is in it.
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
            Answer::Feed(_) | Answer::Renewed | Answer::Refreshed | Answer::Failed => {}
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
        // A feed that is over says so by itself.
        let _ = self.requests.send(request);
    }

    /// Asks for a level, for all tickets up to this; one at a time.
    pub(super) fn sync(&mut self, ticket: u64) {
        self.ticket = self.ticket.max(ticket);
        self.sync_again = self.sync.is_some();
        if !self.sync_again {
            let expected = std::mem::take(&mut self.expected);
            self.sync = Some(Sync { since: Instant::now(), ticket: self.ticket, expected });
            self.request(Request::Sync);
        }
    }

    /// Asks for a level, by which these channels must have come that far.
    pub(super) fn expect(&mut self, heads: Vec<(ChannelName, Offset)>) {
        self.expected.extend(heads);
        self.sync(self.ticket);
    }

    /// The level is there. Those who asked meanwhile need another.
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
                let held = link.while_it_goes_on(&progress, read).await.map(Held::without_damage);
                Answer::Read { shared, after, held }
            });
        }
    }

    /// Asks whether a channel has changed, of which something is known here.
    pub(super) fn compare(&mut self, channel: Arc<Shared>) {
        self.to_compare.push_back(channel);
        self.start_questions();
    }

    /// Asks how far these channels are, instead of those that were to be asked for and have not been.
    pub(super) fn check(&mut self, channels: Vec<ChannelName>) {
        self.to_check = channels.into();
        self.start_questions();
    }

    fn start_questions(&mut self) {
        while self.asking < QUESTIONS && !(self.to_compare.is_empty() && self.to_check.is_empty()) {
            self.asking += 1;
            let link = self.link.clone();
            // Readers wait for these.
            if !self.to_compare.is_empty() {
                let channels: Vec<_> = self.to_compare.drain(..HEADS.min(self.to_compare.len())).collect();
                let names = channels.iter().map(|channel| channel.name.clone()).collect();
                self.tasks.spawn(async move {
                    let heads = link.within(link.backend.heads(names)).await;
                    Answer::Compared { channels, heads }
                });
            } else {
                let channels: Vec<_> = self.to_check.drain(..HEADS.min(self.to_check.len())).collect();
                let names = channels.clone();
                self.tasks.spawn(async move {
                    let heads = link.within(link.backend.heads(names)).await;
                    Answer::Checked { channels, heads }
                });
            }
        }
    }

    pub(super) fn renew(&mut self, lost: Epoch) {
        let link = self.link.clone();
        self.tasks.spawn(async move {
            // Whatever came of it, everything is asked anew.
            let _ = link.within(link.backend.renew(lost)).await;
            Answer::Renewed
        });
    }

    pub(super) fn refresh(&mut self, present: Presence) {
        let link = self.link.clone();
        self.tasks.spawn(async move {
            // The next one says it all again.
            let _ = link.within(link.backend.refresh(present)).await;
            Answer::Refreshed
        });
    }
}
