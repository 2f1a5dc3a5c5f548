//! Five thousand connections for half an hour, which hang up and resume with their last ids: broadcast and targeted
//! events on a hundred channels, and keep-alives. No reader may miss an event, get one twice, or get one out of order.

use std::{
    env, fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout_at},
};

use crate::{
    process::{Process, Stack, Stats},
    reader::Reader,
};

const CHANNELS: u64 = 100;
const READERS_OF_EACH: u64 = 50;
const CLIENTS_OF_EACH: u64 = 10;
/// Events that a channel holds: about a minute's worth, so that the history is soon full.
const HISTORY: usize = 60;
/// Events per second, a fifth of them for one client.
const RATE: u64 = 100;

#[derive(Default)]
struct Counts {
    received: AtomicU64,
    reconnects: AtomicU64,
}

/// xorshift. The seed is printed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "half an hour"]
async fn soak() {
    let minutes: f64 = env::var("SOAK_MINUTES").map_or(30.0, |minutes| minutes.parse().unwrap());
    let seed = env::var("SOAK_SEED").map_or_else(|_| crate::now() | 1, |seed| seed.parse().unwrap());
    println!("{minutes} minutes, seed {seed}, {:?}", Stack::chosen());
    let mut server = Process::start(Duration::from_secs(5), HISTORY);
    let counts = Arc::new(Counts::default());
    let mut readers = JoinSet::new();
    for n in 0..CHANNELS * READERS_OF_EACH {
        let random = Random(seed.wrapping_mul(n + 1) | 1);
        readers.spawn(read(server.port, n, random, counts.clone()));
    }
    // Everybody opens before the first event, so that nobody misses it.
    while server.stats().connections < index(CHANNELS * READERS_OF_EACH) {
        sleep(Duration::from_millis(100)).await;
    }

    let mut random = Random(seed);
    let (mut broadcast, mut targeted) = (vec![0u64; index(CHANNELS)], vec![0u64; index(CHANNELS * CLIENTS_OF_EACH)]);
    let (start, mut samples) = (Instant::now(), Vec::new());
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
    let mut sampled = Instant::now();
    while start.elapsed().as_secs_f64() < minutes * 60.0 {
        tick.tick().await;
        let (channel, client) = (random.below(CHANNELS), random.below(CLIENTS_OF_EACH));
        if random.below(5) > 0 {
            broadcast[index(channel)] += 1;
            server.tell(&format!("send {channel} - b{}", broadcast[index(channel)]));
        } else {
            let count = &mut targeted[index(channel * CLIENTS_OF_EACH + client)];
            *count += 1;
            server.tell(&format!("send {channel} {client} t{count}"));
        }
        if samples.is_empty() || sampled.elapsed() > Duration::from_secs(5) {
            sampled = Instant::now();
            let stats = server.stats();
            println!(
                "{:5} s: {:4} connections, {:4} files, {:4} tasks, {:6} KiB allocated, {:6} KiB resident, {:6} KiB of events",
                start.elapsed().as_secs(),
                stats.connections,
                stats.files,
                stats.tasks,
                stats.allocated >> 10,
                stats.resident >> 10,
                stats.held >> 10,
            );
            samples.push((start.elapsed().as_secs_f64(), stats));
        }
        if let Some(failed) = readers.try_join_next() {
            failed.unwrap();
            panic!("a reader ended");
        }
    }
    // In the end everybody has everything that was published.
    for channel in 0..CHANNELS {
        server.tell(&format!("send {channel} - end"));
    }
    while let Some(read) = readers.join_next().await {
        let (n, last_broadcast, last_targeted) = read.unwrap();
        let (channel, client) = of(n);
        assert_eq!(last_broadcast, broadcast[index(channel)]);
        assert_eq!(last_targeted, targeted[index(channel * CLIENTS_OF_EACH + client)]);
    }
    println!(
        "{} events published, {} received, {} reconnects: none lost, none twice, all in order",
        broadcast.iter().sum::<u64>() + targeted.iter().sum::<u64>(),
        counts.received.load(Ordering::SeqCst),
        counts.reconnects.load(Ordering::SeqCst),
    );
    report(&samples);
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

/// The channel and client of a reader.
fn of(n: u64) -> (u64, u64) {
    (n % CHANNELS, n / CHANNELS % CLIENTS_OF_EACH)
}

/// Reads for a while, hangs up and resumes, until the end. Returns the last events that it got.
async fn read(port: u16, n: u64, mut random: Random, counts: Arc<Counts>) -> (u64, u64, u64) {
    let (channel, client) = of(n);
    let path = format!("/all/{channel}/{client}");
    let (mut id, mut last_broadcast, mut last_targeted) = (String::new(), 0, 0);
    loop {
        let mut reader = Reader::open(port, &path, &id).await.unwrap();
        let until = tokio::time::Instant::now() + Duration::from_millis(5_000 + random.below(55_000));
        while let Ok(event) = timeout_at(until, reader.next()).await {
            let event = event.expect("the stream goes on");
            assert_eq!(event.name, "", "nobody is told of a gap: {}", event.data);
            if event.data == "end" {
                return (n, last_broadcast, last_targeted);
            }
            counts.received.fetch_add(1, Ordering::Relaxed);
            let last = if event.data.starts_with('b') { &mut last_broadcast } else { &mut last_targeted };
            let number: u64 = event.data[1..].parse().unwrap();
            assert_eq!(number, *last + 1, "{n} had {last}");
            *last = number;
        }
        // An event that arrived in part is lost with the connection, and comes again with the next one.
        id = std::mem::take(&mut reader.id);
        drop(reader);
        counts.reconnects.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(random.below(2_000))).await;
    }
}

