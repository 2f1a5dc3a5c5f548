//! What a hub holds if its nodes are configured differently, at the same time or from one deployment to the next.

use std::time::Duration;

use tower_sse::{CustomId, Event, GapReason, Publisher, PublisherBuilder, Redis, Retention};

use crate::{
    reader::*,
    redis::RedisStore,
    store::{Store, defaults},
};

const DAY: Duration = Duration::from_secs(86_400);

impl RedisStore {
    /// As if no node had renewed its retention for a day.
    pub fn let_a_day_pass(&self) {
        let keys = self.command(&["KEYS", "{tower-sse}:*"]);
        for key in keys.lines().filter(|key| key.ends_with(":hub") || key.contains(":m:")) {
            for field in ["ra", "rt"] {
                let ago = |at: &str| (at.parse::<u64>().unwrap() - 87_000_000).to_string();
                let times: Vec<_> = self.command(&["HGET", key, field]).split_whitespace().map(ago).collect();
                if !times.is_empty() {
                    self.command(&["HSET", key, field, &times.join(" ")]);
                }
            }
        }
    }

    fn with(&self, tombstones: Duration, settings: impl Fn(PublisherBuilder) -> PublisherBuilder) -> Publisher {
        let redis = Redis::builder(self.url()).tombstones(tombstones).build().unwrap();
        settings(Publisher::builder().backend(redis)).build()
    }

    fn ttl(&self, key: &str) -> Duration {
        Duration::from_millis(self.command(&["PTTL", &format!("{{tower-sse}}:{key}")]).parse().unwrap_or(0))
    }
}

fn week(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().events(5_000).age(7 * DAY))
}

fn week_by_name(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention_by(|_| Retention::new().events(5_000).age(7 * DAY))
}

fn brief(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().events(2).age(Duration::from_millis(300)))
}

async fn publish_and_read(worker: &Publisher, node: &Publisher, events: usize) {
    let id = send(worker, "a", 0).await;
    for n in 1..events {
        send(worker, "a", n).await;
    }
    let mut reader = resume(node, &["a"], "", &id).await;
    assert_eq!(reader.texts(events - 1).await, (1..events).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_worker_that_is_not_set_holds_what_other_nodes_are_set_to() {
    for settings in [week, week_by_name] {
        let Some(store) = RedisStore::begin().await else { return };
        let (node, worker) = (store.node(settings), store.node(defaults));
        // This node has readers and publishes nothing. It knows the channel since it was read.
        let _reader = live(&node, &["a"], "").await;
        publish_and_read(&worker, &store.node(settings), 1_500).await;
        assert!(store.ttl("s:a") > 6 * DAY && store.ttl("m:a") > 7 * DAY);
    }
}

/// A reader of a channel that nobody has published to leaves something there that expires.
#[tokio::test]
async fn a_channel_that_is_only_read_is_not_remembered_for_ever() {
    let Some(store) = RedisStore::begin().await else { return };
    let _reader = live(&store.node(week_by_name), &["a"], "").await;
    assert_eq!(store.command(&["EXISTS", "{tower-sse}:m:a"]), "1");
    assert!(store.ttl("m:a") > 7 * DAY);
}

#[tokio::test]
async fn a_reader_that_asks_for_a_longer_age_lengthens_that_of_the_events_that_are_held() {
    let Some(store) = RedisStore::begin().await else { return };
    let hour = store.node(|builder| builder.retention_by(|_| Retention::new().age(Duration::from_secs(3_600))));
    let id = CustomId::from_static("i");
    hour.channel("a").send(Event::text("1").id(id)).await.unwrap();
    let _reader = live(&store.node(week_by_name), &["a"], "").await;
    for key in ["s:a", "u:a"] {
        assert!(store.ttl(key) > 6 * DAY, "{key}");
    }
    // A shorter one shortens nothing.
    let _reader = live(&store.node(brief), &["a"], "").await;
    assert!(store.ttl("s:a") > 6 * DAY);
}

#[tokio::test]
async fn the_longest_retention_wins_for_each_limit() {
    let Some(store) = RedisStore::begin().await else { return };
    let (node, worker) = (store.node(week), store.node(brief));
    let id = send(&node, "a", 0).await;
    for n in 1..6 {
        send(&worker, "a", n).await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    // A node that is configured to hold less shows as much.
    for node in [&node, &worker, &store.node(brief), &store.node(defaults)] {
        let mut reader = resume(node, &["a"], "", &id).await;
        assert_eq!(reader.texts(5).await, ["1", "2", "3", "4", "5"]);
    }
    assert!(store.ttl("s:a") > 6 * DAY);
}

#[tokio::test]
async fn a_retention_that_nobody_asks_for_in_a_day_gives_way_to_a_shorter_one() {
    for settings in [week, week_by_name] {
        let Some(store) = RedisStore::begin().await else { return };
        let id = send(&store.node(settings), "a", 0).await;
        let worker = store.node(|builder| builder.retention(Retention::new().events(2).age(DAY / 24)));
        for n in 1..6 {
            send(&worker, "a", n).await;
        }
        store.let_a_day_pass();
        // A node without a retention asks for nothing.
        send(&store.node(defaults), "a", 6).await;
        assert_eq!(store.command(&["XLEN", "{tower-sse}:s:a"]), "7");
        for n in 7..9 {
            send(&worker, "a", n).await;
        }
        let mut reader = resume(&store.node(defaults), &["a"], "", &id).await;
        reader.gap(GapReason::Evicted).await;
        assert_eq!(reader.texts(2).await, ["7", "8"]);
        assert!(store.ttl("s:a") < DAY / 12);
    }
}

#[tokio::test]
async fn a_channel_without_a_maximum_age_is_held_for_ever() {
    let Some(store) = RedisStore::begin().await else { return };
    send(&store.node(|builder| builder.retention(Retention::new().age(Duration::MAX))), "a", 1).await;
    send(&store.node(brief), "a", 2).await;
    for key in ["s:a", "m:a", "hub"] {
        assert_eq!(store.command(&["PTTL", &format!("{{tower-sse}}:{key}")]), "-1", "{key}");
    }
}

/// Publishes to a channel, and waits until Redis has forgotten it. Returns the id of the first event.
async fn forgotten_channel(store: &RedisStore, old: &Publisher) -> String {
    // Another channel keeps the hub alive.
    send(&store.with(DAY, week_by_name), "keep", 0).await;
    let first = send(old, "a", 1).await;
    send(old, "a", 2).await;
    eventually(async || {
        send(old, "other", "x").await;
        store.command(&["EXISTS", "{tower-sse}:m:a"]) == "0"
    })
    .await;
    first
}

fn two_moments(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention_by(|_| Retention::new().age(Duration::from_secs(1)))
}

#[tokio::test]
async fn a_retention_or_tombstones_that_are_made_longer_hide_no_loss() {
    let soon = Duration::from_millis(200);
    for (tombstones, settings) in [(soon, week_by_name as fn(_) -> _), (DAY, two_moments), (DAY, week)] {
        let Some(store) = RedisStore::begin().await else { return };
        let first = forgotten_channel(&store, &store.with(soon, two_moments)).await;
        let new = store.with(tombstones, settings);
        let mut reader = resume(&new, &["a"], "", &first).await;
        reader.gap(GapReason::Evicted).await;
        reader.nothing_before(&new, "a").await;
        // A reader that missed nothing gets no gap either.
        let newest = send(&new, "b", 1).await;
        resume(&new, &["c"], "", &newest).await.nothing_before(&new, "c").await;
    }
}
