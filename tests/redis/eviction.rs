//! Keys that Redis evicts, or that are missing for another reason, are a gap to their readers.

use std::time::Duration;

use tower_sse::{ChannelName, Event, Offset, Publisher, Redis, Retention, backend::Backend as _};

use crate::{
    common::offset,
    epochs::HUB,
    proxy::{Mode, Proxy},
    reader::*,
    redis::RedisStore,
    server::{Server, is_installed},
    store::{Store, defaults},
};

#[tokio::test]
async fn an_eviction_by_redis_is_a_gap_if_evictions_are_allowed() {
    if !is_installed() {
        return;
    }
    for policy in ["volatile-lru", "allkeys-random"] {
        let server = ["--appendonly", "no", "--maxmemory", "6mb", "--maxmemory-policy", policy];
        let server = Server::start_with(&server);
        let redis = || Redis::builder(server.url()).allow_eviction(true).build().unwrap();
        let node = || Publisher::builder().backend(redis()).retention(Retention::new().events(10)).build();
        let worker = node();
        let mut away = Vec::new();
        for n in 0..60 {
            let channel = format!("quiet {n}").replace(' ', "-");
            away.push((channel.clone(), send(&worker, &channel, "read").await));
            send(&worker, &channel, "missed 1").await;
            send(&worker, &channel, "missed 2").await;
        }
        // Nothing is gone yet, and nobody gets a gap.
        let reading = node();
        let mut fresh = resume(&reading, &["none"], "", &away[0].1).await;
        fresh.nothing_before(&worker, "none").await;
        let large = "x".repeat(40_000);
        for n in 0..250 {
            let _ = worker.channel(format!("run-{n}")).send(Event::text(&large)).await;
        }
        let evicted = server.command(&["INFO", "stats"]);
        assert!(!evicted.contains("evicted_keys:0"), "{policy}");
        let reading = node();
        for (channel, id) in &away {
            let mut reader = resume(&reading, &[channel], "", id).await;
            send(&worker, channel, "last").await;
            let got = reader.until("last").await;
            assert!(got[0].starts_with("gap:") || got == ["missed 1", "missed 2", "last"], "{policy}: {got:?}");
        }
    }
}

impl Server {
    /// Removes everything about a channel, as an eviction does.
    fn evict(&self, channel: &str) {
        let keys = ["s", "m", "u", "c"].map(|kind| format!("{{tower-sse}}:{kind}:{channel}"));
        self.command(&[&["DEL"][..], &keys.each_ref().map(|key| &key[..])].concat());
    }

    fn evicted(&self) -> String {
        let says = self.command(&["INFO", "stats"]);
        says.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap().trim().to_owned()
    }

