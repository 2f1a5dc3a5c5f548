//! Nothing of a hub outlives its use, neither in Redis nor in the process, and an idle node's requests do not depend on
//! the number of its readers and channels.

use std::time::Duration;

use tokio::runtime::Handle;
use tower_sse::{Event, IdempotencyKey, Publisher, Redis, Retention};

use crate::{
    reader::*,
    redis::RedisStore,
    store::{Store, defaults},
};

/// Returns a publisher that keeps events for one second, and waits as long for the store.
fn brief(store: &RedisStore) -> Publisher {
    const SOON: Duration = Duration::from_secs(1);
    let redis = Redis::builder(store.url()).prefix("brief").tombstones(SOON).idempotency_window(SOON);
    let backend = redis.timeout(Duration::from_secs(1)).build().unwrap();
    let retention = Retention::new().age(SOON);
    Publisher::builder().backend(backend).retention(retention).timeout(Duration::from_secs(1)).build()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Counters of Redis.
impl RedisStore {
    fn number(&self, section: &str, name: &str) -> usize {
        let info = self.command(&["INFO", section]);
        info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':')?.parse().ok()).unwrap()
    }

    /// The number of open connections, without the one that asks.
    fn connections(&self) -> usize {
        self.number("clients", "connected_clients") - 1
    }

    /// The number of connections ever accepted; each question opens one.
    fn received(&self) -> usize {
        self.number("stats", "total_connections_received")
    }

    fn is_empty(&self) -> bool {
        self.command(&["DBSIZE"]) == "0"
    }

    fn subscriptions(&self) -> usize {
        self.command(&["PUBSUB", "CHANNELS"]).lines().filter(|line| !line.is_empty()).count()
    }

    /// How often Redis ran each command, including those in scripts.
    pub fn calls(&self) -> Vec<(String, usize)> {
        let info = self.command(&["INFO", "commandstats"]);
        let call = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_string(), rest.split(',').next()?.parse().ok()?))
        };
        info.lines().filter_map(call).collect()
    }
}

#[tokio::test]
async fn a_hub_with_readers_leaves_nothing_behind() {
    let Some(store) = RedisStore::begin().await else { return };
    let before = tasks();
    let node = brief(&store);
    let mut readers = [live(&node, &["a", "b"], "ana").await, live(&node, &["b"], "").await];
    for n in 0..10 {
        let key = IdempotencyKey::try_from(n.to_string()).unwrap();
        node.channel("a").send_to("ana", Event::text("x").idempotency_key(key)).await.unwrap();
        send(&node, "b", n).await;
        assert_eq!(readers[1].text().await, n.to_string());
    }
    // The node has reported who is connected as well.
    eventually(async || node.channel("b").presence().await.unwrap().len() == 2).await;
    // All events have expired, but the epoch has not, because there are readers.
    readers[1].nothing_before(&node, "b").await;
    // Two channels, the feed's own channel, and the one for what nodes tell each other.
    assert_eq!(store.subscriptions(), 4);
    drop(readers);
    // Subscriptions, events and reports expire, although the hub still exists.
    eventually(async || store.subscriptions() == 0 && store.connections() == 1).await;
    eventually(async || store.is_empty()).await;
    // The hub can be used again.
    let mut reader = live(&node, &["a"], "").await;
    reader.nothing_before(&node, "a").await;
    drop((reader, node));
    eventually(async || store.connections() == 0 && tasks() == before).await;
    eventually(async || store.is_empty()).await;
}

#[tokio::test]
async fn a_hub_that_only_publishes_takes_one_connection_and_leaves_nothing_behind() {
    let Some(store) = RedisStore::begin().await else { return };
    let before = tasks();
    let node = brief(&store);
    let received = store.received();
    let sending: Vec<_> = (0..50)
        .map(|n| {
            let channel = node.channel(format!("c{n}"));
            tokio::spawn(async move { channel.send(Event::text("x")).await.unwrap() })
        })
        .collect();
    for sent in sending {
        sent.await.unwrap();
    }
    node.channel("c0").close().await.unwrap();
    assert!(node.channel("c1").presence().await.unwrap().is_empty());
    assert_eq!(store.received() - received - 1, 1, "one connection, ever");
    assert_eq!(tasks(), before + 1, "and the task that serves it");
    drop(node);
    eventually(async || store.connections() == 0 && tasks() == before).await;
    eventually(async || store.is_empty()).await;
}

async fn nothing_is_left_of_a_hub_that_ends_without_redis(go: fn(&RedisStore), come: fn(&RedisStore)) {
    let Some(store) = RedisStore::begin().await else { return };
    let before = tasks();
    let (node, worker) = (brief(&store), brief(&store));
    let reader = live(&node, &["a", "b"], "ana").await;
    send(&worker, "a", 1).await;
    go(&store);
    for publisher in [&node, &worker] {
        let error = publisher.channel("a").send(Event::text("2")).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
    // They are dropped while a publish is in flight.
    let last = worker.channel("a");
    let on_its_way = tokio::spawn(async move { last.send(Event::text("3")).await });
    drop((reader, node, worker));
    assert!(on_its_way.await.unwrap().is_err());
    eventually(async || tasks() == before).await;
    come(&store);
    eventually(async || store.connections() == 0 && store.subscriptions() == 0).await;
    eventually(async || store.is_empty()).await;
}

#[tokio::test]
async fn a_hub_dropped_while_redis_is_away_leaves_nothing_behind() {
    let go = |store: &RedisStore| store.server.lock().unwrap().kill();
    nothing_is_left_of_a_hub_that_ends_without_redis(go, |store| store.server.lock().unwrap().run()).await;
}

#[tokio::test]
async fn a_hub_dropped_while_redis_hangs_leaves_nothing_behind() {
    let go = |store: &RedisStore| store.server.lock().unwrap().hang(true);
    nothing_is_left_of_a_hub_that_ends_without_redis(go, |store| store.server.lock().unwrap().hang(false)).await;
}

/// How many commands Redis runs for an idle node between the first and the third time it asks for the last offset.
async fn commands_of_an_idle_node(readers: usize, channels: usize) -> Option<usize> {
    let store = RedisStore::begin().await?;
    let node = store.node(defaults);
    let mut all = Vec::new();
    for n in 0..readers {
        all.push(live(&node, &[&format!("channel{}", n % channels)], &format!("client{n}")).await);
    }
    // All of them have been reported.
    let last = node.channel(format!("channel{}", (readers - 1) % channels));
    eventually(async || last.presence().await.unwrap().len() == readers / channels).await;
    let asked = |calls: &[(String, usize)]| calls.iter().find(|(name, _)| name == "publish").unwrap().1;
    let begun = asked(&store.calls());
    let mut counts = Vec::new();
    for round in [1, 3] {
        eventually(async || asked(&store.calls()) >= begun + round).await;
        let calls = store.calls();
        // All commands but the one that asks for these counts.
        counts.push(calls.iter().filter(|(name, _)| name != "info").map(|(_, calls)| calls).sum::<usize>());
    }
    Some(counts[1] - counts[0])
}

#[tokio::test]
async fn an_idle_nodes_requests_do_not_grow_with_readers_and_channels() {
    let (few, many) = tokio::join!(commands_of_an_idle_node(10, 2), commands_of_an_idle_node(1_000, 200));
    let (Some(few), Some(many)) = (few, many) else { return };
    // A report of the connections may fall before or after the count. With its script it is ten commands.
    assert!(many <= few + 10, "{few} commands, and {many}");
    assert!(few <= 60, "{few} commands in two rounds");
}
