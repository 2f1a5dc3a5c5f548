//! Servers that take over, or restart, without the last acknowledged events: readers are told, and no offset stands for
//! two events.

use std::{path::Path, time::Duration};

use tower_sse::{Event, GapReason, Publisher};

use crate::{
    common::offset,
    epochs::HUB,
    operation::{master_and_replica, node_of},
    reader::*,
    redis::RedisStore,
    server::{Server, is_installed},
    store::{Store, defaults},
};

const LOST: [&str; 3] = ["lost 1", "lost 2", "lost 3"];

/// A replica that took over without the events that its master acknowledged last, which one node published and another
/// read.
struct TakenOver {
    replica: Server,
    knowing: Publisher,
    reading: Publisher,
    single: Reader,
    several: Reader,
    /// The id of the last event that the replica has.
    kept: String,
}

async fn take_over() -> Option<TakenOver> {
    let [mut master, replica] = master_and_replica().await?;
    let [knowing, reading] = [(); 2].map(|()| node_of(master.url()));
    let (mut single, mut several) = (live(&reading, &["a"], "").await, live(&reading, &["a", "b"], "").await);
    send(&knowing, "b", "before").await;
    let kept = send(&knowing, "a", "before").await;
    eventually(async || master.command(&["WAIT", "1", "1000"]) == "1").await;
    // From here on the replica gets nothing.
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]);
    for text in LOST {
        send(&knowing, "a", text).await;
    }
    assert_eq!(single.until(LOST[2]).await.len(), 4);
    assert_eq!(several.until(LOST[2]).await.len(), 5);
    master.kill();
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    Some(TakenOver { replica, knowing, reading, single, several, kept })
}

#[tokio::test]
async fn a_replica_that_takes_over_begins_a_new_epoch_whoever_publishes_first() {
    let Some(TakenOver { replica, knowing, mut single, mut several, kept, .. }) = take_over().await else { return };
    // More events than were lost, from nodes that do not know those.
    for n in 0..6 {
        let id = send(&node_of(replica.url()), ["a", "b"][n % 2], n).await;
        assert_ne!(id[..12], kept[..12], "another epoch");
    }
    eventually(async || knowing.channel("b").send(Event::text("6")).await.is_ok()).await;
    single.gap(GapReason::OtherEpoch).await;
    several.gap(GapReason::OtherEpoch).await;
    assert_eq!(single.texts(3).await, ["0", "2", "4"]);
    assert_eq!(several.texts(7).await, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn events_that_a_replica_may_lack_are_a_gap_although_no_node_knows_of_them() {
    let Some(TakenOver { replica, knowing, reading, single, several, kept }) = take_over().await else { return };
    drop((knowing, reading, single, several));
    let node = node_of(replica.url());
    let mut reader = resume(&node, &["a"], "", &kept).await;
    reader.gap(GapReason::OtherEpoch).await;
    reader.nothing_before(&node, "a").await;
}

#[tokio::test]
async fn nodes_that_come_back_at_once_after_a_failover_begin_one_epoch() {
    let Some(TakenOver { replica, mut single, .. }) = take_over().await else { return };
    let sending: Vec<_> = (0..8)
        .map(|n| {
            let node = node_of(replica.url());
            tokio::spawn(async move { send(&node, "a", n).await[..12].to_owned() })
        })
        .collect();
    let mut epochs = Vec::new();
    for sent in sending {
        epochs.push(sent.await.unwrap());
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "{epochs:?}");
    single.gap(GapReason::OtherEpoch).await;
    let mut texts = single.texts(8).await;
    texts.sort();
    assert_eq!(texts, (0..8).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_restart_that_loses_nothing_begins_no_epoch() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(|builder| builder.timeout(Duration::from_secs(1)));
    let (mut single, mut several) = (live(&other, &["a"], "").await, live(&other, &["a", "b"], "").await);
    let before = send(&one, "a", 1).await;
    for _ in 0..3 {
        store.restart();
        eventually(async || one.channel("a").send(Event::text("2")).await.is_ok()).await;
    }
    for reader in [&mut single, &mut several, &mut resume(&store.node(defaults), &["b", "a"], "", &before).await] {
        assert!(reader.until("2").await.iter().all(|text| !text.starts_with("gap")));
        assert_eq!(reader.id()[..12], before[..12], "the same epoch");
        reader.texts(2).await;
    }
}

#[tokio::test]
async fn a_restart_of_a_hub_in_which_nothing_happens_begins_no_epoch() {
    let Some(store) = RedisStore::begin().await else { return };
    let node = store.node(|builder| builder.timeout(Duration::from_secs(1)));
    let mut reader = live(&node, &["a"], "").await;
    let before = send(&node, "a", 1).await;
    store.restart();
    let last = || store.command(&["HGET", HUB, "n"]).parse::<u64>().unwrap_or(0);
    eventually(async || last() > offset(&before)).await;
    // The node is told how far the hub is, which is where its offsets go on.
    let _other = live(&node, &["b"], "").await;
    let after = send(&node, "a", 2).await;
    assert_eq!(after[..12], before[..12], "the same epoch");
    assert_eq!(reader.texts(2).await, ["1", "2"]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&entry.path(), &to),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), to).unwrap()),
            _ => {}
        }
    }
}

