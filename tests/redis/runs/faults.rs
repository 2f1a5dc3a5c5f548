//! Kills and stops nodes, cuts them off, does the same to Redis, and repairs everything.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{Cluster, LEASE, TELLING, common::Random, ledger::Kind, proxy::Mode, starter};

/// Breaks one node after the other. These come first, so that a short run has each of them.
pub async fn of_nodes(cluster: Arc<Cluster>, mut random: Random) {
    let mut due = vec![Fault::Kill, Fault::Drain, Fault::Stop(LEASE + TELLING), Fault::CutOff(Mode::Cut)];
    due.rotate_left(random.below(4) as usize);
    while !cluster.is_over() || !due.is_empty() {
        let (least, more) = if due.is_empty() { (600, 2_500) } else { (1_200, 600) };
        sleep(Duration::from_millis(least + random.below(more))).await;
        let fault = due.pop().unwrap_or_else(|| match random.below(9) {
            0..=1 => Fault::Kill,
            2..=3 => Fault::Stop(LEASE + TELLING),
            4 => Fault::Stop(Duration::ZERO),
            5 => Fault::CutOff(Mode::Cut),
            6..=7 => Fault::Drain,
            _ => Fault::CutOff(Mode::Stall),
        });
        fault.make(&cluster, &mut random).await;
    }
}

enum Fault {
    Kill,
    /// The node hands its runs over, and another process takes its place.
    Drain,
    /// The fault lasts at least this long. If that is longer than the lease, the node loses its runs.
    Stop(Duration),
    CutOff(Mode),
}

impl Fault {
    async fn make(self, cluster: &Cluster, random: &mut Random) {
        let node = match random.below(3) {
            0 => cluster.any(random),
            // The node with the most runs.
            _ => cluster
                .nodes
                .iter()
                .max_by_key(|node| cluster.ledger().active(node.process()).len())
                .expect("there are some"),
        };
        match self {
            Self::Kill => {
                let fault = cluster.ledger().begin(Kind::Kill, node.process());
                node.kill();
                sleep(Duration::from_millis(random.below(3_000))).await;
                node.start();
                cluster.ledger().end(fault);
            }
            Self::Drain => {
                let ids = cluster.ledger().active(node.process());
                let fault = cluster.ledger().begin(Kind::Drain, node.process());
                let restarts = random.below(3_000);
                let restart = async {
                    node.drain().await;
                    cluster.ledger().end(fault);
                    sleep(Duration::from_millis(restarts)).await;
                    node.start();
                };
                tokio::join!(restart, starter::take_over(cluster, random, node, ids));
            }
            Self::Stop(time) => {
                let fault = cluster.ledger().begin(Kind::Stop, node.process());
                node.stop(true);
                sleep(time + Duration::from_millis(random.below(1_500))).await;
                node.stop(false);
                cluster.ledger().end(fault);
            }
            Self::CutOff(mode) => {
                let fault = cluster.ledger().begin(Kind::CutOff, node.process());
                node.proxy.set(mode);
                sleep(Duration::from_millis(random.below(5_000))).await;
                node.proxy.set(Mode::Pass);
                cluster.ledger().end(fault);
            }
        }
    }
}

/// Kills Redis now and then, and starts it again with all that it had acknowledged, or lets it hang.
pub async fn of_redis(cluster: Arc<Cluster>, mut random: Random) {
    let mut begun = false;
    while !cluster.is_over() || !begun {
        // The faults are frequent, but far enough apart for runs to be lost in between.
        let pause = 1_000 + random.below(if begun { 25_000 } else { 8_000 });
        for _ in 0..pause / 100 {
            if begun && cluster.is_over() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        begun = true;
        let fault = cluster.ledger().begin(Kind::Redis, (0, 0));
        let hangs = random.below(3) == 0;
        match hangs {
            true => cluster.redis.lock().unwrap().hang(true),
            false => cluster.redis.lock().unwrap().kill(),
        }
        sleep(Duration::from_millis(random.below(2_500))).await;
        match hangs {
            true => cluster.redis.lock().unwrap().hang(false),
            false => cluster.redis.lock().unwrap().run(),
        }
        cluster.ledger().end(fault);
    }
}
