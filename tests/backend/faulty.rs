//! A backend that adds faults to another one: failing calls, lost acknowledgements, a feed that drops or delays
//! messages.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use tokio::sync::Notify;
use tower_sse::{
    BackendError, ChannelName, Cursor, Epoch, Offset, Retention,
    backend::{
        Append, Appended, Backend, BackendFuture, Connected, Ephemeral, Heads, Held, Marks, Message, Messages, Notice,
        Presence, Progress, Requests, Streams,
    },
};

#[derive(Clone)]
pub struct Faulty<B> {
    inner: B,
    pub faults: Arc<Faults>,
}

#[derive(Default)]
pub struct Faults {
    /// Whether every call fails and the feed is cut.
    pub away: AtomicBool,
    /// Whether no feed starts, while every other call works.
    pub no_feed: AtomicBool,
    cut: Notify,
    /// One in this many events, or ends, is dropped; the field below drops that many of the next ones.
    pub drop_every: AtomicU64,
    pub drop_next: AtomicU64,
    seen: AtomicU64,
    /// How many milliseconds each message takes.
    pub delay: AtomicU64,
    /// How many messages the feed was given to carry, each counted before the delay is looked up.
    pub given: AtomicUsize,
    /// How many of the next acknowledgements are lost.
    pub lose_answers: AtomicUsize,
    /// By how much the store understates the offsets that it has assigned.
    pub forgot: AtomicU64,
    /// By how much the feed raises the next event's offset.
    pub shift_next: AtomicU64,
    pub feeds: AtomicUsize,
    /// How many feeds were requested, including those while it was away.
    pub tries: AtomicUsize,
    /// How often heads were requested.
    pub heads: AtomicUsize,
    /// How often the feed said that a channel is watched.
    pub said: AtomicUsize,
    /// How many events the feed carried.
    pub carried: AtomicUsize,
    /// How many reads were done, and how many of them answered.
    pub reads: AtomicUsize,
    pub answered: AtomicUsize,
    /// The offset after which the last read began.
    pub read_after: AtomicU64,
    /// The channel whose reads fail.
    pub unreadable: Mutex<Option<ChannelName>>,
    /// Whether the store has forgotten every channel, and says so: each may have had events up to now.
    pub forgets: AtomicBool,
    /// The offset up to which each may have had events, if the store has forgotten every channel and this is not zero.
    pub forgets_up_to: AtomicU64,
    /// How often heads were answered.
    pub compared: AtomicUsize,
    /// How many pages a read takes, at 600 ms each.
    pub pages: AtomicUsize,
    /// Whether reads are done but not answered yet.
    pub hold_reads: AtomicBool,
    /// The channel whose reads are done but not answered yet.
    pub hold_reads_of: Mutex<Option<ChannelName>>,
    say_again: Notify,
    pub renewed: AtomicUsize,
    /// How often the node said who is connected.
    pub refreshed: AtomicUsize,
    /// Whether the store takes its time to note who is connected; and how many such calls there are, and were at once at most.
    pub hold_refreshes: AtomicBool,
    refreshing: AtomicUsize,
    pub refreshing_at_once: AtomicUsize,
    /// The number of channels with connections that the node last reported.
    pub present: AtomicUsize,
}

impl Faults {
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// Repeats that the last channel which was said to be watched is watched.
    pub fn say_again(&self) {
        self.say_again.notify_one();
    }

    pub fn go_away(&self, away: bool) {
        self.away.store(away, SeqCst);
        self.cut();
    }