/// How much memory the allocator may keep beyond what is allocated, since it can't move what is in use.
const SLACK: u64 = 2 << 20;

/// Plots the series, and prints their range after the first sixth. The highest value may exceed the lowest by at most a
/// twentieth. Resident memory may exceed that by the allocator's slack.
fn report(samples: &[(f64, Stats)]) {
    let settled = &samples[samples.len() / 6..];
    let span = |what: &str, slack: u64, value: fn(&Stats) -> u64| {
        let values: Vec<_> = settled.iter().map(|(_, stats)| value(stats)).collect();
        let (least, most) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
        println!("{what} after the first sixth: {} to {}, {least} to {most}", values[0], values[values.len() - 1]);
        least + least / 20 + slack >= most
    };
    plot(samples);
    let flat = [
        span("bytes allocated", 0, |stats| stats.allocated),
        span("bytes resident", SLACK, |stats| stats.resident),
        span("files", 0, |stats| u64::try_from(stats.files).unwrap()),
        span("tasks", 0, |stats| u64::try_from(stats.tasks).unwrap()),
    ];
    assert_eq!(flat, [true; 4]);
}

/// The file is beside the program's folder.
fn plot(samples: &[(f64, Stats)]) {
    let target = env::current_exe().unwrap();
    let folder = target.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "deps"));
    let path = folder.unwrap_or(&target).with_file_name("soak.svg");
    fs::write(&path, drawing(samples)).unwrap();
    println!("plotted: {}", path.display());
}

/// Draws each series from zero to its own maximum.
fn drawing(samples: &[(f64, Stats)]) -> String {
    const WIDTH: f64 = 800.0;
    const HEIGHT: f64 = 300.0;
    let end = samples.last().map_or(1.0, |(at, _)| *at).max(1.0);
    let line = |colour: &str, value: fn(&Stats) -> f64| {
        let most = samples.iter().map(|(_, stats)| value(stats)).fold(1.0, f64::max);
        let points: String = samples
            .iter()
            .map(|(at, stats)| format!("{:.1},{:.1} ", at / end * WIDTH, HEIGHT - value(stats) / most * HEIGHT))
            .collect();
        (format!("<polyline fill='none' stroke='{colour}' points='{points}'/>"), most)
    };
    let (resident, most_resident) = line("#c33", |stats| stats.resident as f64);
    let (allocated, _) = line("#e90", |stats| stats.allocated as f64);
    let (files, most_files) = line("#36c", |stats| stats.files as f64);
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='-10 -30 820 350' font-family='sans-serif' font-size='12'>\
         <path d='M0 0V{HEIGHT}H{WIDTH}' fill='none' stroke='#999'/>{resident}{allocated}{files}\
         <text y='-14'>{:.0} s; red: resident, to {:.1} MiB; orange: allocated; blue: files, to {most_files}</text></svg>\n",
        end,
        most_resident / 1_048_576.0,
    )
}
