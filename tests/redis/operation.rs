//! How Redis is configured and operated: memory and eviction, access, masters and replicas.

use std::{collections::BTreeSet, error::Error, time::Duration};

use tower_sse::{BackendError, CustomId, Event, GapReason, IdempotencyKey, Publisher, Redis, Retention};

use crate::{
    reader::*,
    redis::{RedisStore, cluster_of_two},
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

/// A server whose memory is used up, with a channel of a few events, and the id of the first of them.
async fn full_server() -> Option<(Server, String)> {
    is_installed().then_some(())?;
    let server = Server::start_with(&["--appendonly", "no", "--maxmemory", "5mb"]);
    let worker = node_of(server.url());
    let first = send(&worker, "a", 1).await;
    for n in 2..=4 {
        worker.channel("a").send_to("ana", Event::text(n.to_string())).await.unwrap();
    }
    worker.channel("over").finish(Event::text("over")).await.unwrap();
    let large = "x".repeat(100_000);
    let mut n = 0;
    while worker.channel(format!("c{n}")).send(Event::text(&large)).await.is_ok() {
        n += 1;
    }
    // To the last bit.
    while worker.channel(format!("c{n}")).send(Event::text("x")).await.is_ok() {
        n += 1;
    }
    Some((server, first))
}

#[tokio::test]
async fn what_is_held_can_be_read_when_memory_is_used_up() {
    let Some((server, first)) = full_server().await else { return };
    let node = node_of(server.url());
    let mut reader = resume(&node, &["a", "over"], "ana", &first).await;
    assert_eq!(reader.texts(4).await, ["2", "3", "4", "over"]);
    // Its feed goes on, also after it was cut.
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let mut another = resume(&node, &["over"], "", &first).await;
    assert_eq!(another.text().await, "over");
    let page = node_of(server.url()).channel("a").read_for("ana", None, 2).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.data()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(node.channel("a").info().await.unwrap().events, 4);
    let error = node.channel("a").send(Event::text("5")).await.unwrap_err();
    assert!(error.is_unavailable() && format!("{error:?}").contains("OOM"), "{error:?}");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    send(&node, "a", 5).await;
    assert_eq!(reader.text().await, "5");
}

#[tokio::test]
async fn a_channel_can_be_closed_when_memory_is_used_up_which_frees_it() {
    let Some((server, _)) = full_server().await else { return };
    let node = node_of(server.url());
    let mut reader = live(&node, &["c0"], "").await;
    // Of this Redis knows nothing yet.
    node.channel("unknown").close().await.unwrap();
    for n in 0..10 {
        node.channel(format!("c{n}")).close().await.unwrap();
    }
    assert!(reader.next().await.is_none());
    eventually(async || node.channel("a").send(Event::text("5")).await.is_ok()).await;
}

#[tokio::test]
async fn a_new_epoch_can_begin_when_memory_is_used_up() {
    let Some((server, first)) = full_server().await else { return };
    let node = node_of(server.url());
    let mut reader = resume(&node, &["a"], "ana", &first).await;
    assert_eq!(reader.texts(3).await, ["2", "3", "4"]);
    // By a script, which is not refused what it does after this.
    let lose = "redis.call('HDEL', KEYS[1], '') return redis.call('HINCRBY', KEYS[1], 'n', -1)";
    server.command(&["EVAL", lose, "1", "{tower-sse}:hub"]);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    reader.gap(GapReason::OtherEpoch).await;
}

/// The command in docs/scaling.md that makes a user.
fn documented_user() -> Vec<&'static str> {
    let text = include_str!("../../docs/scaling.md");
    let lines = text.lines().skip_while(|line| !line.starts_with("ACL SETUSER")).take_while(|line| *line != "```");
    lines.flat_map(str::split_whitespace).collect()
}

/// The commands that the scripts run, and those that nodes run besides.
fn commands_in_use() -> BTreeSet<String> {
    let besides = "ping select info cluster|slots evalsha script|load publish subscribe unsubscribe xrevrange";
    let mut commands: BTreeSet<_> = besides.split(' ').map(str::to_owned).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/backend/redis/scripts");
    let files = [folder.to_owned(), format!("{folder}/parts")]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    for path in files.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "lua") {
            let script = std::fs::read_to_string(path).unwrap();
            let calls = script.split("redis.call('").skip(1);
            commands.extend(calls.map(|call| call.split('\'').next().unwrap().to_lowercase()));
        }
    }
    commands
}