    fn answer<T>(&self) -> Result<(), BackendFuture<'_, T>> {
        match self.away.load(SeqCst) {
            true => Err(Box::pin(async { Err(BackendError::new("it is away")) })),
            false => Ok(()),
        }
    }

    /// Up to where a channel that is forgotten may have had events, if all are; the hub is at `level`.
    fn forgotten(&self, level: Offset) -> Option<Offset> {
        match self.forgets_up_to.load(SeqCst) {
            0 => self.forgets.load(SeqCst).then_some(level),
            mark => Some(Offset::new(mark)),
        }
    }

    /// Whether the next event, or end, is dropped.
    fn drops(&self) -> bool {
        let seen = self.seen.fetch_add(1, SeqCst) + 1;
        let every = self.drop_every.load(SeqCst);
        let next = self.drop_next.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
        next || seen.is_multiple_of(every)
    }

    /// What becomes of a message; `None` if it is dropped.
    fn alter(&self, message: Message) -> Option<Message> {
        match message {
            Message::Entry { channel, epoch, mut entry } => (!self.drops()).then(|| {
                entry.offset = Offset::new(entry.offset.get() + self.shift_next.swap(0, SeqCst));
                Message::Entry { channel, epoch, entry }
            }),
            Message::Ended { .. } => (!self.drops()).then_some(message),
            Message::Level(Cursor { epoch, offset }) => {
                let offset = Offset::new(offset.get().saturating_sub(self.forgot.load(SeqCst)));
                Some(Message::Level(Cursor { epoch, offset }))
            }
            other => Some(other),
        }
    }
}

impl<B> Faulty<B> {
    pub fn new(inner: B) -> Self {
        Self { inner, faults: Arc::default() }
    }
}

impl<B: Backend + Clone> Backend for Faulty<B> {
    fn hold(&self, retention: Retention) {
        self.inner.hold(retention);
    }

