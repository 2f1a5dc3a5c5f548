//! How Redis is configured and operated: memory and eviction, access, masters and replicas.

use std::{error::Error, time::Duration};

use tower_sse::{BackendError, Event, Publisher, Redis};

use crate::{
    reader::*,
    redis::RedisStore,
    server::{Server, is_installed},
    store::{Store, defaults},
};

/// The backend's own error, the source of the publisher's.
fn backend_error(error: &dyn Error) -> &BackendError {
    error.source().and_then(|error| error.downcast_ref()).expect("a backend's error")
}

#[tokio::test]
async fn a_server_that_evicts_keys_is_refused_by_an_error_that_says_what_to_set() {
    if !is_installed() {
        return;
    }
    let server = Server::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"]);
    let node = Publisher::builder().backend(Redis::new(&server.url()).unwrap()).build();
    for _ in 0..2 {
        let error = node.channel("a").send(Event::text("1")).await.unwrap_err();
        let error = backend_error(&error);
        assert!(error.is_misconfigured(), "{error:?}");
        let cause = error.source().unwrap().to_string();
        assert!(["volatile-lru", "noeviction", "allow_eviction"].iter().all(|word| cause.contains(word)), "{cause}");
    }
    assert!(try_open(&node, Default::default(), &["a"], "", None).await.err().unwrap().is_unavailable());
    // An operator may insist on using it.
    let insists = Redis::builder(server.url()).allow_eviction(true).build().unwrap();
    send(&Publisher::builder().backend(insists).build(), "a", 2).await;
    // Every node can use it once it no longer evicts.
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    eventually(async || node.channel("a").send(Event::text("3")).await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_begins_to_evict_keys_is_refused_within_seconds() {
    let Some(store) = RedisStore::begin().await else { return };
    let [node, worker] = store.nodes(defaults);
    let mut reader = live(&node, &["a"], "").await;
    send(&worker, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    store.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    store.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    eventually(async || worker.channel("a").send(Event::text("2")).await.is_err()).await;
    eventually(async || try_open(&node, Default::default(), &["b"], "", None).await.is_err()).await;
    store.command(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually(async || worker.channel("a").send(Event::text("3")).await.is_ok()).await;
    reader.until("3").await;
}

#[tokio::test]
async fn a_user_without_the_right_to_read_the_eviction_policy_is_told_to_grant_it() {
    let Some(store) = RedisStore::begin().await else { return };
    store.command(&["ACL", "SETUSER", "app", "on", ">password", "~*", "&*", "+@all", "-info"]);
    let redis = || Redis::builder(store.url()).credentials("app", "password").timeout(Duration::from_secs(1));
    let node = Publisher::builder().backend(redis().build().unwrap()).build();
    let error = node.channel("a").send(Event::text("1")).await.unwrap_err();
    let error = backend_error(&error);
    assert!(error.is_misconfigured() && error.source().unwrap().to_string().contains("+info"), "{error:?}");
    let insists = Publisher::builder().backend(redis().allow_eviction(true).build().unwrap()).build();
    send(&insists, "a", 2).await;
}

/// A master, and a replica that is up to date.
pub async fn master_and_replica() -> Option<[Server; 2]> {
    is_installed().then_some(())?;
    let master = Server::start_with(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    eventually(async || replica.command(&["INFO", "replication"]).contains("master_link_status:up")).await;
    eventually(async || master.command(&["WAIT", "1", "1000"]) == "1").await;
    Some([master, replica])
}

pub fn node_of(url: impl Into<String>) -> Publisher {
    let redis = Redis::builder(url).timeout(Duration::from_secs(1)).build().unwrap();
    Publisher::builder().backend(redis).timeout(Duration::from_secs(2)).build()
}

#[tokio::test]
async fn a_node_configured_with_a_replica_finds_its_master() {
    let Some([_master, replica]) = master_and_replica().await else { return };
    let node = node_of(replica.url());
    let mut reader = live(&node, &["a"], "").await;
    reader.nothing_before(&node, "a").await;
}

#[tokio::test]
async fn a_node_follows_when_master_and_replica_change_places() {
    let Some([master, replica]) = master_and_replica().await else { return };
    let [node, worker] = [(); 2].map(|()| node_of(master.url()));
    let mut reader = live(&node, &["a"], "").await;
    send(&worker, "a", 1).await;
    eventually(async || master.command(&["WAIT", "1", "1000"]) == "1").await;
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    master.command(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    // A retry is safe at once, as a replica refuses writes.
    send(&worker, "a", 2).await;
    reader.until("2").await;
}

#[tokio::test]
async fn a_node_finds_the_replica_that_took_over_from_a_lost_master() {
    let Some([mut master, replica]) = master_and_replica().await else { return };
    let [node, worker] = [(); 2].map(|()| node_of(master.url()));
    let mut reader = live(&node, &["a"], "").await;
    send(&worker, "a", 1).await;
    eventually(async || master.command(&["WAIT", "1", "1000"]) == "1").await;
    master.kill();
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    eventually(async || worker.channel("a").send(Event::text("2")).await.is_ok()).await;
    reader.until("2").await;
}

#[tokio::test]
async fn a_node_asks_sentinels_where_the_master_is_and_follows_a_failover() {
    let Some([mut master, _replica]) = master_and_replica().await else { return };
    let sentinel = Server::start_sentinel(&master);
    eventually(async || sentinel.command(&["SENTINEL", "REPLICAS", "hub"]).contains("master-link-status")).await;
    // The first sentinel does not exist.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/hub/0", sentinel.port());
    let [node, worker] = [(); 2].map(|()| node_of(&url));
    let mut reader = live(&node, &["a"], "").await;
    send(&worker, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    master.kill();
    eventually(async || worker.channel("a").send(Event::text("2")).await.is_ok()).await;
    reader.until("2").await;
    let unknown = node_of(format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port()));
    let error = unknown.channel("a").send(Event::text("3")).await.unwrap_err();
    assert!(format!("{error:?}").contains("other"), "{error:?}");
}
