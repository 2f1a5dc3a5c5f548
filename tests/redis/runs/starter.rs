//! Clients that start runs and read them, and others that stop them.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::{
    Cluster,
    common::Random,
    http::{post, request},
    ledger::Run,
    node::Node,
    reader::{Reader, Seen},
};

/// The number of threads, two of each policy.
const THREADS: u64 = 6;
/// A producer that goes on until it is stopped.
const ENDLESS: u64 = 100_000;
/// A node that does not answer for this long is stopped.
const PATIENCE: Duration = Duration::from_secs(3);
/// A start may wait for the end of another run.
const STARTING: Duration = Duration::from_secs(6);

/// Starts one run after the other, and reads each of them for as long as it likes.
pub async fn start(cluster: Arc<Cluster>, mut random: Random, number: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    for n in 0.. {
        if cluster.is_over() {
            break;
        }
        let id = format!("{number}-{n}");
        let uri = plan(&cluster, &mut random, &id);
        // Sometimes the request is repeated, on any node and at once.
        let copies = if random.below(4) == 0 { 2 + random.below(2) } else { 1 };
        let ports: Vec<_> = (0..copies).map(|_| cluster.any(&mut random).number).collect();
        let starts = ports.iter().map(|node| {
            let asked = request(cluster.nodes[*node].port(), "POST", &uri, None, String::new());
            timeout(STARTING, asked)
        });
        let answers = join_all(starts).await.into_iter().map(|answer| answer.ok().flatten());
        let mut first = None;
        for (node, answer) in ports.into_iter().zip(answers) {
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            *cluster.ledger().answers.entry(status).or_default() += 1;
            if status == 200 {
                cluster.ledger().runs.get_mut(&id).unwrap().started += 1;
                first = answer.map(|answer| (node, answer));
            }
        }
        if let Some((node, answer)) = first {
            let mut reader = Reader::new(&cluster, &id);
            reader.take_all(&mut random, node, answer).await;
            seen.push(reader.go_on(&mut random).await);
        }
        sleep(Duration::from_millis(random.below(150))).await;
    }
    seen
}

/// Plans a run, and returns the request for it.
fn plan(cluster: &Cluster, random: &mut Random, id: &str) -> String {
    let thread = (random.below(2) == 0).then(|| random.below(THREADS));
    let conflict = ["reject", "interrupt", "enqueue"][thread.unwrap_or_default() as usize % 3];
    let (end, parts) = match random.below(10) {
        0 => ("fails", 1 + random.below(20)),
        1 => ("panics", 1 + random.below(20)),
        2..=3 => ("done", ENDLESS),
        _ => ("done", 1 + random.below(150)),
    };
    let (batch, pause) = (1 + random.below(4), random.below(80) + if parts == ENDLESS { 40 } else { 0 });
    let may_stop = thread.is_some() && conflict == "interrupt";
    let mut ledger = cluster.ledger();
    ledger.ids.push(id.to_owned());
    ledger.runs.insert(
        id.to_owned(),
        Run { thread, parts, end, may_stop, started: 0, taken: 0, unclear: 0, attempts: Vec::new() },
    );
    let thread = thread.map(|thread| format!("&thread={thread}")).unwrap_or_default();
    format!("/start?id={id}&parts={parts}&batch={batch}&pause={pause}&end={end}&conflict={conflict}{thread}")
}

/// Stops runs, on any node.
pub async fn stop(cluster: Arc<Cluster>, mut random: Random) {
    while !cluster.is_over() {
        sleep(Duration::from_millis(random.below(400))).await;
        let id = {
            let ledger = cluster.ledger();
            let active = |id: &&String| !ledger.is_over(id);
            let recent: Vec<_> = ledger.ids.iter().rev().take(300).filter(active).cloned().collect();
            match recent.len() {
                0 => continue,
                count => recent[random.below(count as u64) as usize].clone(),
            }
        };
        stop_on(&cluster, cluster.any(&mut random), &id).await;
    }
}

async fn stop_on(cluster: &Cluster, node: &Node, id: &str) {
    {
        let mut ledger = cluster.ledger();
        ledger.stops += 1;
        ledger.runs.get_mut(id).unwrap().may_stop = true;
    }
    let _ = timeout(PATIENCE, post(node.port(), &format!("/stop?id={id}"), String::new())).await;
}

/// Stops all runs that have not ended.
pub async fn stop_all(cluster: &Cluster) {
    let ids: Vec<_> = {
        let ledger = cluster.ledger();
        ledger.ids.iter().filter(|id| !ledger.is_over(id)).cloned().collect()
    };
    for id in ids {
        stop_on(cluster, &cluster.nodes[0], &id).await;
    }
}

/// Takes over most of the runs that a node hands over, on one or more of the other nodes at once.
pub async fn take_over(cluster: &Cluster, random: &mut Random, from: &Node, ids: Vec<String>) {
    let others: Vec<_> = cluster.nodes.iter().filter(|node| node.number != from.number).collect();
    let mut tries = Vec::new();
    for id in ids {
        let (delay, first, several) = (random.below(1_500), random.below(2) as usize, random.below(2) == 0);
        if random.below(4) == 0 {
            continue;
        }
        let parts = cluster.ledger().runs[&id].parts;
        let (batch, pause) = (1 + random.below(4), 20 + random.below(60));
        let uri = format!("/take_over?id={id}&parts={parts}&batch={batch}&pause={pause}&end=done");
        for node in [others[first], others[1 - first], others[first]].into_iter().take(if several { 3 } else { 1 }) {
            let (id, uri) = (id.clone(), uri.clone());
            tries.push(async move {
                sleep(Duration::from_millis(delay)).await;
                let answer = timeout(STARTING, post(node.port(), &uri, String::new())).await.ok().flatten();
                let mut ledger = cluster.ledger();
                let status = answer.map_or(0, |(status, _)| status);
                *ledger.take_overs.entry(status).or_default() += 1;
                let run = ledger.runs.get_mut(&id).unwrap();
                match status {
                    200 => run.taken += 1,
                    409 => {}
                    _ => run.unclear += 1,
                }
            });
        }
    }
    join_all(tries).await;
}

/// Asks a node until it answers.
pub async fn ask(node: &Node, uri: &str) -> String {
    for _ in 0..100 {
        match timeout(PATIENCE, post(node.port(), uri, String::new())).await {
            Ok(Some((200, answer))) => return answer,
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
    "nothing".to_owned()
}
