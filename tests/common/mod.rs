//! What the tests of the engine share: publishing, opening and reading without a runtime, as nothing in process waits.
#![allow(dead_code)]

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use futures_util::{FutureExt as _, Stream as _};
use tokio::task::coop::unconstrained;
use tower_sse::{
    ChannelName, ClientId, Delivery, Event, Gap, GapReason, Grant, OpenError, OpenOptions, PublishError, Publisher,
    Sent, Start, Subscription,
};

pub const EARLIEST: fn() -> OpenOptions = || OpenOptions::new().start(Start::Earliest);

/// The output of a future that is ready at once, however much the test's task has done before.
pub fn ready<F: Future>(future: F) -> F::Output {
    unconstrained(future).now_or_never().expect("in process it is ready at once")
}

/// Publishes `text`, and returns the id.
pub fn send(publisher: &Publisher, channel: &str, text: impl ToString) -> String {
    try_send(publisher, channel, None, text).unwrap().id.to_string()
}

pub fn send_to(publisher: &Publisher, channel: &str, client: &str, text: impl ToString) -> String {
    try_send(publisher, channel, Some(client), text).unwrap().id.to_string()
}

pub fn try_send(
    publisher: &Publisher,
    channel: &str,
    client: Option<&str>,
    text: impl ToString,
) -> Result<Sent, PublishError> {
    let (channel, event) = (publisher.channel(channel), Event::text(text.to_string()));
    match client {
        None => ready(channel.send(event)),
        Some(client) => ready(channel.send_to(client, event)),
    }
}

/// Closes a channel, and returns how many readers it had.
pub fn close(publisher: &Publisher, channel: &str) -> usize {
    ready(publisher.channel(channel).close()).unwrap()
}

pub fn finish(publisher: &Publisher, channel: &str, text: impl ToString) -> String {
    ready(publisher.channel(channel).finish(Event::text(text.to_string()))).unwrap().id.to_string()
}

pub fn grant(channels: &[&str], client: &str) -> Grant {
    let client = (!client.is_empty()).then(|| ClientId::try_from(client).unwrap());
    Grant::new(channels.iter().map(|name| ChannelName::try_from(*name).unwrap())).client(client)
}

/// A fresh reader that starts live. An empty client name means no client.
pub fn live(publisher: &Publisher, channels: &[&str], client: &str) -> Subscription {
    ready(Subscription::open(publisher, grant(channels, client))).unwrap()
}

pub fn earliest(publisher: &Publisher, channels: &[&str], client: &str) -> Subscription {
    ready(EARLIEST().open(publisher, grant(channels, client), None)).unwrap()
}

pub fn try_resume(
    publisher: &Publisher,
    channels: &[&str],
    client: &str,
    id: impl AsRef<[u8]>,
) -> Result<Subscription, OpenError> {
    ready(OpenOptions::new().open(publisher, grant(channels, client), Some(id.as_ref())))
}

pub fn resume(publisher: &Publisher, channels: &[&str], client: &str, id: impl AsRef<[u8]>) -> Subscription {
    try_resume(publisher, channels, client, id).unwrap()
}

/// Polls once. It always uses the same waker, so that a level reader is known to be level.
pub fn poll(subscription: &mut Subscription) -> Poll<Option<Delivery>> {
    // It has a size, because a leak sanitizer would not count a pointer to the end of an allocation as one to it.
    struct Nobody(#[allow(dead_code)] u8);
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    static WAKER: LazyLock<Waker> = LazyLock::new(|| Arc::new(Nobody(0)).into());
    let look = poll_fn(|cx| Poll::Ready(pin!(&mut *subscription).poll_next(cx)));
    match pin!(unconstrained(look)).poll(&mut Context::from_waker(&WAKER)) {
        Poll::Ready(looked) => looked,
        Poll::Pending => unreachable!("it is a look"),
    }
}

/// Everything that is ready now.
pub fn drain(subscription: &mut Subscription) -> Vec<Delivery> {
    let next = || match poll(subscription) {
        Poll::Ready(delivery) => delivery,
        Poll::Pending => None,
    };
    std::iter::from_fn(next).collect()
}

/// Everything that is ready now, as texts: an event's data, or `gap:` and the reason.
pub fn texts(subscription: &mut Subscription) -> Vec<String> {
    drain(subscription).iter().map(text).collect()
}

pub fn text(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Event(event) => event.data(),
        Delivery::Gap(gap) => format!("gap:{}", gap.reason.as_str()),
        other => unreachable!("{other:?}"),
    }
}

/// The id that a browser would resume with.
pub fn id(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Event(event) => event.id().to_string(),
        Delivery::Gap(gap) => gap.cursor.to_string(),
        other => unreachable!("{other:?}"),
    }
}

/// The first delivery, which must be a gap.
#[track_caller]
pub fn gap(subscription: &mut Subscription) -> Gap {
    match poll(subscription) {
        Poll::Ready(Some(Delivery::Gap(gap))) => gap,
        other => panic!("no gap, but {other:?}"),
    }
}

/// Asserts all of a gap's fields: `first` is the id of the oldest event held, and the reader goes on before it.
#[track_caller]
pub fn assert_gap(gap: &Gap, reason: GapReason, requested: Option<&str>, first: Option<&str>) {
    assert_eq!(gap.reason, reason);
    assert_eq!(gap.requested.as_deref(), requested);
    assert_eq!(gap.first.map(|offset| offset.get()), first.map(offset));
    if let Some(first) = first {
        assert_eq!(gap.cursor.offset.get(), offset(first) - 1);
    }
}

/// The offset in one of the hub's own ids.
pub fn offset(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

/// The id of another offset in the same epoch.
pub fn with_offset(id: &str, offset: u64) -> String {
    format!("{}-{offset}", id.split_once('-').unwrap().0)
}

/// Runs a future on this thread without a runtime, and parks it in between. A lost wake-up fails the test.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let mut lost = false;
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => {
                assert!(!lost, "a wake-up was lost");
                return output;
            }
            Poll::Pending => {
                assert!(!lost, "never woken");
                let parked = std::time::Instant::now();
                thread::park_timeout(Duration::from_secs(20));
                lost = parked.elapsed() >= Duration::from_secs(20);
            }
        }
    }
}

/// Waits for the next delivery.
pub async fn next(subscription: &mut Subscription) -> Option<Delivery> {
    std::future::poll_fn(|cx| pin!(&mut *subscription).poll_next(cx)).await
}

/// Random numbers that a seed determines: xorshift.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}
