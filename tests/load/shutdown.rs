//! SIGTERM with ten thousand open streams, while events are published.

use std::time::{Duration, Instant};

use tokio::{task::JoinSet, time::timeout};

use crate::{
    STUCK,
    process::Process,
    reader::{Reader, numbers, stalled},
};

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
#[ignore = "ten thousand sockets"]
async fn ten_thousand_streams_end_and_the_process_exits_in_time() {
    drains(10_000, 0).await;
}

#[tokio::test]
#[ignore = "ten thousand sockets"]
async fn readers_that_never_read_do_not_keep_the_process_alive() {
    drains(9_000, 100).await;
}

async fn drains(readers: usize, stalling: usize) {
    let mut server = Process::start(GRACE, 20_000);
    let mut peers = Vec::new();
    for _ in 0..stalling {
        peers.push(stalled(server.port, "/events/chat").await);
    }
    if stalling > 0 {
        server.tell("many chat 5000 1000");
    }
    let mut reading = JoinSet::new();
    let (opened, mut are_open) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..readers {
        let (port, opened) = (server.port, opened.clone());
        reading.spawn(async move {
            let mut reader = Reader::open(port, "/events/chat", "").await.unwrap();
            opened.send(()).unwrap();
            let mut last = None;
            while let Ok(event) = reader.next().await {
                assert_eq!(event.name, "");
                let (number, _) = numbers(&event.data);
                assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
                last = Some(number);
            }
            (last, reader.retry.unwrap())
        });
    }
    for _ in 0..readers {
        timeout(STUCK, are_open.recv()).await.expect("it opens").unwrap();
    }
    // Eight tasks publish while the server shuts down.
    for _ in 0..8 {
        server.tell("every other 1 100");
    }
    server.tell("every chat 50 100");
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.terminate();
    let start = Instant::now();
    let ended = tokio::task::spawn_blocking(move || {
        let (all, taken, refused) = server.farewell();
        (start.elapsed(), all, taken, refused)
    });
    let (mut lasts, mut retries) = (Vec::new(), Vec::new());
    while let Some(read) = timeout(STUCK, reading.join_next()).await.expect("its stream ends") {
        let (last, retry) = read.unwrap();
        lasts.push(last);
        retries.push(retry);
    }
    let (gone, all, taken, refused) = ended.await.unwrap();
    println!("{readers} streams and {stalling} that stall: gone after {gone:?}; all ended: {all}");
    println!("{taken} taken of what they read, {refused} refused of all; the last that a reader has: {:?}", lasts[0]);
    assert!(gone < GRACE + Duration::from_secs(1), "{gone:?}");
    assert_eq!(all, stalling == 0);
    assert!(refused > 0, "some publishes were too late, and failed");
    // Every accepted event was delivered to everybody: no reader is an event behind.
    let behind = lasts.iter().filter(|last| **last != Some(taken)).count();
    assert_eq!(behind, 0, "{behind} of {readers} readers lack the last accepted event, {taken}");
    // By default between one and five seconds, evenly distributed.
    let mut parts = [0usize; 8];
    for retry in &retries {
        assert!((1_000..=5_000).contains(retry), "{retry}");
        parts[usize::try_from((retry - 1_000) / 500).unwrap().min(7)] += 1;
    }
    println!("reconnects by half second, from one to five: {parts:?}");
    let even = readers / parts.len();
    assert!(parts.iter().all(|&part| part > even * 8 / 10 && part < even * 12 / 10), "{parts:?}");
}
