//! Redis, each test with a server of its own.

use std::{sync::Mutex, time::Duration};

use tower_sse::{Event, IdempotencyKey, Publisher, PublisherBuilder, Redis, Retention};

use crate::{
    reader::*,
    server::{Server, is_installed},
    store::{Shared, Store},
};

pub struct RedisStore {
    pub server: Mutex<Server>,
}

impl RedisStore {
    fn redis(&self) -> Redis {
        Redis::new(&self.url()).unwrap()
    }

    pub fn url(&self) -> String {
        self.server.lock().unwrap().url()
    }

    pub fn command(&self, words: &[&str]) -> String {
        self.server.lock().unwrap().command(words)
    }
}

impl Store for RedisStore {
    async fn begin() -> Option<Self> {
        is_installed().then(|| Self { server: Mutex::new(Server::start()) })
    }

    /// Each with connections of its own, as in a process of its own.
    fn node(&self, settings: fn(PublisherBuilder) -> PublisherBuilder) -> Publisher {
        settings(Publisher::builder().backend(self.redis())).build()
    }
}

impl Shared for RedisStore {
    type Backend = Redis;

    fn backend(&self) -> Redis {
        self.redis()
    }

    async fn lose(&self) {
        self.command(&["FLUSHALL"]);
    }

    async fn watched(&self) -> Option<usize> {
        let feeds = self.command(&["PUBSUB", "CHANNELS", "*:f:*"]);
        Some(feeds.lines().filter(|line| !line.is_empty()).count())
    }
}

fn short(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().age(Duration::from_millis(200)))
}

#[tokio::test]
async fn a_killed_server_loses_nothing_that_it_acknowledged() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(|builder| builder.timeout(Duration::from_secs(1)));
    let mut reader = live(&other, &["a", "b"], "").await;
    let mut sent = Vec::new();
    for round in 0..3 {
        for n in 0..20 {
            let text = format!("{round} {n}");
            let key = IdempotencyKey::try_from(text.clone()).unwrap();
            let event = Event::text(&text).idempotency_key(key);
            if n == 10 {
                store.server.lock().unwrap().kill();
                let error = one.channel("a").send(event.clone()).await.unwrap_err();
                assert!(error.is_unavailable(), "{error}");
                store.server.lock().unwrap().run();
            }
            eventually(async || one.channel(["a", "b"][n % 2]).send(event.clone()).await.is_ok()).await;
            sent.push(text);
        }
    }
    assert_eq!(reader.texts(sent.len()).await, sent);
    let mut late = resume(&one, &["b", "a"], "", &reader.id()).await;
    late.nothing_before(&other, "b").await;
}

