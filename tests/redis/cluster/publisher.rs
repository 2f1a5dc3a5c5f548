//! Publishes one event after the other, on any node, and repeats each until it is acknowledged.

use std::{sync::Arc, time::Duration};

use crate::{
    Cluster,
    check::{Passed, Publish},
    common::Random,
    http::post,
    reader::client_of,
};

pub async fn publish(cluster: Arc<Cluster>, number: usize) {
    let mut random = cluster.settings.random(1_000 + number as u64);
    let mut n = 0;
    while !cluster.is_over() {
        let channel = random.below(cluster.settings.channels as u64) as usize;
        let client = (random.below(4) == 0).then(|| client_of(random.below(cluster.settings.readers as u64) as usize));
        let reader = random.below(cluster.settings.readers as u64) as usize;
        let except = (random.below(6) == 0).then(|| client_of(reader));
        if random.below(5) == 0 {
            pass(&cluster, &mut random, channel, client, except, format!("pass:{number}:{n}")).await;
        } else {
            send(&cluster, &mut random, channel, client, except, format!("{number}:{n}")).await;
        }
        n += 1;
        tokio::time::sleep(Duration::from_millis(random.below(10))).await;
    }
}

/// Publishes the last events, for which every reader waits.
pub async fn last_words(cluster: &Cluster) {
    let mut random = cluster.settings.random(77);
    for channel in 0..cluster.settings.channels {
        send(cluster, &mut random, channel, None, None, format!("last:{channel}")).await;
    }
}

/// The part of the query that says whom an event is for.
fn whom(client: Option<&String>, except: Option<&String>) -> String {
    let client = client.map(|client| format!("&client={client}")).unwrap_or_default();
    client + &except.map(|except| format!("&except={except}")).unwrap_or_default()
}

/// Passes an ephemeral event. It is not repeated: whether it gets anywhere is no promise.
async fn pass(
    cluster: &Cluster,
    random: &mut Random,
    channel: usize,
    client: Option<String>,
    except: Option<String>,
    text: String,
) {
    let uri = format!("/publish?channel=c{channel}&key={text}{}&ephemeral", whom(client.as_ref(), except.as_ref()));
    cluster.ledger.lock().unwrap().passed.insert(text.clone(), Passed { channel, client, except });
    let node = cluster.nodes.any(random);
    let _ = post(node.port(), &uri, text).await;
}

async fn send(
    cluster: &Cluster,
    random: &mut Random,
    channel: usize,
    client: Option<String>,
    except: Option<String>,
    text: String,
) {
    let whom = whom(client.as_ref(), except.as_ref());
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
                let publish = Publish { channel, client, except, text, id, number, tries };
                cluster.ledger.lock().unwrap().acknowledged.push(publish);
                return;
            }
            // It did not answer, or does not know whether the event was published.
            None | Some((503, _)) => tokio::time::sleep(Duration::from_millis(50 + random.below(100))).await,
            Some(other) => panic!("{other:?}"),
        }
    }
}
