//! Runs on three nodes, which are processes of their own, with one Redis, under faults: nodes are killed, or stopped or cut off
//! from Redis for longer than the lease so that it runs out under a live writer, and Redis hangs, or is killed and restarted with
//! its data. Nodes are drained, too, and hand their runs over: the others take over most of them, several at once. Meanwhile
//! clients start runs, some of them twice and many in threads, and stop them on any node, and readers join, leave, move between
//! nodes and resume.
//!
//! Each producer numbers its events and names itself in them, and says which of them were acknowledged. A checker then compares
//! what each reader got with what is held of the run in the end.
//!
//! By default it runs for a few seconds. For ten minutes:
//!
//! ```sh
//! RUNS_SECONDS=600 cargo test --release -p redis-tests --test runs faults -- --nocapture
//! ```
//!
//! `RUNS_SEED` repeats the random choices of a run, as far as timing allows.

#[path = "../../common/mod.rs"]
mod common;
#[path = "../cluster/http.rs"]
mod http;
#[path = "../../common/node_process.rs"]
mod node_process;
#[path = "../cluster/proxy.rs"]
mod proxy;
#[path = "../server.rs"]
mod server;

mod check;
mod faults;
mod ledger;
mod node;
mod producer;
mod reader;
mod starter;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use self::{common::Random, ledger::Ledger, node::Node, reader::Seen, server::Server};

/// How long a node may be silent.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// How long after the lease readers learn of a loss, at the latest.
pub const TELLING: Duration = Duration::from_secs(2);
/// How long a run that was handed over waits for another node to take it over.
pub const WITHIN: Duration = Duration::from_secs(4);

const NODES: usize = 3;
const STARTERS: u64 = 20;
const READERS: u64 = 8;
/// How many runs are read at once at the end.
const AT_ONCE: usize = 16;

/// What all tasks share.
pub struct Cluster {
    seed: u64,
    nodes: Vec<Node>,
    redis: Mutex<Server>,
    ledger: Arc<Mutex<Ledger>>,
    over: AtomicBool,
}

impl Cluster {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub fn random(&self, salt: u64) -> Random {
        let mut random = Random(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(salt * 7_919) | 1);
        random.below(9);
        random
    }

    pub fn any<'a>(&'a self, random: &mut Random) -> &'a Node {
        &self.nodes[random.below(NODES as u64) as usize]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_leave_each_run_one_writer_and_one_outcome() {
    if !server::is_installed() {
        return;
    }
    let given = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = given("RUNS_SEED").unwrap_or(u64::from(now.subsec_nanos()) | 1);
    let time = Duration::from_secs(given("RUNS_SECONDS").unwrap_or(12));
    println!("seed {seed}, {time:?}");
    let cluster = Arc::new(start(seed).await);
    let watch = tokio::spawn(notice_stalls(cluster.clone()));
    let seen = run(&cluster, time).await;
    let held = read_all(&cluster).await;
    watch.abort();
    let ledger = std::mem::take(&mut *cluster.ledger());
    check::check(&ledger, &seen, &held, seed);
}

async fn start(seed: u64) -> Cluster {
    let (redis, ledger, mut nodes) = (Server::start(), Arc::new(Mutex::new(Ledger::default())), Vec::new());
    for number in 0..NODES {
        nodes.push(Node::new(number, redis.port(), ledger.clone()).await);
    }
    Cluster { seed, nodes, redis: Mutex::new(redis), ledger, over: AtomicBool::new(false) }
}

/// Runs everything at once for some time, repairs what is broken, and ends the runs that are left. Returns what was read.
async fn run(cluster: &Arc<Cluster>, time: Duration) -> Vec<Seen> {
    let spawn = |salt| (cluster.clone(), cluster.random(salt));
    let mut tasks: Vec<JoinHandle<Vec<Seen>>> = Vec::new();
    for n in 0..STARTERS {
        let (cluster, random) = spawn(100 + n);
        tasks.push(tokio::spawn(starter::start(cluster, random, n)));
    }
    for n in 0..READERS {
        let (cluster, random) = spawn(200 + n);
        tasks.push(tokio::spawn(reader::read_some(cluster, random)));
    }
    let (of_nodes, of_redis, stops) = (spawn(1), spawn(2), spawn(3));
    let others = [
        tokio::spawn(faults::of_nodes(of_nodes.0, of_nodes.1)),
        tokio::spawn(faults::of_redis(of_redis.0, of_redis.1)),
        tokio::spawn(starter::stop(stops.0, stops.1)),
    ];
    tokio::time::sleep(time).await;
    cluster.over.store(true, Ordering::SeqCst);
    for task in others {
        task.await.unwrap();
    }
    // Some runs go on until somebody stops them.
    starter::stop_all(cluster).await;
    let mut seen = Vec::new();
    for task in tasks {
        seen.extend(task.await.unwrap());
    }
    seen
}

/// What is held of a run in the end, and what each node reports about it.
pub struct Held {
    pub seen: Seen,
    pub status: Vec<String>,
}

/// Reads each run on some node, and asks every node about it.
async fn read_all(cluster: &Arc<Cluster>) -> Vec<Held> {
    let ids: Vec<_> = cluster.ledger().runs.keys().cloned().collect();
    let mut held = Vec::new();
    for some in ids.chunks(AT_ONCE) {
        let reads = some.iter().map(|id| {
            let mut random = cluster.random(300);
            async move {
                let seen = reader::read_whole(cluster, &mut random, id).await;
                let mut status = Vec::new();
                for node in &cluster.nodes {
                    status.push(starter::ask(node, &format!("/status?id={id}")).await);
                }
                Held { seen, status }
            }
        });
        held.extend(futures_util::future::join_all(reads).await);
    }
    held
}

/// Records when this process itself was stalled, which makes the test late.
async fn notice_stalls(cluster: Arc<Cluster>) {
    loop {
        let begun = std::time::Instant::now();
        tokio::time::sleep(producer::TICK).await;
        if begun.elapsed() > producer::STALL {
            cluster.ledger().stalled(None, begun.elapsed());
        }
    }
}
