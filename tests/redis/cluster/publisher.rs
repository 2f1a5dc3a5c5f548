//! Publishes one event after the other, on any node, and repeats each until it is acknowledged.

use std::{sync::Arc, time::Duration};

use crate::{Cluster, check::Publish, common::Random, http::post, reader::client_of};

pub async fn publish(cluster: Arc<Cluster>, number: usize) {
    let mut random = cluster.settings.random(1_000 + number as u64);
    let mut n = 0;
    while !cluster.is_over() {
        let channel = random.below(cluster.settings.channels as u64) as usize;
        let client = (random.below(4) == 0).then(|| client_of(random.below(cluster.settings.readers as u64) as usize));
        send(&cluster, &mut random, channel, client, format!("{number}:{n}")).await;
        n += 1;
        tokio::time::sleep(Duration::from_millis(random.below(10))).await;
    }
}

/// Publishes the last events, for which every reader waits.
pub async fn last_words(cluster: &Cluster) {
    let mut random = cluster.settings.random(77);
    for channel in 0..cluster.settings.channels {
        send(cluster, &mut random, channel, None, format!("last:{channel}")).await;
    }
}

async fn send(cluster: &Cluster, random: &mut Random, channel: usize, client: Option<String>, text: String) {
    let whom = client.as_ref().map_or(String::new(), |client| format!("&client={client}"));
    let uri = format!("/publish?channel=c{channel}&key={text}{whom}");
    let number = {
        let mut ledger = cluster.ledger.lock().unwrap();
        ledger.begun += 1;
        ledger.begun
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let node = cluster.nodes.any(random);
        match post(node.port(), &uri, text.clone()).await {
            Some((200, id)) => {
                let publish = Publish { channel, client, text, id, number, tries };
                cluster.ledger.lock().unwrap().acknowledged.push(publish);
                return;
            }
            // It did not answer, or does not know whether the event was published.
            None | Some((503, _)) => tokio::time::sleep(Duration::from_millis(50 + random.below(100))).await,
            Some(other) => panic!("{other:?}"),
        }
    }
}
