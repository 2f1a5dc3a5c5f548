//! The figures of docs/scaling.md:
//! `cargo test --release -p redis-tests --test cluster measure -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use tower_sse::{ChannelName, Event, Grant, Publisher, Redis, Retention, Subscription};

use crate::{common, server::Server};

const DATA: &str =
    "a hundred bytes of data, which is what the benchmark of whole servers sends too; it has no line ends";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure() {
    for (name, durable) in
        [("in memory only", ["--appendonly", "no"]), ("appendfsync always", ["--appendfsync", "always"])]
    {
        let server = Server::start_with(&durable);
        println!("Redis {name}:");
        for publishers in [1, 2, 4] {
            println!(
                "  {publishers} publishers, one event after the other: {:.0} a second",
                rate(&server, publishers, 1).await
            );
        }
        println!("  4 publishers with 64 events on their way each: {:.0} a second", rate(&server, 4, 64).await);
        println!("  {}", batches(&server).await);
        let stats = server.command(&["INFO", "commandstats"]);
        let scripts = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap();
        println!("  its scripts: {scripts}");
        let (median, p99) = latency(&node(&server), &node(&server)).await;
        println!("  from send to a reader on another node: {median:?} at the median, {p99:?} at p99");
    }
    let publisher = Publisher::new();
    let (median, p99) = latency(&publisher, &publisher).await;
    println!("in process, from send to a reader: {median:?} at the median, {p99:?} at p99");
    memory().await;
}

fn node(server: &Server) -> Publisher {
    let redis = Redis::new(&server.url()).unwrap();
    Publisher::builder().backend(redis).retention(Retention::new().events(1_000)).build()
}

/// Publishes per second, on a hundred channels, by publishers that share nothing, to a reader on another node.
async fn rate(server: &Server, publishers: usize, at_once: usize) -> f64 {
    let readers = node(server);
    let mut reader = open(&readers, "channel0").await;
    let reading = tokio::spawn(async move { while common::next(&mut reader).await.is_some() {} });
    let begun = Instant::now();
    let tasks: Vec<_> = (0..publishers)
        .flat_map(|_| {
            let node = node(server);
            (0..at_once).map(move |_| node.clone())
        })
        .map(|node| {
            tokio::spawn(async move {
                let mut n = 0;
                while begun.elapsed() < Duration::from_secs(3) {
                    node.channel(format!("channel{}", n % 100)).send(Event::text(DATA)).await.unwrap();
                    n += 1;
                }
                n
            })
        })
        .collect();
    let mut all = 0;
    for task in tasks {
        all += task.await.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    reading.abort();
    f64::from(all) / seconds
}

/// A hundred events, sent one after the other and all at once, in turn: the medians of fifty times each, with a reader on another
/// node.
async fn batches(server: &Server) -> String {
    let (node, readers) = (node(server), node(server));
    let mut reader = open(&readers, "batches").await;
    let reading = tokio::spawn(async move { while common::next(&mut reader).await.is_some() {} });
    let (channel, mut alone, mut together) = (node.channel("batches"), Vec::new(), Vec::new());
    for _ in 0..50 {
        let begun = Instant::now();
        for _ in 0..100 {
            channel.send(Event::text(DATA)).await.unwrap();
        }
        alone.push(begun.elapsed());
        let begun = Instant::now();
        channel.send_all([(); 100].map(|()| Event::text(DATA))).await.unwrap();
        together.push(begun.elapsed());
    }
    reading.abort();
    let [alone, together] = [alone, together].map(|mut took| {
        took.sort();
        took[25]
    });
    format!(
        "100 events one after the other: {alone:?}, by send_all: {together:?}, {:.1} times as fast",
        alone.div_duration_f64(together)
    )
}

/// Measured at a hundred events per second, so that no event waits for another.
async fn latency(publisher: &Publisher, node: &Publisher) -> (Duration, Duration) {
    let mut reader = open(node, "latency").await;
    let mut took = Vec::new();
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let begun = Instant::now();
        let sending = publisher.channel("latency");
        let (sent, _) = tokio::join!(sending.send(Event::text(DATA)), async {
            common::next(&mut reader).await;
            took.push(begun.elapsed());
        });
        sent.unwrap();
    }
    took.sort();
    (took[500], took[990])
}

async fn open(node: &Publisher, channel: &'static str) -> Subscription {
    Subscription::open(node, Grant::new([ChannelName::from_static(channel)])).await.unwrap()
}

async fn memory() {
    let server = Server::start_with(&["--appendonly", "no"]);
    let node = node(&server);
    let used = || {
        let info = server.command(&["INFO", "memory"]);
        info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse::<f64>().unwrap()
    };
    node.channel("first").send(Event::text(DATA)).await.unwrap();
    let empty = used();
    for channel in 0..100 {
        for _ in 0..1_000 {
            node.channel(format!("many{channel}")).send(Event::text(DATA)).await.unwrap();
        }
    }
    let many = used();
    println!("1,000 events of 100 bytes in a channel: {:.0} bytes of Redis' memory", (many - empty) / 100.0);
    for channel in 0..10_000 {
        node.channel(format!("few{channel}")).send(Event::text(DATA)).await.unwrap();
    }
    println!("a channel with one event: {:.0} bytes", (used() - many) / 10_000.0);
}
