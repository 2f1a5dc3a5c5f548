//! How Redis is set up and run: memory and eviction, access, masters and replicas.

use std::{error::Error, time::Duration};

use tower_sse::{BackendError, Event, Publisher, Redis};

use crate::{
    reader::*,
    redis::RedisStore,
    server::{Server, is_installed},
    store::{Store, defaults},
};

/// The backend's own error, which is behind the publisher's.
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
    // Where the operator insists it is used.
    let insists = Redis::builder(server.url()).allow_eviction(true).build().unwrap();
    send(&Publisher::builder().backend(insists).build(), "a", 2).await;
    // And by all as soon as it evicts no more.
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
async fn a_user_who_may_not_ask_whether_keys_are_evicted_is_told_to_be_granted_that() {
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
