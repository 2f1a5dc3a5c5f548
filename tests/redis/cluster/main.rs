//! Nodes as processes of their own, with one Redis, under faults: a proxy in front of each node cuts, stalls and delays
//! its connections to Redis, nodes and Redis are killed, and Redis restarts with or without its data, and a
//! replica takes over that lacks what was acknowledged last. A server that could evict keys is refused; in a run of its
//! own the nodes insist on it, and it evicts keys by every policy that Redis has. A checker that
//! knows every acknowledged publish then examines what each reader got, on whichever nodes it was, and each page that was read
//! of a channel without a subscription.
//!
//! By default it runs for a few seconds. For ten minutes of faults, and for four nodes with many readers that only
//! reconnect:
//!
//! ```sh
//! CLUSTER_SECONDS=600 cargo test --release -p redis-tests --test cluster faults -- --nocapture --test-threads 1
//! CLUSTER_SECONDS=300 CLUSTER_NODES=4 CLUSTER_READERS=2000 CLUSTER_CHANNELS=1000 \
//!     cargo test --release -p redis-tests --test cluster reconnects -- --nocapture
//! ```
//!
//! `CLUSTER_SEED` repeats the random choices of a run, as far as timing allows.

#[path = "../../common/mod.rs"]
mod common;
#[path = "../../common/node_process.rs"]
mod node_process;
#[path = "../server.rs"]
mod server;

mod check;
mod faults;
mod http;
mod measure;
mod node;
mod pages;
mod proxy;
mod publisher;
mod reader;
mod repeat;
mod store;
mod writer;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use self::{check::Ledger, common::Random, node::Nodes, publisher::publish, reader::Reader, store::Store};

#[derive(Debug, Clone)]
pub struct Settings {
    seed: u64,
    time: Duration,
    nodes: usize,
    readers: usize,
    channels: usize,
    publishers: usize,
    faults: bool,
    /// Redis evicts keys, and the nodes insist on using it.
    evicts: bool,
    /// A reader moves to another node after at most that many milliseconds.
    hop_within: u64,
}

impl Settings {
    fn new(time: u64, faults: bool) -> Self {
        let given = |name: &str, default: u64| {
            std::env::var(format!("CLUSTER_{name}")).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self {
            seed: given("SEED", u64::from(now.subsec_nanos()) | 1),
            time: Duration::from_secs(given("SECONDS", time)),
            nodes: given("NODES", 3) as usize,
            readers: given("READERS", 40) as usize,
            channels: given("CHANNELS", 12) as usize,
            publishers: given("PUBLISHERS", 4) as usize,
            faults,
            evicts: false,
            hop_within: given("HOP_MS", 8_000),
        }
    }

    pub fn random(&self, salt: u64) -> Random {
        let mut random = Random(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(salt * 7_919) | 1);
        random.below(9);
        random
    }
}

/// The state that all tasks share.
pub struct Cluster {
    settings: Settings,
    nodes: Nodes,
    store: Store,
    ledger: Mutex<Ledger>,
    /// Tells publishers and faults to stop.
    over: AtomicBool,
}

impl Cluster {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_lose_repeat_and_reorder_nothing() {
    run(Settings::new(12, true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_evicted_keys_lose_nothing_silently_and_repeat_nothing() {
    run(Settings { evicts: true, ..Settings::new(12, true) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnects_between_nodes_lose_repeat_and_leak_nothing() {
    run(Settings::new(5, false)).await;
}

async fn run(settings: Settings) {
    if !server::is_installed() {
        return;
    }
    println!("{settings:?}");
    let store = Store::start().await;
    let nodes = Nodes::start(settings.nodes, store.port(), settings.evicts).await;
    let cluster = Arc::new(Cluster {
        settings: settings.clone(),
        nodes,
        store,
        ledger: Mutex::new(Ledger { evicts: settings.evicts, ..Ledger::default() }),
        over: AtomicBool::new(false),
    });
    let readers: Vec<_> = (0..settings.readers).map(|n| tokio::spawn(Reader::new(cluster.clone(), n).run())).collect();
    let publishers: Vec<_> = (0..settings.publishers).map(|n| tokio::spawn(publish(cluster.clone(), n))).collect();
    let writers = writer::start(&cluster);
    let browsers: Vec<_> = (0..pages::TASKS).map(|n| tokio::spawn(pages::browse(cluster.clone(), n))).collect();
    let trouble = tokio::spawn(faults::make(cluster.clone()));
    tokio::time::sleep(settings.time).await;
    cluster.over.store(true, Ordering::SeqCst);
    trouble.await.unwrap();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    let mut pages = Vec::new();
    for browser in browsers {
        pages.extend(browser.await.unwrap());
    }
    publisher::last_words(&cluster).await;
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.await.unwrap());
    }
    let last = pages::read_all(&cluster).await;
    let ledger = std::mem::take(&mut *cluster.ledger.lock().unwrap());
    ledger.check(&seen, &settings);
    pages::check(&pages, &last, &ledger);
    writer::check(written, settings.evicts);
}
