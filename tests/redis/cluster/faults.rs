//! Injects faults, and repairs everything in the end.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{Cluster, check::Injected, common::Random, http::post, node::Node, proxy::Mode, store::POLICIES};

pub async fn make(cluster: Arc<Cluster>) {
    if !cluster.settings.faults {
        return;
    }
    let mut random = cluster.settings.random(5);
    // These are made first, so that a short run has each of them.
    let mut due = first(&cluster, &mut random);
    while !cluster.is_over() || !due.is_empty() {
        let pause = if due.is_empty() { 2_000 } else { 200 };
        sleep(Duration::from_millis(pause / 7 + random.below(pause))).await;
        let fault = due.pop().unwrap_or_else(|| any(&cluster, &mut random));
        let begun = || cluster.ledger.lock().unwrap().begun;
        let before = begun();
        fault.make(&cluster, &mut random).await;
        let injected = Injected { name: fault.name(), begun: (before, begun()) };
        cluster.ledger.lock().unwrap().faults.push(injected);
    }
}

#[derive(Clone, Copy)]
enum Fault {
    Cut,
    Stall,
    Delay,
    Abandon,
    KillNode,
    KillRedis,
    Empty,
    FailOver,
    /// Nodes refuse a server that could evict keys by this policy, or, if they are to insist on it, it evicts some.
    Evict(&'static str),
}

fn first(cluster: &Cluster, random: &mut Random) -> Vec<Fault> {
    let mut due = vec![Fault::FailOver];
    let policies = POLICIES.map(Fault::Evict);
    match cluster.settings.evicts {
        true => due.extend(policies),
        false => due.push(policies[random.below(7) as usize]),
    }
    let by = random.below(due.len() as u64) as usize;
    due.rotate_left(by);
    due
}

fn any(cluster: &Cluster, random: &mut Random) -> Fault {
    match random.below(if cluster.settings.evicts { 31 } else { 27 }) {
        0..=4 => Fault::Cut,
        5..=8 => Fault::Stall,
        9..=11 => Fault::Delay,
        12..=15 => Fault::KillNode,
        16..=18 => Fault::KillRedis,
        19..=20 => Fault::Abandon,
        21 => Fault::Empty,
        22..=25 => Fault::FailOver,
        _ => Fault::Evict(POLICIES[random.below(7) as usize]),
    }
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Stall => "stall",
            Self::Delay => "delay",
            Self::Abandon => "abandon",
            Self::KillNode => "kill a node",
            Self::KillRedis => "kill Redis",
            Self::Empty => "restart Redis empty",
            Self::FailOver => "fail over",
            Self::Evict(policy) => policy,
        }
    }

    async fn make(self, cluster: &Cluster, random: &mut Random) {
        let node = cluster.nodes.any(random);
        let mut some_time = async |below| sleep(Duration::from_millis(random.below(below))).await;
        match self {
            Self::Cut => disturb(node, Mode::Cut, some_time(3_000)).await,
            Self::Stall => disturb(node, Mode::Stall, some_time(8_000)).await,
            Self::Abandon => disturb(node, Mode::Abandon, some_time(1_000)).await,
            Self::Delay => {
                let by = Duration::from_millis(20 + random.below(300));
                disturb(node, Mode::Delay(by), sleep(Duration::from_millis(random.below(5_000)))).await;
            }
            Self::KillNode => {
                node.kill();
                some_time(2_000).await;
                node.start();
            }
            Self::KillRedis => {
                cluster.store.kill();
                some_time(3_000).await;
                cluster.store.run();
            }
            Self::Empty => {
                cluster.store.kill();
                some_time(3_000).await;
                cluster.store.run_empty();
                cluster.ledger.lock().unwrap().losses += 1;
            }
            Self::FailOver => fail_over(cluster, random).await,
            Self::Evict(policy) if cluster.settings.evicts => {
                // A few keys, or next to all.
                let (percent, keys) = [(5, 20), (20, 50), (90, 1_000)][random.below(3) as usize];
                let evicted = cluster.store.evict(policy, percent, keys, random.below(8)).await;
                cluster.ledger.lock().unwrap().evicted += evicted;
            }
            Self::Evict(policy) => refuse(cluster, policy).await,
        }
    }
}

async fn disturb(node: &Node, mode: Mode, time: impl Future<Output = ()>) {
    node.proxy.set(mode);
    time.await;
    node.proxy.set(Mode::Pass);
}

/// The replica takes over without what was acknowledged last, and the former primary comes back as its replica.
async fn fail_over(cluster: &Cluster, random: &mut Random) {
    let store = &cluster.store;
    store.in_step().await;
    let (hangs, cuts) = (random.below(3) == 0, random.below(2) == 0);
    let mut some_time = async |below| sleep(Duration::from_millis(random.below(below))).await;
    store.hold_back(cuts);
    some_time(1_500).await;
    store.stop(hangs);
    some_time(500).await;
    store.promote();
    cluster.ledger.lock().unwrap().losses += 1;
    let port = store.port();
    cluster.nodes.all().iter().for_each(|node| node.proxy.lead_to(port));
    some_time(1_500).await;
    store.come_back(hangs);
    // For a while there are two that take writes, and nodes that are connected to either.
    some_time(500).await;
    store.demote().await;
    // What a node still has of the former one is cut off in the end.
    let set = |mode| cluster.nodes.all().iter().for_each(|node| node.proxy.set(mode));
    set(Mode::Cut);
    sleep(Duration::from_millis(50)).await;
    set(Mode::Pass);
}

/// Every node refuses a server that has come to evict keys, and says by which policy it would.
async fn refuse(cluster: &Cluster, policy: &str) {
    cluster.store.set(policy, 1 << 40).await;
    let begun = Instant::now();
    for node in cluster.nodes.all() {
        loop {
            let answer = post(node.port(), "/publish?channel=probe", "probe".into()).await;
            if answer.is_some_and(|(status, text)| status == 503 && text.contains(policy)) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "a node uses a server that evicts keys");
            sleep(Duration::from_millis(100)).await;
        }
    }
    cluster.store.set("noeviction", 0).await;
}
