//! What the engine costs without HTTP and sockets: encoding, publishing, reading, opening. `bench/` measures whole
//! servers.
//!
//! Run it with `cargo bench -p engine-bench`.

use std::{
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_core::Stream;
use http_body::Body;
use tower_sse::{ChannelName, Event, Grant, OpenOptions, Publisher, SseBody, Start, Subscription};

/// A token event of an agent.
#[derive(serde::Serialize)]
struct Token<'a> {
    run: u64,
    token: &'a str,
}

const TEXT: &str =
    "a hundred bytes of data, which is what the benchmark of whole servers sends too; it has no line ends";

fn ready<F: Future>(future: F) -> F::Output {
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("in memory it is ready at once"),
    }
}

/// Polls a future that is ready, or that is not to be waited for.
fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn publish(publisher: &Publisher, channel: &'static str) {
    drop(black_box(ready(publisher.channel(channel).send(Event::text(TEXT))).unwrap()));
}

fn open(publisher: &Publisher, channel: &'static str) -> Subscription {
    ready(Subscription::open(publisher, Grant::new([ChannelName::from_static(channel)]))).unwrap()
}

fn is_level(subscription: &mut Subscription) -> bool {
    Pin::new(subscription).poll_next(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn read_to_the_end(subscription: &mut Subscription) {
    while !is_level(subscription) {}
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.bench_function("text of 100 bytes", |b| b.iter(|| Event::text(black_box(TEXT))));
    let lines = "ten bytes\n".repeat(10);
    group.bench_function("text of ten lines", |b| b.iter(|| Event::text(black_box(&lines))));
    let token = Token { run: 7, token: " a token" };
    group.bench_function("json", |b| b.iter(|| Event::json(black_box(&token)).unwrap()));
    group.finish();
}

/// Measures the publisher's time only, without the wake-ups that it leaves to the runtime and the readers' own time.
fn publish_to_parked(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = c.benchmark_group("publish");
    for readers in [0, 1, 1_000, 10_000] {
        group.bench_function(BenchmarkId::new("parked readers", readers), |b| {
            let publisher = Publisher::new();
            let mut subscriptions: Vec<_> = (0..readers).map(|_| open(&publisher, "c")).collect();
            b.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    subscriptions.iter_mut().for_each(read_to_the_end);
                    let publisher = publisher.clone();
                    // In a task, like most publishers: another task wakes the rest of the readers.
                    let published = runtime.spawn(async move {
                        let begin = Instant::now();
                        publish(&publisher, "c");
                        begin.elapsed()
                    });
                    took += runtime.block_on(published).unwrap();
                    runtime.block_on(async {
                        for _ in 0..readers / 64 + 2 {
                            tokio::task::yield_now().await;
                        }
                    });
                }
                took
            });
        });
    }
    group.finish();
}

fn publish_to_one_client(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish to one client");
    for clients in [10, 10_000] {
        group.bench_function(BenchmarkId::new("clients", clients), |b| {
            let publisher = Publisher::new();
            let name = |client: usize| tower_sse::ClientId::try_from(&*format!("u{client}")).unwrap();
            let grant = |client: usize| Grant::new([ChannelName::from_static("c")]).client(name(client));
            let mut subscriptions: Vec<_> =
                (0..clients).map(|client| ready(Subscription::open(&publisher, grant(client))).unwrap()).collect();
            subscriptions.iter_mut().for_each(read_to_the_end);
            b.iter(|| {
                let sent = poll(publisher.channel("c").send_to("u5", Event::text(TEXT)));
                assert!(sent.is_ready());
                read_to_the_end(&mut subscriptions[5]);
            });
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    let publisher = Publisher::new();
    let mut subscription = open(&publisher, "one");
    group.bench_function("publish one, read one", |b| {
        b.iter(|| {
            publish(&publisher, "one");
            read_to_the_end(&mut subscription);
        });
    });

    (0..100).for_each(|_| publish(&publisher, "hundred"));
    let behind = || {
        let options = OpenOptions::new().start(Start::Earliest);
        let grant = Grant::new([ChannelName::from_static("hundred")]);
        Box::pin(SseBody::new(ready(options.open(&publisher, grant, None)).unwrap()))
    };
    let read = |mut body: Pin<Box<SseBody>>| {
        let mut bytes = 0;
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()))
        {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
        black_box(bytes);
        body
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let entered = runtime.enter();
    group.bench_function("a hundred as a body, alone", |b| b.iter_batched(behind, read, BatchSize::SmallInput));
    let _another = open(&publisher, "hundred");
    group.bench_function("a hundred as a body, shared", |b| b.iter_batched(behind, read, BatchSize::SmallInput));
    drop(entered);
    group.finish();
}

fn read_of_many(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish one, read one of many channels");
    for channels in [1_usize, 10, 100] {
        group.bench_function(BenchmarkId::from_parameter(channels), |b| {
            let publisher = Publisher::new();
            let name = |channel: usize| ChannelName::try_from(&*format!("c{channel}")).unwrap();
            let mut subscription = ready(Subscription::open(&publisher, Grant::new((0..channels).map(name)))).unwrap();
            read_to_the_end(&mut subscription);
            b.iter(|| {
                publish(&publisher, "c0");
                read_to_the_end(&mut subscription);
            });
        });
    }
    group.finish();
}

fn open_and_drop(c: &mut Criterion) {
    let mut group = c.benchmark_group("open and drop");
    for readers in [0, 1, 10_000] {
        let publisher = Publisher::new();
        let _others: Vec<_> = (0..readers).map(|_| open(&publisher, "c")).collect();
        group.bench_function(BenchmarkId::new("other readers", readers), |b| b.iter(|| open(&publisher, "c")));
    }
    for (channels, held) in [(1_000, 1), (1, 1_000)] {
        let publisher = Publisher::new();
        for channel in 0..channels {
            (0..held).for_each(|_| {
                assert!(poll(publisher.channel(&*format!("c{channel}")).send(Event::text(TEXT))).is_ready());
            });
        }
        let name = format!("channels {channels}, events {held}");
        group.bench_function(name, |b| b.iter(|| open(&publisher, "c0")));
    }
    group.finish();
}

criterion_group!(engine, encode, publish_to_parked, publish_to_one_client, read, read_of_many, open_and_drop);
criterion_main!(engine);