impl RedisStore {
    fn restart(&self) {
        let mut server = self.server.lock().unwrap();
        server.kill();
        server.run();
    }

    /// Restarts the server without what happened meanwhile, as after a power cut.
    async fn without<T>(&self, meanwhile: impl Future<Output = T>) -> T {
        let (folder, saved) = {
            let server = self.server.lock().unwrap();
            (server.folder().to_owned(), server.folder().with_extension("saved"))
        };
        copy(&folder, &saved);
        let done = meanwhile.await;
        let mut server = self.server.lock().unwrap();
        server.kill();
        server.empty();
        copy(&saved, &folder);
        std::fs::remove_dir_all(saved).unwrap();
        server.run();
        done
    }
}

#[tokio::test]
async fn a_restart_that_loses_events_gives_no_offset_twice_and_is_told_by_the_nodes_that_know() {
    for reads in [true, false] {
        let Some(store) = RedisStore::begin().await else { return };
        let [knowing, other] = store.nodes(|builder| builder.timeout(Duration::from_secs(1)));
        let kept = send(&knowing, "a", "kept").await;
        let _reader = if reads { Some(live(&other, &["a"], "").await) } else { None };
        let lost = store.without(send(&knowing, "a", "lost")).await;
        let fresh = store.node(defaults);
        let next = send(&fresh, "a", "next").await;
        if next[..12] == lost[..12] {
            assert!(offset(&next) > offset(&lost), "{next} and {lost}");
        }
        let mut reader = resume(&fresh, &["a"], "", &kept).await;
        eventually(async || knowing.channel("b").send(Event::text("b")).await.is_ok()).await;
        assert_ne!(send(&fresh, "b", "b").await[..12], lost[..12], "another epoch");
        let got = reader.until("gap:other-epoch").await;
        assert!(got.iter().all(|text| text == "next" || text == "gap:other-epoch"), "{got:?}");
    }
}

#[tokio::test]
async fn a_node_that_reads_finds_out_what_a_restart_has_lost() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(|builder| builder.timeout(Duration::from_secs(1)));
    let mut reader = live(&other, &["a"], "").await;
    store
        .without(async {
            send(&one, "a", "lost").await;
            assert_eq!(reader.text().await, "lost")
        })
        .await;
    drop(one);
    reader.gap(GapReason::OtherEpoch).await;
    reader.nothing_before(&store.node(defaults), "a").await;
}

/// With its first replica a server gets another replication id.
#[tokio::test]
async fn a_replica_that_is_attached_begins_no_epoch() {
    if !is_installed() {
        return;
    }
    let [master, replica] =
        [(); 2].map(|()| Server::start_with(&["--appendonly", "no", "--repl-diskless-sync-delay", "0"]));
    let id = || {
        master
            .command(&["INFO", "replication"])
            .lines()
            .find(|line| line.starts_with("master_replid:"))
            .map(str::to_owned)
    };
    let node = node_of(master.url());
    let mut reader = live(&node, &["a"], "").await;
    let first = send(&node, "a", 1).await;
    let before = id();
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    eventually(async || replica.command(&["INFO", "replication"]).contains("master_link_status:up")).await;
    assert_ne!(id(), before);
    let second = send(&node_of(master.url()), "a", 2).await;
    assert_eq!((&second[..12], offset(&second)), (&first[..12], offset(&first) + 1));
    assert_eq!(reader.texts(2).await, ["1", "2"]);
}

#[tokio::test]
async fn a_master_that_was_a_replica_meanwhile_begins_a_new_epoch() {
    let Some([master, replica]) = master_and_replica().await else { return };
    let node = node_of(master.url());
    let first = send(&node, "a", 1).await;
    eventually(async || master.command(&["WAIT", "1", "1000"]) == "1").await;
    // The replica takes over, and gives it back without what was published meanwhile.
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]);
    send(&node, "a", "lost").await;
    drop(node);
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    master.command(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    eventually(async || master.command(&["INFO", "replication"]).contains("master_link_status:up")).await;
    master.command(&["REPLICAOF", "NO", "ONE"]);
    let mut reader = resume(&node_of(master.url()), &["a"], "", &first).await;
    reader.gap(GapReason::OtherEpoch).await;
}

#[tokio::test]
async fn a_restart_from_a_snapshot_begins_a_new_epoch() {
    if !is_installed() {
        return;
    }
    let mut server = Server::start_with(&["--appendonly", "no"]);
    let node = node_of(server.url());
    let kept = send(&node, "a", "kept").await;
    assert_eq!(server.command(&["SAVE"]), "OK");
    send(&node, "a", "lost").await;
    drop(node);
    server.kill();
    server.run();
    let node = node_of(server.url());
    let mut reader = resume(&node, &["a"], "", &kept).await;
    reader.gap(GapReason::OtherEpoch).await;
    reader.nothing_before(&node, "a").await;
}
