//! Injects faults, and repairs everything in the end.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{Cluster, proxy::Mode};

pub async fn make(cluster: Arc<Cluster>) {
    if !cluster.settings.faults {
        return;
    }
    let mut random = cluster.settings.random(5);
    while !cluster.is_over() {
        sleep(Duration::from_millis(300 + random.below(2_000))).await;
        let node = cluster.nodes.any(&mut random);
        let what = match random.below(22) {
            0..=4 => {
                node.proxy.set(Mode::Cut);
                sleep(Duration::from_millis(random.below(3_000))).await;
                node.proxy.set(Mode::Pass);
                "cut"
            }
            5..=8 => {
                node.proxy.set(Mode::Stall);
                sleep(Duration::from_millis(random.below(8_000))).await;
                node.proxy.set(Mode::Pass);
                "stall"
            }
            9..=11 => {
                node.proxy.set(Mode::Delay(Duration::from_millis(20 + random.below(300))));
                sleep(Duration::from_millis(random.below(5_000))).await;
                node.proxy.set(Mode::Pass);
                "delay"
            }
            12..=15 => {
                node.kill();
                sleep(Duration::from_millis(random.below(2_000))).await;
                node.start();
                "kill a node"
            }
            16..=18 => {
                cluster.server.lock().unwrap().kill();
                sleep(Duration::from_millis(random.below(3_000))).await;
                cluster.server.lock().unwrap().run();
                "kill Redis"
            }
            19..=20 => {
                node.proxy.set(Mode::Abandon);
                sleep(Duration::from_millis(random.below(1_000))).await;
                node.proxy.set(Mode::Pass);
                "abandon"
            }
            _ => {
                cluster.server.lock().unwrap().kill();
                sleep(Duration::from_millis(random.below(3_000))).await;
                let mut server = cluster.server.lock().unwrap();
                server.empty();
                server.run();
                drop(server);
                cluster.ledger.lock().unwrap().losses += 1;
                "restart Redis empty"
            }
        };
        *cluster.ledger.lock().unwrap().faults.entry(what).or_default() += 1;
    }
}
