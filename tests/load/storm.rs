//! Thousands at once: a burst of connects, and a storm of reconnects that each replay a thousand events.

use std::time::{Duration, Instant};

use tokio::{task::JoinSet, time::timeout};

use crate::{
    STUCK,
    process::Process,
    quantile,
    reader::{Reader, numbers},
};

/// The most that an open connection costs, including hyper's part.
const CONNECTION: u64 = 40 << 10;

async fn open(port: u16, count: usize, ids: Option<&[String]>) -> (Vec<Reader>, Vec<u64>) {
    let mut opening = JoinSet::new();
    let start = Instant::now();
    for n in 0..count {
        let id = ids.map_or(String::new(), |ids| ids[n].clone());
        opening.spawn(async move {
            let reader = Reader::open(port, "/events/chat", &id).await.unwrap();
            (reader, u64::try_from(start.elapsed().as_micros()).unwrap())
        });
    }
    let (mut readers, mut times) = (Vec::new(), Vec::new());
    while let Some(opened) = timeout(STUCK, opening.join_next()).await.expect("it opens") {
        let (reader, time) = opened.unwrap();
        readers.push(reader);
        times.push(time);
    }
    (readers, times)
}

#[tokio::test]
#[ignore = "ten thousand sockets"]
async fn ten_thousand_connects_in_a_burst_are_all_served() {
    let mut server = Process::start(Duration::from_secs(5), 20_000);
    let before = server.stats();
    let (readers, mut times) = open(server.port, 10_000, None).await;
    let after = server.stats();
    assert_eq!(after.connections, 10_000);
    let (median, last) = (quantile(&mut times, 0.5), quantile(&mut times, 1.0));
    println!("10,000 connects: half are open after {median} µs, all after {last} µs; {before:?}, {after:?}");
    let each = (after.allocated - before.allocated) / 10_000;
    println!("each: {each} bytes");
    assert!(each < CONNECTION, "{each} bytes for each");
    server.tell("send chat - hello");
    for mut reader in readers {
        assert_eq!(timeout(STUCK, reader.next()).await.expect("it comes").unwrap().data, "hello");
    }
}

#[tokio::test]
#[ignore = "five million events"]
async fn five_thousand_simultaneous_resumes_get_a_thousand_events_each() {
    const READERS: usize = 5_000;
    const OWED: u64 = 1_000;
    let mut server = Process::start(Duration::from_secs(5), 20_000);
    let (readers, _) = open(server.port, READERS, None).await;
    server.tell("many chat 1 100");
    let mut ids = Vec::new();
    for mut reader in readers {
        timeout(STUCK, reader.next()).await.expect("it comes").unwrap();
        ids.push(reader.id);
    }
    server.tell(&format!("many chat {OWED} 100"));
    while server.stats().connections > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = server.stats();
    let start = Instant::now();
    let (readers, _) = open(server.port, READERS, Some(&ids)).await;
    let mut reading = JoinSet::new();
    for mut reader in readers {
        reading.spawn(async move {
            for wanted in 2..OWED + 2 {
                let event = reader.next().await.unwrap();
                assert_eq!((event.name.as_str(), numbers(&event.data).0), ("", wanted));
            }
            reader
        });
    }
    let mut most = before;
    let mut all = Vec::new();
    while let Some(read) = timeout(STUCK, reading.join_next()).await.expect("it reads on") {
        all.push(read.unwrap());
        if all.len() % 500 == 0 {
            let stats = server.stats();
            if stats.allocated > most.allocated {
                most = stats;
            }
        }
    }
    println!("{READERS} readers got {OWED} each in {:?}; {before:?}, at most {most:?}", start.elapsed());
    let each = (most.allocated - before.allocated) / READERS as u64;
    assert!(
        each < CONNECTION,
        "{each} bytes for each: more than its connection, as if it had what it is owed for itself"
    );
    // All of them are live again, without anything in between.
    server.tell("send chat - live");
    for mut reader in all {
        assert_eq!(timeout(STUCK, reader.next()).await.expect("it comes").unwrap().data, "live");
    }
}
