//! The store of all nodes: a Redis server, and a replica that can take over from it.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};

use crate::{
    proxy::{Mode, Proxy},
    server::Server,
};

/// Every policy that evicts keys.
pub const POLICIES: [&str; 7] =
    ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"];

/// A key that keeps memory in use, and lives for longer than those of the hub.
const FILL: &str = "for i = 1, ARGV[2] do redis.call('SET', 'filler:' .. ARGV[1] .. ':' .. i, string.rep('x', 1000), 'EX', 500000) end";
const REMOVE: &str = "for _, key in ipairs(redis.call('KEYS', 'filler:*')) do redis.call('UNLINK', key) end";

pub struct Store {
    servers: [Mutex<Server>; 2],
    /// Which of the two the nodes are led to. The other one is its replica.
    primary: AtomicUsize,
    /// What the replica reads from its primary passes here.
    link: Proxy,
}

impl Store {
    pub async fn start() -> Self {
        // A node never leaves its proxy for the replica by itself: nothing listens where the replica says that it is.
        let announce = ["--repl-diskless-sync-delay", "0", "--replica-announce-port", "1"];
        let settings = [&announce[..], &["--appendfsync", "always"]].concat();
        let servers = [(); 2].map(|()| Server::start_with(&settings));
        let link = Proxy::start(servers[0].port()).await;
        let store = Self { servers: servers.map(Mutex::new), primary: AtomicUsize::new(0), link };
        store.follow().await;
        store
    }

    fn primary(&self) -> MutexGuard<'_, Server> {
        self.servers[self.primary.load(Ordering::SeqCst)].lock().unwrap()
    }

    fn replica(&self) -> MutexGuard<'_, Server> {
        self.servers[1 - self.primary.load(Ordering::SeqCst)].lock().unwrap()
    }

    /// The port of the server that the nodes are to use.
    pub fn port(&self) -> u16 {
        self.primary().port()
    }

    /// Makes the other server the replica, as soon as it has loaded its data.
    async fn follow(&self) {
        let port = self.link.port.to_string();
        let follows = || self.replica().command(&["REPLICAOF", "127.0.0.1", &port]).starts_with("OK");
        eventually("the other server becomes a replica", follows).await;
    }

    pub fn kill(&self) {
        self.primary().kill();
    }

    pub fn run(&self) {
        self.primary().run();
    }

    /// Starts the server again without its data.
    pub fn run_empty(&self) {
        let mut server = self.primary();
        server.empty();
        server.run();
    }

    /// Waits until the replica has what its primary has, on disk too: as long as it has not, it is not one to promote.
    pub async fn in_step(&self) {
        eventually("the replica follows its primary", || {
            let replica = self.replica();
            let says = replica.command(&["INFO", "replication"]) + &replica.command(&["INFO", "persistence"]);
            let needed = ["master_link_status:up", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
            needed.iter().all(|line| says.contains(line))
        })
        .await;
    }

    /// From here on the replica gets nothing of what is acknowledged. It keeps its connection, or loses it.
    pub fn hold_back(&self, cuts: bool) {
        self.link.set(if cuts { Mode::Cut } else { Mode::Stall });
    }

    /// Stops the primary: its process is killed, or it hangs and keeps its connections.
    pub fn stop(&self, hangs: bool) {
        let mut primary = self.primary();
        if hangs { primary.hang(true) } else { primary.kill() }
    }

    /// Has the replica take over. Nodes are to be led to its port.
    pub fn promote(&self) {
        self.replica().command(&["REPLICAOF", "NO", "ONE"]);
        self.primary.fetch_xor(1, Ordering::SeqCst);
        self.link.lead_to(self.port());
        self.link.set(Mode::Cut);
    }

    /// The former primary comes back. If it hung, it goes on as if it were the primary.
    pub fn come_back(&self, hung: bool) {
        let mut former = self.replica();
        if hung { former.hang(false) } else { former.run() }
    }

    /// Demotes the former primary, and waits until a node has noticed that the other one took over.
    ///
    /// A server that is promoted and then restarts before any node has asked it something looks as if it had only
    /// restarted.
    pub async fn demote(&self) {
        self.follow().await;
        self.link.set(Mode::Pass);
        eventually("a node notices the failover", || {
            let primary = self.primary();
            let lineage = primary.command(&["HGET", "{tower-sse}:hub", "g"]);
            let says = primary.command(&["INFO", "replication"]);
            // The process, and its replication.
            lineage.split(' ').next_back().is_none_or(|id| says.contains(&format!("master_replid:{id}")))
        })
        .await;
    }

    /// Has the server evict keys by a policy until that many percent of its data are gone, and then as new keys come, so
    /// many in each round. Returns how many it evicted.
    pub async fn evict(&self, policy: &str, percent: u64, keys: u64, rounds: u64) -> u64 {
        let before = self.number("stats", "evicted_keys");
        let evicted = || self.number("stats", "evicted_keys") - before;
        for round in 0..rounds + 100 {
            if evicted() == 0 {
                // What else takes memory, as a replica that is sent all data, may be gone since.
                let gone = self.number("memory", "used_memory_dataset") * percent / 100;
                self.set(policy, self.number("memory", "used_memory") - gone).await;
            } else if round > rounds {
                break;
            }
            self.primary().command(&["EVAL", FILL, "0", &round.to_string(), &keys.to_string()]);
            sleep(Duration::from_millis(100)).await;
        }
        self.set("noeviction", 0).await;
        self.primary().command(&["EVAL", REMOVE, "0"]);
        assert!(evicted() > 0, "{policy} evicted nothing");
        evicted()
    }

    /// Sets the policy, and the limit of its memory in bytes; 0 is none.
    pub async fn set(&self, policy: &str, limit: u64) {
        let limit = limit.to_string();
        let command = ["CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", &limit];
        eventually("Redis takes its settings", || self.primary().command(&command) == "OK").await;
    }

    /// A number that the server says of itself.
    fn number(&self, section: &str, name: &str) -> u64 {
        let says = self.primary().command(&["INFO", section]);
        let value = says.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {says:?}"))
    }
}

pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("not within a minute: {what}"));
}
