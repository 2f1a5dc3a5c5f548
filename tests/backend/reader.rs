//! Reading and publishing with patience: an event published on one node may take a moment to reach another.

use std::time::Duration;

use tower_sse::{Delivery, EndReason, Event, GapReason, OpenError, OpenOptions, Publisher, Subscription};

use crate::common;

/// Anything that takes longer than this will not happen.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Reader {
    pub subscription: Subscription,
    id: Option<String>,
    last: u64,
}

impl Reader {
    pub fn new(subscription: Subscription) -> Self {
        Self { subscription, id: None, last: 0 }
    }

    /// The next delivery. Asserts that offsets increase within an epoch.
    #[track_caller]
    pub fn next(&mut self) -> impl Future<Output = Option<Delivery>> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let begun = tokio::time::Instant::now();
            let next = tokio::time::timeout(PATIENCE, common::next(&mut self.subscription)).await;
            let next = next.unwrap_or_else(|_| panic!("nothing came, at {caller}"));
            // `timeout` polls once more at its end, so a reader that was never woken would pass.
            assert!(begun.elapsed() < PATIENCE, "nobody said that something came, at {caller}");
            match &next {
                // An ephemeral event is where its reader is.
                Some(Delivery::Event(event)) if event.is_ephemeral() => return next,
                Some(Delivery::Event(event)) => {
                    assert!(event.offset().get() > self.last, "offsets grow");
                    self.last = event.offset().get();
                }
                Some(Delivery::Gap(gap)) if gap.reason == GapReason::OtherEpoch => self.last = 0,
                _ => {}
            }
            self.id = next.as_ref().map(common::id).or(self.id.take());
            next
        }
    }

    /// The next event's data, or `gap:` and the reason.
    #[track_caller]
    pub fn text(&mut self) -> impl Future<Output = String> + '_ {
        let next = self.next();
        async move { common::text(&next.await.expect("the stream ended")) }
    }

    /// The next `n` of them.
    pub async fn texts(&mut self, n: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..n {
            texts.push(self.text().await);
        }
        texts
    }

    /// Everything up to and including `last`.
    pub async fn until(&mut self, last: &str) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.last().is_none_or(|text| text != last) {
            texts.push(self.text().await);
        }
        texts
    }

    pub async fn gap(&mut self, reason: GapReason) -> tower_sse::Gap {
        match self.next().await {
            Some(Delivery::Gap(gap)) if gap.reason == reason => gap,
            other => panic!("no gap of {reason:?} but {other:?}"),
        }
    }

    /// Skips what is left, and asserts that it ends so.
    pub async fn until_the_end(&mut self, reason: EndReason) {
        while self.next().await.is_some() {}
        assert_eq!(self.subscription.end_reason(), Some(reason));
    }

    /// What is there already, if anything is.
    pub async fn try_next(&mut self) -> Option<Delivery> {
        tokio::time::timeout(Duration::ZERO, common::next(&mut self.subscription)).await.ok().flatten()
    }

    /// The id that a browser would resume with.
    pub fn id(&self) -> String {
        self.id.clone().unwrap_or_else(|| self.subscription.cursor().to_string())
    }

    /// Asserts that there is nothing to read: it sends an event, and anything on its way from the store would come
    /// first.
    pub async fn nothing_before(&mut self, node: &Publisher, channel: &str) {
        send(node, channel, "nothing came before this").await;
        assert_eq!(self.text().await, "nothing came before this");
    }
}

pub async fn try_open(
    node: &Publisher,
    options: OpenOptions,
    channels: &[&str],
    client: &str,
    id: Option<&str>,
) -> Result<Reader, OpenError> {
    options.open(node, common::grant(channels, client), id.map(str::as_bytes)).await.map(Reader::new)
}

pub async fn live(node: &Publisher, channels: &[&str], client: &str) -> Reader {
    try_open(node, OpenOptions::new(), channels, client, None).await.unwrap()
}

pub async fn resume(node: &Publisher, channels: &[&str], client: &str, id: &str) -> Reader {
    try_open(node, OpenOptions::new(), channels, client, Some(id)).await.unwrap()
}

pub async fn send(node: &Publisher, channel: &str, text: impl ToString) -> String {
    node.channel(channel).send(Event::text(text.to_string())).await.unwrap().id.to_string()
}

pub async fn send_to(node: &Publisher, channel: &str, client: &str, text: impl ToString) -> String {
    node.channel(channel).send_to(client, Event::text(text.to_string())).await.unwrap().id.to_string()
}

/// Polls until a condition holds that nothing announces.
#[track_caller]
pub fn eventually<F: Future<Output = bool>>(mut is: impl FnMut() -> F) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let begun = tokio::time::Instant::now();
        while !is().await {
            assert!(begun.elapsed() < PATIENCE, "it never was, at {caller}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
