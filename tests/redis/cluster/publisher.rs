//! Publishes one event, or a few at once, after the other, on any node, and repeats them until they are acknowledged.

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
            n += 1;
        } else {
            let count = if random.below(5) == 0 { 2 + random.below(9) } else { 1 };
            let texts = (n..n + count).map(|n| format!("{number}:{n}")).collect();
            send(&cluster, &mut random, channel, client, except, texts).await;
            n += count;
        }
        tokio::time::sleep(Duration::from_millis(random.below(10))).await;
    }
}

/// Publishes the last events, for which every reader waits.
pub async fn last_words(cluster: &Cluster) {
    let mut random = cluster.settings.random(77);
    for channel in 0..cluster.settings.channels {
        send(cluster, &mut random, channel, None, None, vec![format!("last:{channel}")]).await;
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
    let uri = format!("/publish?channel=c{channel}{}&ephemeral", whom(client.as_ref(), except.as_ref()));
    cluster.ledger.lock().unwrap().passed.insert(text.clone(), Passed { channel, client, except });
    let node = cluster.nodes.any(random);
    let _ = post(node.port(), &uri, text).await;
}

/// Publishes events in one step.
async fn send(
    cluster: &Cluster,
    random: &mut Random,
    channel: usize,
    client: Option<String>,
    except: Option<String>,
    texts: Vec<String>,
) {
    let whom = whom(client.as_ref(), except.as_ref());
    let uri = format!("/publish?channel=c{channel}{whom}");
    let number = {
        let mut ledger = cluster.ledger.lock().unwrap();
        ledger.begun += texts.len() as u64;
        ledger.begun
    };
    let (ids, tries) = repeat(cluster, random, &uri, &texts.join("\n")).await.expect("no condition");
    let ids: Vec<_> = ids.split(' ').map(str::to_string).collect();
    let mut ledger = cluster.ledger.lock().unwrap();
    ledger.batches += usize::from(ids.len() > 1);
    // What is known of a part of the first try may be evicted.
    let may_be_torn = ledger.evicts && tries > 1;
    ledger.torn += usize::from(!may_be_torn && !follow_one_another(&ids));
    for (text, id) in texts.into_iter().zip(ids) {
        ledger.acknowledged.push(Publish {
            channel,
            client: client.clone(),
            except: except.clone(),
            text,
            id,
            number,
            tries,
        });
    }
}

fn follow_one_another(ids: &[String]) -> bool {
    let split =
        |id: &str| id.split_once('-').map(|(epoch, offset)| (epoch.to_string(), offset.parse::<u64>().unwrap()));
    ids.windows(2).all(|two| split(&two[0]).map(|(epoch, offset)| (epoch, offset + 1)) == split(&two[1]))
}

/// Repeats a publish on any node until there is an answer: what it was, and at which try. The error is why it was refused.
pub async fn repeat(cluster: &Cluster, random: &mut Random, uri: &str, text: &str) -> Result<(String, usize), String> {
    let mut tries = 0;
    loop {
        tries += 1;
        let node = cluster.nodes.any(random);
        match post(node.port(), uri, text.to_string()).await {
            Some((200, answer)) => return Ok((answer, tries)),
            Some((409, why)) => return Err(why),
            // It did not answer, or does not know whether the event was published.
            None | Some((503, _)) => tokio::time::sleep(Duration::from_millis(50 + random.below(100))).await,
            Some(other) => panic!("{other:?}"),
        }
    }
}
