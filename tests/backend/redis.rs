//! Redis, each test with a server of its own.

use std::{error::Error, fmt::Write as _, sync::Mutex, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower_sse::{
    BackendError, ClientId, Event, IdempotencyKey, Publisher, PublisherBuilder, Redis, RedisBuilder, Retention,
};

use crate::{
    reader::*,
    server::{Server, is_installed},
    store::{Shared, Store},
};

pub struct RedisStore {
    server: Mutex<Server>,
}

impl RedisStore {
    fn redis(&self) -> Redis {
        Redis::new(&self.server.lock().unwrap().url()).unwrap()
    }

    fn command(&self, words: &[&str]) -> String {
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

#[tokio::test]
async fn keys_are_gone_when_retention_and_tombstones_have_passed() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = || {
        let url = store.server.lock().unwrap().url();
        let builder = Redis::builder(url).prefix("short").tombstones(Duration::from_millis(300));
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
async fn a_node_asks_no_more_often_however_many_readers_it_has() {
    let Some(store) = RedisStore::begin().await else { return };
    let node = store.node(|builder| builder);
    let commands = || {
        let stats = store.command(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let mut counts = Vec::new();
    let mut readers = Vec::new();
    for more in [1, 299] {
        for n in 0..more {
            readers.push(live(&node, &["a", "b"], &format!("client{}", n % 50)).await);
        }
        // The first refresh says who came.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let before = commands();
        tokio::time::sleep(Duration::from_secs(11)).await;
        counts.push(commands() - before);
    }
    assert!(counts[1] <= counts[0] + 30, "{counts:?}");
}

#[tokio::test]
async fn a_channel_that_redis_has_forgotten_is_a_gap_only_for_whom_it_may_be_one() {
    let Some(store) = RedisStore::begin().await else { return };
    let node = || {
        let url = store.server.lock().unwrap().url();
        let redis = Redis::builder(url).tombstones(Duration::from_millis(300)).build().unwrap();
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

/// Behind a way on which what was connected hangs, and what comes anew passes.
#[tokio::test]
async fn a_connection_that_hangs_is_given_up_by_who_has_less_patience_than_it() {
    let Some(store) = RedisStore::begin().await else { return };
    let to = store.server.lock().unwrap().port();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (hang, hanging) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (passes, mut hanging) = (!*hanging.borrow(), hanging.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let hung = async { drop(hanging.wait_for(|hangs| *hangs && passes).await) };
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    () = hung => std::future::pending().await,
                }
            });
        }
    });
    let redis = Redis::builder(url).timeout(Duration::from_secs(1)).build().unwrap();
    let node = Publisher::builder().backend(redis).timeout(Duration::from_millis(200)).build();
    eventually(async || node.channel("a").send(Event::text("1")).await.is_ok()).await;
    hang.send_replace(true);
    let error = node.channel("a").send(Event::text("2")).await.unwrap_err();
    assert!(error.source().unwrap().downcast_ref::<BackendError>().unwrap().is_timeout());
    eventually(async || node.channel("a").send(Event::text("3")).await.is_ok()).await;
}

#[tokio::test]
async fn hubs_with_clones_of_one_redis_are_nodes_of_their_own() {
    let Some(store) = RedisStore::begin().await else { return };
    let redis = store.redis();
    let [one, other] = [(); 2].map(|()| Publisher::builder().backend(redis.clone()).build());
    let present = async |client| {
        let expected = [(Some(ClientId::from_static(client)), 2)];
        eventually(async || one.channel("a").presence().await.unwrap() == expected).await;
    };
    let first = live(&one, &["a"], "ana").await;
    let _second = live(&other, &["a"], "bo").await;
    eventually(async || one.channel("a").presence().await.unwrap().len() == 2).await;
    // The one says now what the other has said last.
    let _third = live(&one, &["a"], "bo").await;
    drop(first);
    present("bo").await;
}

#[tokio::test]
async fn a_password_opens_and_is_shown_nowhere() {
    if !is_installed() {
        return;
    }
    let socket = std::env::temp_dir().join(format!("tower-sse-{}.sock", std::process::id()));
    let server = Server::start_with(&["--requirepass", "s3cret", "--unixsocket", socket.to_str().unwrap()]);
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
    let _ = std::fs::remove_file(socket);
}