    /// Makes the server evict exactly one key, which belongs to no hub.
    async fn evict_another(&self) {
        self.command(&["SETRANGE", "filler", "1048575", "x"]);
        self.command(&["EXPIRE", "filler", "10"]);
        self.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl", "maxmemory-samples", "64"]);
        let says = self.command(&["INFO", "memory"]);
        let used = says.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim();
        let limit = used.parse::<usize>().unwrap() - (1 << 19);
        self.command(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
        eventually(async || self.command(&["EXISTS", "filler"]) == "0").await;
        self.command(&["CONFIG", "SET", "maxmemory", "0"]);
    }
}

fn node_that_allows_eviction(server: &Server) -> Publisher {
    let redis = Redis::builder(server.url()).allow_eviction(true).build().unwrap();
    Publisher::builder().backend(redis).build()
}

/// The server counts evicted keys from its start, so after a restart, nobody can see that it evicted some before.
#[tokio::test]
async fn an_eviction_shortly_before_redis_restarts_is_a_gap() {
    if !is_installed() {
        return;
    }
    let mut server = Server::start();
    let worker = node_that_allows_eviction(&server);
    let away = send(&worker, "a", 1).await;
    send(&worker, "a", 2).await;
    let read = send(&worker, "b", 3).await;
    drop(worker);
    server.evict("a");
    server.kill();
    server.run();
    let node = node_that_allows_eviction(&server);
    let mut reader = resume(&node, &["a"], "", &away).await;
    assert_eq!(reader.text().await, "gap:evicted");
    // The readers of a channel that is still there get no gap.
    resume(&node, &["b"], "", &read).await.nothing_before(&node, "b").await;
}

#[tokio::test]
async fn as_many_evictions_as_before_a_restart_are_a_gap_too() {
    if !is_installed() {
        return;
    }
    let mut server = Server::start();
    let node = node_that_allows_eviction(&server);
    send(&node, "a", 1).await;
    server.evict_another().await;
    assert_eq!(server.evicted(), "1");
    eventually(async || {
        send(&node, "x", "has the hub notice it").await;
        server.command(&["HGET", HUB, "v"]) == "1"
    })
    .await;
    server.kill();
    server.run();
    let node = node_that_allows_eviction(&server);
    let away = send(&node, "a", 2).await;
    send(&node, "a", 3).await;
    server.evict("a");
    server.evict_another().await;
    assert_eq!(server.evicted(), "1");
    let mut reader = resume(&node_that_allows_eviction(&server), &["a"], "", &away).await;
    assert_eq!(reader.text().await, "gap:evicted");
}

#[tokio::test]
async fn a_missing_channel_is_a_gap_if_nobody_may_know_whether_keys_are_evicted() {
    if !is_installed() {
        return;
    }
    let server = Server::start();
    server.command(&["ACL", "SETUSER", "app", "on", ">password", "~*", "&*", "+@all", "-info"]);
    let node = || {
        let redis = Redis::builder(server.url()).credentials("app", "password").allow_eviction(true);
        Publisher::builder().backend(redis.build().unwrap()).build()
    };
    let away = send(&node(), "a", 1).await;
    send(&node(), "a", 2).await;
    server.evict("a");
    let mut reader = resume(&node(), &["a"], "", &away).await;
    assert_eq!(reader.text().await, "gap:evicted");
}

#[tokio::test]
async fn keys_that_are_missing_are_a_gap() {
    let Some(store) = RedisStore::begin().await else { return };
    let node = store.node(defaults);
    for key in ["s", "m", "c"] {
        let id = send(&node, key, 1).await;
        node.channel(key).send_to("ana", Event::text("2")).await.unwrap();
        store.command(&["DEL", &format!("{{tower-sse}}:{key}:{key}")]);
        let mut reader = resume(&store.node(defaults), &[key], "ana", &id).await;
        assert_eq!(reader.text().await, "gap:evicted", "{key}");
    }
}

/// A read takes one more page than its script returns, and Redis may evict the channel in between.
#[tokio::test]
async fn an_eviction_between_two_pages_of_a_read_is_a_gap() {
    let Some(store) = RedisStore::begin().await else { return };
    let worker = store.node(defaults);
    let first = send(&worker, "a", 0).await;
    for n in 1..40 {
        send(&worker, "a", n).await;
    }
    let port = store.server.lock().unwrap().port();
    let proxy = Proxy::start(port).await;
    let redis = Redis::builder(format!("redis://127.0.0.1:{}", proxy.port)).timeout(Duration::from_secs(9)).build();
    let redis = redis.unwrap();
    redis.heads(Vec::new()).await.unwrap();
    proxy.set(Mode::Delay(Duration::from_millis(250)));
    store.command(&["CONFIG", "RESETSTAT"]);
    let after = Offset::new(offset(&first));
    let read = async {
        let read = redis.read(ChannelName::from_static("a"), after, Retention::new()).await;
        read.unwrap()
    };
    let evict = async {
        // The script has read the channel, and its answer is on its way.
        eventually(async || store.calls().iter().any(|(command, _)| command == "xrevrange")).await;
        store.command(&["DEL", "{tower-sse}:s:a"]);
    };
    let (held, ()) = tokio::join!(read, evict);
    // On a busy machine, the reader may have read all of them before the eviction.
    assert!(held.entries.len() == 39 || held.marks.broadcast > after, "{held:?}");
}