/// Does whatever a hub can do.
async fn use_all(node: &Publisher) {
    let mut reader = live(node, &["a", "b"], "ana").await;
    let key = IdempotencyKey::from_static("once");
    node.channel("a")
        .send_to("ana", Event::text("1").idempotency_key(key).id(CustomId::from_static("i")))
        .await
        .unwrap();
    assert_eq!(reader.text().await, "1");
    eventually(async || node.channel("a").presence().await.unwrap().len() == 1).await;
    for n in 2..9 {
        node.channel("a")
            .send(Event::text(n.to_string()).id(CustomId::try_from(format!("i{n}")).unwrap()))
            .await
            .unwrap();
    }
    reader.until("8").await;
    assert!(!node.channel("a").read(None, 20).await.unwrap().events.is_empty());
    node.channel("a").info().await.unwrap();
    // It has asked for the heads of its channels.
    tokio::time::sleep(Duration::from_secs(6)).await;
    node.channel("b").close().await.unwrap();
    assert!(reader.next().await.is_none());
}

/// The further rights in docs/scaling.md that a user of a cluster needs.
fn documented_for_clusters() -> Vec<&'static str> {
    let text = include_str!("../../docs/scaling.md");
    let line = text.lines().find(|line| line.starts_with("On a Redis Cluster") && line.contains('+')).unwrap();
    line.split('`').nth(1).unwrap().split_whitespace().collect()
}

#[tokio::test]
async fn on_a_cluster_a_user_needs_the_rights_that_are_documented_for_it() {
    let Some(servers) = cluster_of_two("{chat}").await else { return };
    for server in &servers {
        assert_eq!(server.command(&documented_user()), "OK");
    }
    let builder = || Redis::builder(servers[0].url()).prefix("chat").credentials("app", "password");
    let node = || Publisher::builder().backend(builder().build().unwrap()).timeout(Duration::from_secs(1)).build();
    assert!(node().channel("a").send(Event::text("1")).await.is_err());
    for server in &servers {
        let more = [&["ACL", "SETUSER", "app"], &documented_for_clusters()[..]].concat();
        assert_eq!(server.command(&more), "OK");
    }
    use_all(&node()).await;
    for server in &servers {
        let denied = server.command(&["ACL", "LOG"]);
        assert!(!denied.contains("ssubscribe") && !denied.contains("sunsubscribe"), "{denied}");
    }
}

#[tokio::test]
async fn a_user_needs_the_rights_that_are_documented_and_no_others() {
    let Some(store) = RedisStore::begin().await else { return };
    let user = documented_user();
    let rights: BTreeSet<_> = user.iter().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect();
    assert_eq!(rights, commands_in_use());
    assert_eq!(store.command(&user), "OK");
    let redis = Redis::builder(format!("{}/2", store.url())).prefix("chat").credentials("app", "password");
    let retention = Retention::new().events(4).age(Duration::from_millis(1_500));
    let node = || Publisher::builder().backend(redis.clone().build().unwrap()).retention(retention).build();
    use_all(&node()).await;
    for n in 0..3 {
        send(&node(), "a", n).await;
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    assert_eq!(store.command(&["ACL", "LOG"]), "", "nothing was refused");
}

#[tokio::test]
async fn a_node_is_not_ready_while_redis_is_down_and_is_again_once_it_is_back() {
    let Some(store) = RedisStore::begin().await else { return };
    let [node, worker] = store.nodes(|builder| builder.timeout(Duration::from_secs(1)));
    let mut reader = live(&node, &["a"], "").await;
    eventually(async || node.health().await.is_ready()).await;
    store.server.lock().unwrap().kill();
    eventually(async || !node.health().await.feed_alive).await;
    let health = node.health().await;
    assert!(health.backend.is_err() && !health.is_ready(), "{health:?}");
    // A node without readers has no feed, and finds out by asking.
    let health = worker.health().await;
    assert!(health.feed_alive && !health.is_ready(), "{health:?}");
    store.server.lock().unwrap().run();
    eventually(async || worker.health().await.is_ready()).await;
    eventually(async || node.health().await.is_ready()).await;
    send(&worker, "a", 1).await;
    assert_eq!(reader.text().await, "1");
}