    fn append(&self, append: Append) -> BackendFuture<'_, Appended> {
        if let Err(error) = self.faults.answer() {
            return error;
        }
        Box::pin(async move {
            let appended = self.inner.append(append).await;
            match self.faults.lose_answers.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)) {
                Ok(_) => Err(BackendError::new("the answer got lost")),
                Err(_) => appended,
            }
        })
    }

    fn pass(&self, event: Ephemeral) -> BackendFuture<'_, ()> {
        match self.faults.answer() {
            Err(error) => error,
            Ok(_) => self.inner.pass(event),
        }
    }

    fn read(&self, channel: ChannelName, after: Offset, retention: Retention) -> BackendFuture<'_, Held> {
        self.read_paged(channel, after, Some(retention), Progress::new())
    }

    fn read_paged(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        progress: Progress,
    ) -> BackendFuture<'_, Held> {
        if let Err(error) = self.faults.answer() {
            return error;
        }
        if self.faults.unreadable.lock().unwrap().as_ref() == Some(&channel) {
            self.faults.reads.fetch_add(1, SeqCst);
            return Box::pin(async { Err(BackendError::new("it is too much")) });
        }
        Box::pin(async move {
            self.faults.read_after.store(after.get(), SeqCst);
            let held = self.inner.read_paged(channel.clone(), after, retention, progress.clone()).await;
            self.faults.reads.fetch_add(1, SeqCst);
            for _ in 0..self.faults.pages.load(SeqCst) {
                tokio::time::sleep(Duration::from_millis(600)).await;
                progress.made();
            }
            let is_held = || self.faults.hold_reads_of.lock().unwrap().as_ref() == Some(&channel);
            while self.faults.hold_reads.load(SeqCst) || is_held() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.faults.answered.fetch_add(1, SeqCst);
            let held = held?;
            Ok(match self.faults.forgotten(held.level) {
                Some(mark) => forgotten(held, mark),
                None => held,
            })
        })
    }

    fn heads(&self, channels: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        self.faults.heads.fetch_add(1, SeqCst);
        if let Err(error) = self.faults.answer() {
            return error;
        }
        Box::pin(async move {
            let mut heads = self.inner.heads(channels).await?;
            if let Some(mark) = self.faults.forgotten(heads.level) {
                for head in &mut heads.channels {
                    (head.offset, head.forgotten, head.closed) = (Offset::START, mark, 0);
                }
            }
            self.faults.compared.fetch_add(1, SeqCst);
            Ok(heads)
        })
    }

    fn close(&self, channel: ChannelName) -> BackendFuture<'_, ()> {
        self.faults.answer().map_or_else(|error| error, |()| self.inner.close(channel))
    }

    fn renew(&self, lost: Epoch) -> BackendFuture<'_, Epoch> {
        self.faults.renewed.fetch_add(1, SeqCst);
        self.faults.forgot.store(0, SeqCst);
        self.inner.renew(lost)
    }

    fn feed(&self, requests: Requests, messages: Messages) -> BackendFuture<'_, ()> {
        self.faults.tries.fetch_add(1, SeqCst);
        if let Err(error) = self.faults.answer() {
            return error;
        }
        if self.faults.no_feed.load(SeqCst) {
            return Box::pin(async { Err(BackendError::new("there is no feed")) });
        }
        self.faults.feeds.fetch_add(1, SeqCst);
        Box::pin(async move {
            let _gone = Gone(&self.faults);
            let (give, mut taken) = Messages::channel();
            let forward = async {
                let mut watching = None;
                loop {
                    let again = async {
                        self.faults.say_again.notified().await;
                        watching.clone()
                    };
                    let Some(message) = first(taken.next(), again).await else { break };
                    self.faults.given.fetch_add(1, SeqCst);
                    let delay = self.faults.delay.load(SeqCst);
                    if delay > 0 {
                        tokio::time::sleep(Duration::from_millis(delay)).await;
                    }
                    let is_watching = matches!(message, Message::Watching(_));
                    if is_watching {
                        watching = Some(message.clone());
                    }
                    let is_entry = matches!(message, Message::Entry { .. } | Message::Ended { .. });
                    if let Some(message) = self.faults.alter(message)
                        && !messages.send(message).await
                    {
                        break;
                    }
                    self.faults.said.fetch_add(usize::from(is_watching), SeqCst);
                    self.faults.carried.fetch_add(usize::from(is_entry), SeqCst);
                }
                std::future::pending().await
            };
            let cut = async {
                self.faults.cut.notified().await;
                Err(BackendError::new("it was cut"))
            };
            first(self.inner.feed(requests, give), first(forward, cut)).await
        })
    }

    fn tell(&self, notice: Notice) -> BackendFuture<'_, ()> {
        self.faults.answer().map_or_else(|error| error, |()| self.inner.tell(notice))
    }

    fn count(&self, streams: Streams) -> BackendFuture<'_, bool> {
        self.faults.answer().map_or_else(|error| error, |()| self.inner.count(streams))
    }

    fn refresh(&self, present: Presence) -> BackendFuture<'_, ()> {
        if let Err(error) = self.faults.answer() {
            return error;
        }
        Box::pin(async move {
            let channels = present.channels.len();
            let _turn = Turn::begin(&self.faults);
            while self.faults.hold_refreshes.load(SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.inner.refresh(present).await?;
            self.faults.refreshed.fetch_add(1, SeqCst);
            self.faults.present.store(channels, SeqCst);
            Ok(())
        })
    }

    fn presence(&self, channel: ChannelName) -> BackendFuture<'_, Connected> {
        self.faults.answer().map_or_else(|error| error, |()| self.inner.presence(channel))
    }
}

/// The answer for a channel that the store has forgotten.
fn forgotten(Held { epoch, level, .. }: Held, mark: Offset) -> Held {
    let mut held = Held::new(epoch, level);
    held.marks = Marks::of_everybody(mark);
    held
}

/// A call that says who is connected.
struct Turn<'a>(&'a Faults);

impl<'a> Turn<'a> {
    fn begin(faults: &'a Faults) -> Self {
        let now = faults.refreshing.fetch_add(1, SeqCst) + 1;
        faults.refreshing_at_once.fetch_max(now, SeqCst);
        Self(faults)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.refreshing.fetch_sub(1, SeqCst);
    }
}

struct Gone<'a>(&'a Faults);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.feeds.fetch_sub(1, SeqCst);
    }
}

async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    std::future::poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(output),
        Poll::Pending => other.as_mut().poll(cx),
    })
    .await
}
