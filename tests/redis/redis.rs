//! What holds for Redis alone. Each test has a server of its own.

use std::{
    error::Error,
    fmt::Write as _,
    sync::{Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use tower_sse::{
    BackendError, Event, GapReason, IdempotencyKey, Publisher, PublisherBuilder, Redis, RedisBuilder, Retention,
    backend::Backend as _,
};

use crate::{
    faulty::Faulty,
    limits,
    proxy::{Mode, Proxy},
    reader::*,
    server::{Server, is_installed},
    store::{Shared, Store, defaults},
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

    /// Forgets a channel, as if that was published to a long time ago.
    fn forget(&self, channel: &str) {
        let keys = ["s", "m", "u", "c"].map(|kind| format!("{{tower-sse}}:{kind}:{channel}"));
        self.command(&["DEL", &keys[0], &keys[1], &keys[2], &keys[3]]);
    }

    /// Rewrites the index of times: at each time, in milliseconds from now, the last offset was this one.
    fn rewrite_index(&self, times: &[(i64, u64)]) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        let index = "{tower-sse}:t";
        self.command(&["DEL", index]);
        for (at, offset) in times {
            let at = (now + at).to_string();
            self.command(&["ZADD", index, &at, &format!("{at}:{offset}")]);
            self.command(&["HSET", "{tower-sse}:hub", "w", &at]);
        }
    }
}

impl RedisStore {
    /// A node whose store keeps events for `age`, and remembers a channel for a minute after that.
    fn forgetful_node(&self, age: Duration) -> Publisher {
        let redis = Redis::builder(self.url()).tombstones(Duration::from_secs(60)).build().unwrap();
        Publisher::builder().backend(redis).retention(Retention::new().age(age)).build()
    }

    /// Moves the times of the index into the past.
    fn age_index(&self, millis: i64) {
        let index = "{tower-sse}:t";
        let entries = self.command(&["ZRANGE", index, "0", "-1"]);
        for entry in entries.lines() {
            let (at, offset) = entry.split_once(':').unwrap();
            let at = (at.parse::<i64>().unwrap() - millis).to_string();
            self.command(&["ZREM", index, entry]);
            self.command(&["ZADD", index, &at, &format!("{at}:{offset}")]);
        }
    }
}

impl Store for RedisStore {
    async fn begin() -> Option<Self> {
        is_installed().then(|| Self { server: Mutex::new(Server::start()) })
    }

    /// Each node has connections of its own, as it would in a process of its own.
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

/// How long events are kept in tests that wait until they are too old. A reader has to read an event within this time.
const SHORT: Duration = Duration::from_secs(1);

fn short(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().age(SHORT))
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

/// Balancers close idle connections, and so does Redis if its `timeout` is set.
#[tokio::test]
async fn a_publish_after_an_idle_connection_was_closed_is_no_error() {
    let Some(store) = RedisStore::begin().await else { return };
    let [worker, node] = store.nodes(|builder| builder);
    let mut reader = live(&node, &["a"], "").await;
    send(&worker, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    store.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    // Time passes without waiting for it.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    send(&worker, "a", 2).await;
    assert_eq!(reader.text().await, "2");
}

/// What the default prefix gives all keys in common.
const HUB: &str = "{tower-sse}";

/// A cluster of two servers with half of the slots each. The first one has the slot of this key.
pub async fn cluster_of_two(key: &str) -> Option<[Server; 2]> {
    if !is_installed() {
        return None;
    }
    let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let mut servers = [(); 2].map(|()| Server::start_with(&settings));
    servers[0].command(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    servers[1].command(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    servers[0].command(&["CLUSTER", "MEET", "127.0.0.1", &servers[1].port().to_string()]);
    let is_ready = |server: &Server| server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    eventually(async || servers.iter().all(is_ready)).await;
    if servers[0].command(&["CLUSTER", "KEYSLOT", key]).parse::<usize>().unwrap() >= 8_192 {
        servers.swap(0, 1);
    }
    Some(servers)
}

fn slot_of_the_hub(server: &Server) -> String {
    server.command(&["CLUSTER", "KEYSLOT", HUB])
}

#[tokio::test]
async fn a_hub_runs_on_a_cluster_and_finds_its_slot() {
    let Some(servers) = cluster_of_two(HUB).await else { return };
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

#[tokio::test]
async fn on_a_cluster_the_streams_of_a_client_are_limited_over_all_nodes() {
    let Some(servers) = cluster_of_two(HUB).await else { return };
    let [one, other] =
        servers.each_ref().map(|server| Publisher::builder().backend(Redis::new(&server.url()).unwrap()).build());
    let ana = limits::open(&one, "a", "ana", 1).await.unwrap();
    limits::assert_refused(&other, "ana", 1).await;
    drop(ana);
    let _again = limits::open_soon(&other, "ana", 1).await;
}

#[tokio::test]
async fn on_a_cluster_events_are_pushed_to_no_server_but_that_of_the_hubs_slot() {
    let Some(servers) = cluster_of_two(HUB).await else { return };
    let node = Publisher::builder().backend(Redis::new(&servers[1].url()).unwrap()).build();
    let mut reader = live(&node, &["a"], "").await;
    for n in 0..20 {
        send(&node, "a", n).await;
        assert_eq!(reader.text().await, n.to_string());
    }
    node.channel("a").close().await.unwrap();
    assert!(reader.next().await.is_none());
    for server in &servers {
        let said = server.command(&["CLUSTER", "INFO"]);
        assert!(!said.contains("messages_publish"), "{said}");
    }
    // A channel that is no longer watched is unsubscribed.
    eventually(async || servers[0].command(&["PUBSUB", "SHARDCHANNELS", "*:f:*"]).is_empty()).await;
}

#[tokio::test]
async fn a_feed_follows_the_hubs_slot_to_another_server() {
    let Some([from, to]) = cluster_of_two(HUB).await else { return };
    let node = Publisher::builder().backend(Redis::new(&from.url()).unwrap()).build();
    let mut reader = live(&node, &["a", "b"], "").await;
    send(&node, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    let (slot, [source, target]) =
        (slot_of_the_hub(&from), [&from, &to].map(|server| server.command(&["CLUSTER", "MYID"])));
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
    let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    let port = to.port().to_string();
    let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    migrate.extend(keys.lines());
    assert_eq!(from.command(&migrate), "OK");
    for server in [&to, &from] {
        assert_eq!(server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]), "OK");
    }
    for n in 2..5 {
        let event = Event::text(n.to_string()).idempotency_key(IdempotencyKey::try_from(n.to_string()).unwrap());
        eventually(async || node.channel("b").send(event.clone()).await.is_ok()).await;
        assert_eq!(reader.text().await, n.to_string());
    }
}

/// The only server of the cluster that the hub was told of has its slot and dies, and a replica takes over.
#[tokio::test]
async fn a_hub_follows_a_cluster_when_its_configured_server_is_gone() {
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
        if n == 2 {
            // What the replica did not get nobody can know.
            reader.gap(GapReason::OtherEpoch).await;
        }
        assert_eq!(reader.text().await, n.to_string());
    }
}

#[tokio::test]
async fn keys_expire_after_retention_and_tombstones() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = || {
        let url = store.server.lock().unwrap().url();
        let builder = Redis::builder(&url).prefix("short").tombstones(Duration::from_secs(2));
        builder.idempotency_window(Duration::from_secs(2)).build().unwrap()
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
async fn a_channel_that_redis_has_forgotten_is_a_gap_only_for_readers_that_may_have_missed_events() {
    let Some(store) = RedisStore::begin().await else { return };
    let one = store.forgetful_node(SHORT);
    let first = send(&one, "a", 1).await;
    send(&one, "a", 2).await;
    send(&one, "b", 3).await;
    // As if this was 80 seconds ago, and another channel had kept the hub alive.
    store.forget("a");
    store.rewrite_index(&[(-100_000, 0), (-80_000, 2), (-50_000, 3)]);
    let other = store.forgetful_node(SHORT);
    let mut reader = resume(&other, &["a"], "", &first).await;
    reader.gap(tower_sse::GapReason::Evicted).await;
    let newest = send(&one, "b", 4).await;
    let mut reader = resume(&other, &["a"], "", &newest).await;
    reader.nothing_before(&one, "a").await;
}

/// Entries that the old epoch left in the index of times do not count.
#[tokio::test]
async fn a_channel_that_is_new_in_a_renewed_epoch_is_no_gap() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.redis();
    let node = Publisher::builder().backend(redis.clone()).build();
    send(&node, "a", 1).await;
    let lost = live(&node, &["a"], "").await.subscription.cursor().epoch;
    assert_ne!(redis.renew(lost).await.unwrap(), lost);
    let first = send(&node, "a", 2).await;
    send(&node, "a", 3).await;
    let mut reader = resume(&node, &["b"], "", &first).await;
    reader.nothing_before(&node, "b").await;
}

/// This happens when a replica takes over that lacks the last events, and publishers reconnect before the readers'
/// nodes.
#[tokio::test]
async fn an_offset_that_a_node_has_seen_is_not_given_to_another_event() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(|builder| builder);
    let mut reader = live(&one, &["a", "b"], "").await;
    let first = send(&other, "a", 1).await;
    for n in 2..4 {
        send(&other, "a", n).await;
    }
    assert_eq!(reader.texts(3).await, ["1", "2", "3"]);
    for (publisher, text) in [(&other, "its own"), (&one, "what it was told of")] {
        store.command(&["HINCRBY", "{tower-sse}:hub", "n", "-1"]);
        send(publisher, "b", text).await;
        reader.gap(GapReason::OtherEpoch).await;
        assert_eq!(reader.text().await, text);
    }
    resume(&one, &["a"], "", &first).await.gap(GapReason::OtherEpoch).await;
}

#[tokio::test]
async fn a_closed_channel_is_remembered_for_as_long_as_one_that_is_not() {
    let Some(store) = RedisStore::begin().await else { return };
    let day = Duration::from_secs(86_400);
    for (age, name) in [(7 * day, "a"), (Duration::MAX, "b")] {
        let node = Publisher::builder().backend(store.redis()).retention(Retention::new().age(age)).build();
        send(&node, name, 1).await;
        let meta = format!("{{tower-sse}}:m:{name}");
        let lifetime = || store.command(&["PTTL", &meta]).parse::<i64>().unwrap();
        let before = lifetime();
        node.channel(name).close().await.unwrap();
        // -1 is for ever.
        assert!(lifetime() == -1 || before > 0 && lifetime() > before - 60_000, "{before} and then {}", lifetime());
    }
}

#[tokio::test]
async fn closing_a_channel_that_redis_has_forgotten_hides_no_loss() {
    let Some(store) = RedisStore::begin().await else { return };
    let one = store.forgetful_node(Duration::from_secs(1));
    let first = send(&one, "a", 1).await;
    send(&one, "a", 2).await;
    // As if this was 80 seconds ago, and another channel had kept the hub alive.
    store.forget("a");
    store.rewrite_index(&[(-100_000, 0), (-80_000, 2)]);
    one.channel("a").close().await.unwrap();
    let mut reader = resume(&store.forgetful_node(Duration::from_secs(1)), &["a"], "", &first).await;
    reader.gap(tower_sse::GapReason::Evicted).await;
}

/// Somebody deleted it, a `maxmemory-policy` evicted it, or the server's clock was ahead for a while.
#[tokio::test]
async fn a_stream_that_vanished_early_is_a_gap() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(|builder| builder.retention(Retention::new().events(3)));
    let first = send(&one, "a", 1).await;
    send(&one, "a", 2).await;
    send(&one, "a", 3).await;
    store.command(&["DEL", "{tower-sse}:s:a"]);
    let mut reader = resume(&other, &["a"], "", &first).await;
    reader.gap(tower_sse::GapReason::Evicted).await;
    store.command(&["DEL", "{tower-sse}:s:a"]);
    // The channel then holds as many events as before.
    for n in 4..=6 {
        send(&one, "a", n).await;
    }
    let mut late = resume(&store.nodes::<1>(|builder| builder)[0], &["a"], "", &first).await;
    late.gap(tower_sse::GapReason::Evicted).await;
    assert_eq!(
        (reader.texts(3).await, late.texts(3).await),
        (vec!["4".into(), "5".into(), "6".into()], vec!["4".into(), "5".into(), "6".into()])
    );
}

#[tokio::test]
async fn a_clock_that_was_ahead_hides_no_loss() {
    let Some(store) = RedisStore::begin().await else { return };
    let one = store.forgetful_node(SHORT);
    let first = send(&one, "a", 1).await;
    // As a clock leaves it that was a day ahead then.
    store.rewrite_index(&[(86_400_000, 1)]);
    send(&one, "a", 2).await;
    // As if all this was 80 seconds ago.
    store.age_index(80_000);
    store.forget("a");
    let mut reader = resume(&store.forgetful_node(SHORT), &["a"], "", &first).await;
    reader.gap(tower_sse::GapReason::Evicted).await;
}

/// Redis publishes messages to the clients of all databases.
#[tokio::test]
async fn hubs_in_different_databases_know_nothing_of_each_other() {
    let Some(store) = RedisStore::begin().await else { return };
    let url = store.server.lock().unwrap().url();
    let [one, other] = [0, 1].map(|number| {
        let redis = Redis::new(&format!("{url}/{number}")).unwrap();
        Publisher::builder().backend(redis).build()
    });
    let mut readers = [live(&one, &["a", "b"], "").await, live(&other, &["b", "a"], "").await];
    one.channel("b").close().await.unwrap();
    assert!(readers[0].next().await.is_none());
    readers[1].nothing_before(&other, "b").await;
}

/// The server that has the hub's slot is known by its port only, as behind a balancer. Then it is gone for good, and
/// its slots go to the server whose address was configured.
#[tokio::test]
async fn a_hub_whose_slots_server_is_gone_asks_its_configured_address_again() {
    if !is_installed() {
        return;
    }
    let settings = ["--cluster-enabled", "yes", "--cluster-preferred-endpoint-type", "unknown-endpoint"];
    let mut servers = [(); 2].map(|()| Server::start_with(&settings));
    let slot: usize = servers[0].command(&["CLUSTER", "KEYSLOT", "{tower-sse}"]).parse().unwrap();
    // The second server has the hub's slot.
    if slot < 8_192 {
        servers.swap(0, 1);
    }
    let [first, second] = &mut servers;
    let (low, high) = if slot < 8_192 { (second, first) } else { (first, second) };
    low.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    high.command(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    low.command(&["CLUSTER", "MEET", "127.0.0.1", &high.port().to_string()]);
    let is_ready = |server: &Server| server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    eventually(async || servers.iter().all(is_ready)).await;
    let node = Publisher::builder().backend(Redis::new(&servers[0].url()).unwrap()).build();
    send(&node, "a", 1).await;
    let gone = servers[1].command(&["CLUSTER", "MYID"]);
    servers[1].kill();
    servers[0].command(&["CLUSTER", "FORGET", &gone]);
    let (from, to) = if slot < 8_192 { ("0", "8191") } else { ("8192", "16383") };
    servers[0].command(&["CLUSTER", "ADDSLOTSRANGE", from, to]);
    eventually(async || is_ready(&servers[0])).await;
    eventually(async || node.channel("a").send(Event::text("2")).await.is_ok()).await;
}

/// This happens when a machine or a firewall in between disappears: the connection stays open, and nothing arrives. The
/// node's timeout is shorter than the connection's.
#[tokio::test]
async fn a_silent_connection_is_given_up() {
    let Some(store) = RedisStore::begin().await else { return };
    let port = store.server.lock().unwrap().port();
    let proxy = Proxy::start(port).await;
    let redis = Redis::builder(format!("redis://127.0.0.1:{}", proxy.port));
    let redis = redis.timeout(Duration::from_millis(400)).build().unwrap();
    let node = Publisher::builder().backend(redis).timeout(Duration::from_millis(200)).build();
    eventually(async || node.channel("a").send(Event::text("1")).await.is_ok()).await;
    proxy.set(Mode::Abandon);
    let error = node.channel("a").send(Event::text("2")).await.unwrap_err();
    assert!(error.source().unwrap().downcast_ref::<BackendError>().unwrap().is_timeout());
    eventually(async || node.channel("a").send(Event::text("3")).await.is_ok()).await;
}

#[tokio::test]
async fn hubs_that_share_a_connection_count_their_own_readers() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.redis();
    let [one, other] = [(); 2].map(|()| Publisher::builder().backend(redis.clone()).build());
    let mut readers =
        vec![live(&one, &["a"], "").await, live(&other, &["a"], "").await, live(&other, &["a"], "").await];
    for count in [3, 4] {
        eventually(async || one.channel("a").presence().await.unwrap() == [(None, count)]).await;
        readers.push(live(&one, &["a"], "").await);
    }
}

/// Redis has also forgotten how often it was closed.
#[tokio::test]
async fn a_channel_that_redis_has_forgotten_was_not_closed() {
    let Some(store) = RedisStore::begin().await else { return };
    let backend = Faulty::new(store.backend());
    let faults = backend.faults.clone();
    let (one, other) = (Publisher::builder().backend(backend).build(), store.node(defaults));
    one.channel("a").close().await.unwrap();
    let mut reader = live(&one, &["a"], "").await;
    send(&other, "b", "something else keeps the hub").await;
    store.forget("a");
    faults.cut();
    eventually(async || faults.compared.load(SeqCst) > 0).await;
    reader.nothing_before(&other, "a").await;
}

/// It is published to elsewhere all the time, and the channel is remembered for as short as it can be.
#[tokio::test]
async fn a_reader_of_a_quiet_channel_is_told_no_gap_after_a_cut() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = || Redis::builder(store.url()).tombstones(Duration::ZERO).build().unwrap();
    let backend = Faulty::new(redis());
    let faults = backend.faults.clone();
    let [one, other] =
        [Publisher::builder().backend(backend), Publisher::builder().backend(redis())].map(|node| short(node).build());
    let mut readers = [
        live(&one, &["quiet"], "").await,
        live(&one, &["never published to"], "").await,
        live(&one, &["quiet", "never published to"], "").await,
    ];
    send(&other, "quiet", "hello").await;
    for reader in [0, 2] {
        assert_eq!(readers[reader].text().await, "hello");
    }
    eventually(async || {
        send(&other, "elsewhere", "x").await;
        store.command(&["EXISTS", "{tower-sse}:m:quiet"]) == "0"
    })
    .await;
    let compared = faults.compared.load(SeqCst);
    faults.cut();
    eventually(async || faults.compared.load(SeqCst) > compared).await;
    for (reader, channel) in readers.iter_mut().zip(["quiet", "never published to", "quiet"]) {
        send(&other, channel, "nothing came before").await;
        assert_eq!(reader.until("nothing came before").await.len(), 1);
    }
    assert_eq!(one.stats().gaps, 0);
}

#[tokio::test]
async fn a_password_opens_and_is_shown_nowhere() {
    if !is_installed() {
        return;
    }
    let server = Server::start_with(&["--requirepass", "s3cret"]);
    let socket = server.socket();
    let port = server.port();
    let node = |redis: RedisBuilder| Publisher::builder().backend(redis.build().unwrap()).build();
    let right = [
        Redis::builder(format!("redis://:s3cret@127.0.0.1:{port}")),
        Redis::builder(server.url()).credentials("default", "s3cret"),
        Redis::builder(format!("unix://{}?pass=s3cret", socket.display())),
    ];
    for redis in right {
        assert!(!format!("{redis:?} {:?}", redis.clone().build()).contains("s3cret"));
        let node = node(redis);
        let mut reader = live(&node, &["a"], "").await;
        reader.nothing_before(&node, "a").await;
    }
    let wrong = node(Redis::builder(format!("redis://app:wr0ng@127.0.0.1:{port}")));
    let away = node(Redis::builder("redis://app:wr0ng@127.0.0.1:1"));
    for node in [wrong, away] {
        let error = node.channel("a").send(Event::text("x")).await.unwrap_err();
        let mut text = format!("{node:?} {error:?}");
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(error) = cause {
            write!(text, " {error}").unwrap();
            cause = error.source();
        }
        assert!(error.is_unavailable() && !text.contains("wr0ng"), "{text}");
    }
}