/// As a balancer does, and Redis itself where its `timeout` is set.
#[tokio::test]
async fn a_publish_after_an_idle_connection_was_closed_is_no_error() {
    let Some(store) = RedisStore::begin().await else { return };
    let [worker, node] = store.nodes(|builder| builder);
    let mut reader = live(&node, &["a"], "").await;
    send(&worker, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    store.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    // Somewhat later, without waiting for it.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    send(&worker, "a", 2).await;
    assert_eq!(reader.text().await, "2");
}

/// Those that docs/scaling.md names, and no others.
#[tokio::test]
async fn a_user_needs_the_rights_that_are_documented_and_no_others() {
    let Some(store) = RedisStore::begin().await else { return };
    let documented =
        include_str!("../../docs/scaling.md").lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    assert_eq!(store.command(&documented.split(' ').collect::<Vec<_>>()), "OK");
    let redis = Redis::builder(&store.url()).unwrap().prefix("chat").credentials("app", "password").build().unwrap();
    let node = Publisher::builder().backend(redis).build();
    let mut reader = live(&node, &["a", "b"], "ana").await;
    let key = IdempotencyKey::from_static("once");
    node.channel("a").send_to("ana", Event::text("1").idempotency_key(key)).await.unwrap();
    assert_eq!(reader.text().await, "1");
    eventually(async || node.channel("a").present().await.unwrap().len() == 1).await;
    node.channel("b").close().await.unwrap();
    assert!(reader.next().await.is_none());
    assert_eq!(store.command(&["ACL", "LOG"]), "", "nothing was refused");
}

/// Two nodes of a cluster, each with half of the slots. The hub's are on one of them, and both are asked first.
#[tokio::test]
async fn it_runs_on_a_cluster_and_finds_its_slot() {
    if !is_installed() {
        return;
    }
    let servers = [(); 2].map(|()| Server::start_with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]));
    servers[0].command(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    servers[1].command(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    servers[0].command(&["CLUSTER", "MEET", "127.0.0.1", &servers[1].port().to_string()]);
    let is_ready = |server: &Server| server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    eventually(async || servers.iter().all(is_ready)).await;
    let nodes =
        servers.each_ref().map(|server| Publisher::builder().backend(Redis::new(&server.url()).unwrap()).build());
    let mut reader = live(&nodes[0], &["a", "b"], "").await;
    let mut other = live(&nodes[1], &["b", "a"], "").await;
    for n in 0..20 {
        send(&nodes[n % 2], ["a", "b"][n % 3 % 2], n).await;
    }
    let all: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!((reader.texts(20).await, other.texts(20).await), (all.clone(), all));
}

/// The one server of the cluster that it was told of has the hub's slot, dies, and its replica takes over.
#[tokio::test]
async fn it_follows_a_cluster_when_the_server_that_was_given_is_gone() {
    if !is_installed() {
        return;
    }
    let settings =
        ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"];
    // The other two masters vote for the replica.
    let [mut own, other, voter, replica] = [(); 4].map(|()| Server::start_with(&settings));
    let address = |server: &Server| server.port().to_string();
    own.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16000"]);
    other.command(&["CLUSTER", "ADDSLOTSRANGE", "16001", "16200"]);
    voter.command(&["CLUSTER", "ADDSLOTSRANGE", "16201", "16383"]);
    for server in [&other, &voter, &replica] {
        own.command(&["CLUSTER", "MEET", "127.0.0.1", &address(server)]);
    }
    let id = own.command(&["CLUSTER", "MYID"]);
    eventually(async || replica.command(&["CLUSTER", "REPLICATE", &id]) == "OK").await;
    let is_ready = |server: &Server| server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    eventually(async || [&own, &other, &voter, &replica].into_iter().all(is_ready)).await;
    eventually(async || own.command(&["CLUSTER", "SLOTS"]).contains(&address(&replica))).await;
    let [one, two] =
        [&own, &own].map(|server| Publisher::builder().backend(Redis::new(&server.url()).unwrap()).build());
    let mut reader = live(&one, &["a", "b"], "").await;
    send(&two, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    eventually(async || own.command(&["WAIT", "1", "1000"]) == "1").await;
    own.kill();
    let event = |n: usize| Event::text(n.to_string()).idempotency_key(IdempotencyKey::try_from(n.to_string()).unwrap());
    for (n, node) in [(2, &two), (3, &one)] {
        eventually(async || node.channel("a").send(event(n)).await.is_ok()).await;
        assert_eq!(reader.text().await, n.to_string());
    }
}

#[tokio::test]
async fn keys_are_gone_when_retention_and_tombstones_have_passed() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = || {
        let url = store.server.lock().unwrap().url();
        let builder = Redis::builder(&url).unwrap().prefix("short").tombstones(Duration::from_millis(300));
        builder.idempotency_window(Duration::from_millis(300)).build().unwrap()
    };
    let node = short(Publisher::builder().backend(redis())).build();
    let reader = live(&node, &["a"], "ana").await;
    for n in 0..10 {
        let key = IdempotencyKey::try_from(n.to_string()).unwrap();
        node.channel("a").send_to("ana", Event::text("x").idempotency_key(key)).await.unwrap();
    }
    assert!(store.command(&["KEYS", "{short}:*"]).lines().count() > 10);
    drop((reader, node));
    eventually(async || store.command(&["DBSIZE"]) == "0").await;
}

#[tokio::test]
async fn a_channel_that_redis_has_forgotten_is_a_gap_only_for_whom_it_may_be_one() {
    let Some(store) = RedisStore::begin().await else { return };
    let node = || {
        let url = store.server.lock().unwrap().url();
        let redis = Redis::builder(&url).unwrap().tombstones(Duration::from_millis(300)).build().unwrap();
        short(Publisher::builder().backend(redis)).build()
    };
    let one = node();
    // Something else keeps the hub.
    let _reader = live(&one, &["b"], "").await;
    let first = send(&one, "a", 1).await;
    send(&one, "a", 2).await;
    send(&one, "b", 3).await;
    eventually(async || {
        send(&one, "b", "still").await;
        !store.command(&["KEYS", "*"]).lines().any(|key| key.ends_with(":a"))
    })
    .await;
    let other = node();
    let mut reader = resume(&other, &["a"], "", &first).await;
    reader.gap(tower_sse::GapReason::Evicted).await;
    let newest = send(&one, "b", 4).await;
    let mut reader = resume(&other, &["a"], "", &newest).await;
    reader.nothing_before(&one, "a").await;
}
