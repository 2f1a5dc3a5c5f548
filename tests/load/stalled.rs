//! A thousand readers that never read, beside a hundred that do.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    now,
    process::Process,
    quantile,
    reader::{Reader, numbers, stalled},
};

const GOOD: usize = 100;
const STALLED: usize = 1_000;
/// What hyper buffers for a connection by default.
const HYPERS: usize = 8_192 + 4_096 * 100;
/// The most that the body gives hyper at once.
const CHUNK: usize = 64 << 10;
const EVENTS: usize = 1_000;

#[test]
#[ignore = "a minute, and a machine of its own"]
fn a_thousand_readers_that_never_read_cost_what_hyper_buffers() {
    costs_no_more_than(0, HYPERS + CHUNK);
}

/// With the limit of the example `hardened`.
#[test]
#[ignore = "a minute, and a machine of its own"]
fn a_thousand_readers_that_never_read_cost_what_hyper_is_told_to_buffer() {
    costs_no_more_than(16 << 10, (16 << 10) + CHUNK);
}

/// hyper buffers a part of the history, which readers that stop at the same time share. These stop one after the other,
/// so that each keeps a part that was evicted long ago for the others.
#[tokio::test]
#[ignore = "a minute, and a machine of its own"]
async fn readers_that_stop_one_after_the_other_cost_what_hyper_buffers() {
    const APART: usize = 300;
    let mut server = Process::with_buffer(Duration::from_secs(5), 1_000, 0);
    server.tell("many chat 2000 1000");
    let before = server.stats();
    let mut peers = Vec::new();
    for _ in 0..APART {
        peers.push(stalled(server.port, "/events/chat").await);
        for _ in 0..20 {
            server.tell("many chat 100 1000");
        }
    }
    let after = server.stats();
    let each = (after.allocated - before.allocated) / u64::try_from(APART).unwrap();
    println!("{APART} that stop one after the other: {each} bytes each, their connections included; {after:?}");
    assert_eq!(after.connections, APART);
    assert!(each < u64::try_from(HYPERS + CHUNK + (40 << 10)).unwrap(), "more than hyper buffers");
}

/// Asserts what a reader that never reads costs beyond its connection: what hyper takes from the body while it can't
/// write.
fn costs_no_more_than(buffer: usize, bound: usize) {
    let bound = u64::try_from(bound).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut server = Process::with_buffer(Duration::from_secs(5), 20_000, buffer);
        let good = open_good(&server).await;
        // The history is held with or without readers.
        let mut good = flood(&mut server, good, 20).await;
        let (alone, again);
        (good, alone) = latency(&mut server, good).await;
        let before = server.stats();

        let mut peers = Vec::new();
        for _ in 0..STALLED {
            peers.push(stalled(server.port, "/events/chat").await);
        }
        let open = server.stats();
        // More than their sockets buffer, and more than the history holds.
        good = flood(&mut server, good, 25).await;
        let (good, beside) = latency(&mut server, good).await;
        let after = server.stats();
        assert_eq!(after.connections, GOOD + STALLED);
        drop(peers);
        (_, again) = latency(&mut server, good).await;

        let each = |later: u64, earlier: u64| later.saturating_sub(earlier) / STALLED as u64;
        println!("{STALLED} readers that never read beside {GOOD}: {before:?}, open {open:?}, stalled {after:?}");
        println!(
            "each: {} bytes to open, {} more stalled",
            each(open.allocated, before.allocated),
            each(after.allocated, open.allocated)
        );
        println!("median latency, 95th percentile: {alone:?} alone, {beside:?} beside them, {again:?} after, in ns");
        assert!(each(after.allocated, open.allocated) < bound, "more than the bound of {bound} bytes each");
        assert!(after.resident - before.resident < STALLED as u64 * (bound + (40 << 10)), "more than is allocated");
    });
}

