//! A backend with faults put in between: calls that fail, acknowledgements that get lost, a feed that drops or delays.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use tokio::sync::Notify;
use tower_sse::{
    Append, Appended, Backend, BackendError, BackendFuture, ChannelName, ClientId, Epoch, Held, Message, Messages,
    Offset, Present, Requests, Retention,
};

#[derive(Clone)]
pub struct Faulty<B> {
    inner: B,
    pub faults: Arc<Faults>,
}

#[derive(Default)]
pub struct Faults {
    /// Nothing answers, and the feed is cut.
    pub away: AtomicBool,
    cut: Notify,
    /// So many events are dropped, one of each so many.
    pub drop_every: AtomicU64,
    pub drop_next: AtomicU64,
    seen: AtomicU64,
    /// Each message takes so many milliseconds.
    pub delay: AtomicU64,
    /// So many acknowledgements get lost.
    pub lose_answers: AtomicUsize,
    /// The store says that it has given so many offsets fewer than it has.
    pub forgot: AtomicU64,
    /// The feed says of the next event that its offset is so much higher.
    pub shift_next: AtomicU64,
    /// How often was read.
    pub reads: AtomicUsize,
    pub feeds: AtomicUsize,
    pub renewed: AtomicUsize,
}

impl Faults {
    pub fn cut(&self) {
        self.cut.notify_waiters();
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

    /// What becomes of a message; `None` if it is dropped.
    fn alter(&self, message: Message) -> Option<Message> {
        match message {
            Message::Entry { channel, epoch, mut entry } => {
                let seen = self.seen.fetch_add(1, SeqCst) + 1;
                let every = self.drop_every.load(SeqCst);
                let next = self.drop_next.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
                (!next && !seen.is_multiple_of(every)).then(|| {
                    entry.offset = Offset::new(entry.offset.get() + self.shift_next.swap(0, SeqCst));
                    Message::Entry { channel, epoch, entry }
                })
            }
            Message::Level { epoch, last } => {
                let last = Offset::new(last.get().saturating_sub(self.forgot.load(SeqCst)));
                Some(Message::Level { epoch, last })
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

    fn read(&self, channel: ChannelName, after: Offset, retention: Retention) -> BackendFuture<'_, Held> {
        self.faults.reads.fetch_add(1, SeqCst);
        self.faults.answer().map_or_else(|error| error, |()| self.inner.read(channel, after, retention))
    }

    fn heads(&self, channels: Vec<ChannelName>) -> BackendFuture<'_, Vec<Offset>> {
        self.faults.answer().map_or_else(|error| error, |()| self.inner.heads(channels))
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
        if let Err(error) = self.faults.answer() {
            return error;
        }
        self.faults.feeds.fetch_add(1, SeqCst);
        Box::pin(async move {
            let _gone = Gone(&self.faults);
            let (give, mut taken) = Messages::channel();
            let forward = async {
                while let Some(message) = taken.next().await {
                    let delay = self.faults.delay.load(SeqCst);
                    if delay > 0 {
                        tokio::time::sleep(Duration::from_millis(delay)).await;
                    }
                    if let Some(message) = self.faults.alter(message)
                        && !messages.send(message).await
                    {
                        break;
                    }
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

    fn refresh(&self, present: Present) -> BackendFuture<'_, ()> {
        self.faults.answer().map_or_else(|error| error, |()| self.inner.refresh(present))
    }

    fn present(&self, channel: ChannelName) -> BackendFuture<'_, Vec<(Option<ClientId>, usize)>> {
        self.faults.answer().map_or_else(|error| error, |()| self.inner.present(channel))
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