/// The crate's own server closes stalled readers. The good readers notice nothing, and no descriptor or task is left.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute, and a machine of its own"]
async fn ten_thousand_readers_that_stall_are_closed_in_time() {
    const MANY: usize = 10_000;
    const STALL: Duration = Duration::from_secs(10);
    // This is more than their sockets buffer.
    const FILL: usize = 100;
    let mut server = Process::with_stall(Duration::from_secs(5), 1_000, STALL);
    let good = open_good(&server).await;
    let (good, alone) = latency(&mut server, good).await;
    let before = server.stats();
    let peers = open_stalled(&server, MANY).await;
    let open = server.stats();
    assert_eq!(open.connections, GOOD + MANY);

    let began = now();
    server.tell(&format!("many chat {FILL} 1000"));
    let (good, _) = read(good, FILL).await;
    let filled = settle(&mut server).await;
    let full = server.stats();
    server.tell("every chat 10 1000");
    let reading = Watching::of(good);
    // The next event wakes a stalled reader once, and so does its socket when it takes the rest.
    tokio::time::sleep(STALL / 5).await;
    let (from, from_time) = (server.stats().polls, now());
    tokio::time::sleep(STALL / 2).await;
    let (to, to_time) = (server.stats().polls, now());
    let (first, last) = closings(&mut server, MANY).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.tell("quiet");
    let (good, delays) = reading.end().await;
    let after = server.stats();
    let (_, again) = latency(&mut server, good).await;
    drop(peers);

    let millis = |time: u64| time.saturating_sub(began) / 1_000_000;
    println!(
        "{MANY} stalled readers: full after {} ms, closed from {} to {} ms",
        millis(filled),
        millis(first),
        millis(last)
    );
    println!("{before:?}, open {open:?}, full {full:?}, after {after:?}");
    let (beside, closing) = (of_delays(&delays, 0..first), of_delays(&delays, first..last));
    println!("latency of good readers (median, 95th percentile, longest, in ns): {alone:?} alone");
    println!("{beside:?} beside stalled ones, {closing:?} while those are closed, {again:?} after");
    let ratio = |it: Latency| it.0 as f64 / alone.0.max(again.0) as f64;
    println!("ratios of medians: {:.2} beside, {:.2} while they are closed", ratio(beside), ratio(closing));
    let events = delays.iter().filter(|delay| (from_time..to_time).contains(&delay.sent)).count() / GOOD;
    let polls = usize::try_from(to - from).unwrap() / events.max(1);
    println!("{polls} polls of tasks for each event, with {GOOD} good readers");

    assert!(polls < 2 * GOOD, "a stalled reader costs nothing while its socket is full");
    let limit = u64::try_from((STALL + Duration::from_secs(2)).as_millis()).unwrap();
    assert!(millis(last) - millis(filled) < limit, "they are gone in time");
    assert_eq!((after.files, after.tasks), (before.files, before.tasks), "descriptors or tasks are left");
    assert!(ratio(beside) < 1.5, "stalled readers delay good ones");
}

/// Returns the latency of the events that were sent in that time.
fn of_delays(delays: &[Delay], sent: std::ops::Range<u64>) -> Latency {
    let mut waits: Vec<_> = delays.iter().filter(|delay| sent.contains(&delay.sent)).map(|delay| delay.wait).collect();
    summary(&mut waits)
}

/// Opens readers that never read, no more of them at once than the system keeps waiting.
async fn open_stalled(server: &Process, many: usize) -> Vec<tokio::net::TcpStream> {
    const AT_ONCE: usize = 500;
    let (port, mut peers) = (server.port, Vec::new());
    for _ in 0..many / AT_ONCE {
        let mut opening = JoinSet::new();
        (0..AT_ONCE).for_each(|_| _ = opening.spawn(stalled(port, "/events/chat")));
        peers.extend(opening.join_all().await);
    }
    peers
}

/// Waits until the server has had nothing to do for a while. Returns when that began.
async fn settle(server: &mut Process) -> u64 {
    let (mut last, mut since) = (server.processor_time(), now());
    // The system fills the last bytes of a socket's buffers only after some tenths of a second.
    while now() < since + 500_000_000 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let time = server.processor_time();
        // The system counts in hundredths of a second.
        if time > last + Duration::from_millis(10) {
            (last, since) = (time, now());
        }
    }
    since
}

/// Returns when the first and the last of `many` readers were closed.
async fn closings(server: &mut Process, many: usize) -> (u64, u64) {
    let mut first = None;
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let connections = server.stats().connections;
        if connections < GOOD + many {
            first.get_or_insert_with(now);
        }
        if let Some(first) = first.filter(|_| connections == GOOD) {
            return (first, now());
        }
    }
}

/// When an event was sent, and how long it took to arrive, in nanoseconds.
#[derive(Clone, Copy)]
struct Delay {
    sent: u64,
    wait: u64,
}

async fn open_good(server: &Process) -> Vec<Reader> {
    let mut good = Vec::new();
    for _ in 0..GOOD {
        good.push(Reader::open(server.port, "/events/chat", "").await.unwrap());
    }
    good
}

/// Publishes that many thousand events of a thousand bytes, no faster than the good readers read them.
async fn flood(server: &mut Process, mut good: Vec<Reader>, thousands: usize) -> Vec<Reader> {
    for _ in 0..thousands {
        server.tell("many chat 1000 1000");
        good = read(good, 1_000).await.0;
    }
    good
}

/// Readers that read in tasks of their own.
struct Watching {
    over: tokio::sync::watch::Sender<bool>,
    readers: JoinSet<(Reader, Vec<Delay>)>,
}

impl Watching {
    fn of(good: Vec<Reader>) -> Self {
        let (over, is_over) = tokio::sync::watch::channel(false);
        let mut readers = JoinSet::new();
        for mut reader in good {
            let mut is_over = is_over.clone();
            readers.spawn(async move {
                let (mut last, mut delays) = (None, Vec::new());
                loop {
                    tokio::select! {
                        biased;
                        event = next(&mut reader, &mut last) => delays.push(event),
                        _ = is_over.wait_for(|over| *over) => return (reader, delays),
                    }
                }
            });
        }
        Self { over, readers }
    }

    /// Ends the tasks once all readers have read what was sent.
    async fn end(self) -> (Vec<Reader>, Vec<Delay>) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.over.send_replace(true);
        let (mut good, mut delays) = (Vec::new(), Vec::new());
        for (reader, its) in self.readers.join_all().await {
            good.push(reader);
            delays.extend(its);
        }
        (good, delays)
    }
}

/// Reads the next event, and panics if one is missing.
async fn next(reader: &mut Reader, last: &mut Option<u64>) -> Delay {
    let event = reader.next().await.unwrap();
    assert_eq!(event.name, "", "a good reader is told of no gap: {}", event.data);
    let (number, sent) = numbers(&event.data);
    assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
    *last = Some(number);
    Delay { sent, wait: now().saturating_sub(sent) }
}

/// Reads that many events.
async fn read(good: Vec<Reader>, events: usize) -> (Vec<Reader>, Vec<u64>) {
    let mut reading = JoinSet::new();
    for mut reader in good {
        reading.spawn(async move {
            let (mut last, mut waits) = (None, Vec::with_capacity(events));
            for _ in 0..events {
                waits.push(next(&mut reader, &mut last).await.wait);
            }
            (reader, waits)
        });
    }
    let (mut good, mut waits) = (Vec::new(), Vec::new());
    for (reader, its) in reading.join_all().await {
        good.push(reader);
        waits.extend(its);
    }
    (good, waits)
}

/// Returns the median, the 95th percentile and the longest, in nanoseconds.
type Latency = (u64, u64, u64);

fn summary(waits: &mut [u64]) -> Latency {
    (quantile(waits, 0.5), quantile(waits, 0.95), quantile(waits, 1.0))
}

/// The latency of events of a thousand bytes, a hundred per second.
async fn latency(server: &mut Process, good: Vec<Reader>) -> (Vec<Reader>, Latency) {
    server.tell("every chat 10 1000");
    let (good, _) = read(good, 50).await;
    let (good, mut waits) = read(good, EVENTS).await;
    server.tell("quiet");
    // Reads what was sent until then.
    let good = catch_up(good).await;
    (good, summary(&mut waits))
}

async fn catch_up(good: Vec<Reader>) -> Vec<Reader> {
    let mut caught_up = Vec::new();
    for mut reader in good {
        while tokio::time::timeout(Duration::from_millis(20), reader.next()).await.is_ok() {}
        caught_up.push(reader);
    }
    caught_up
}
