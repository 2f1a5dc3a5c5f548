//! Allocated memory: connections that come and go leave nothing behind, and the hub counts what it holds at its cost.

#[path = "common/counting.rs"]
mod counting;

use std::{
    convert::Infallible,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use futures_util::{FutureExt as _, Stream as _};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{Layer, service_fn};
use tower_sse::{ChannelName, ClientId, Event, Grant, Publisher, Retention, SseLayer, Subscription};

/// The allocator counts for the whole process, so one test runs at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const AT_ONCE: usize = 100;

/// Connects a hundred readers, each to a channel and as a client of its own, sends each an event, and cuts their
/// connections.
async fn come_and_go(publisher: &Publisher, listener: &TcpListener, round: usize) {
    let inner = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let layer = SseLayer::new(publisher.clone()).route("/sse/{channel}/{client_id}").unwrap();
    let service = TowerToHyperService::new(layer.layer(inner));
    let address = listener.local_addr().unwrap();
    let mut served = JoinSet::new();
    let mut readers = Vec::new();
    for n in 0..AT_ONCE {
        let mut reader = TcpStream::connect(address).await.unwrap();
        let accepted = TokioIo::new(listener.accept().await.unwrap().0);
        served.spawn(http1::Builder::new().serve_connection(accepted, service.clone()));
        let request = format!("GET /sse/{n}/client-{round}-{n} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        reader.write_all(request.as_bytes()).await.unwrap();
        readers.push(reader);
    }
    for (n, reader) in readers.iter_mut().enumerate() {
        let mut seen = Vec::new();
        while !seen.ends_with(b":\n\r\n") {
            assert_ne!(reader.read_buf(&mut seen).await.unwrap(), 0);
        }
        publisher.channel(n.to_string()).send(Event::text("x".repeat(100))).await.unwrap();
    }
    assert_eq!(publisher.connections(), AT_ONCE);
    drop(readers);
    // hyper reports a connection that is cut during a write as an error; here that is the intended end.
    while served.join_next().await.is_some() {}
    assert_eq!(publisher.connections(), 0);
    for n in 0..AT_ONCE {
        publisher.channel(n.to_string()).close().await.unwrap();
    }
}

#[tokio::test]
async fn ten_thousand_connections_leave_memory_where_it_was() {
    let _alone = ALONE.lock().await;
    let publisher = Publisher::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // By then everything is allocated that is allocated once, by the runtime or for the hundred channels' tombstones.
    for round in 0..10 {
        come_and_go(&publisher, &listener, round).await;
    }
    let before = counting::allocated();
    for round in 10..110 {
        come_and_go(&publisher, &listener, round).await;
    }
    let after = counting::allocated();
    assert_eq!(publisher.stats().opened, 11_000);
    assert!(publisher.channels().is_empty());
    // Ten bytes per connection would be 100 KB.
    assert!(after < before + 50_000, "{before} bytes before, {after} after");
    println!("{before} bytes before ten thousand connections, {after} after");
}

/// Sends that many events of one size to each channel, in turn.
async fn fill(publisher: &Publisher, channels: usize, events: usize, size: usize) {
    let text = "x".repeat(size);
    for n in 0..channels * events {
        publisher.channel(format!("channel-{}", n % channels)).send(Event::text(&text)).await.unwrap();
    }
}

#[tokio::test]
async fn held_bytes_are_about_what_is_allocated() {
    let _alone = ALONE.lock().await;
    let sizes = [
        (1, 1_000, 10),
        (1, 1_000, 300),
        (10, 100, 100),
        (1_000, 10, 60),
        (100, 10, 3_000),
        (10, 50, 20_000),
        (1_000, 1, 100),
        (10, 5_000, 100),
    ];
    // Allocates what is allocated once, whatever is sent.
    fill(&Publisher::new(), 1, 1, 1).await;
    for (held, (channels, events, size)) in [7, 40, 1_000].into_iter().flat_map(|held| sizes.map(|size| (held, size))) {
        // The median of three: the test runner's threads allocate too, and free what the previous test left.
        let (mut allocated, mut counted) = ([0; 3], 0);
        for allocated in &mut allocated {
            let publisher = Publisher::builder().retention(Retention::new().events(held)).build();
            let before = counting::allocated();
            fill(&publisher, channels, events, size).await;
            *allocated = counting::allocated().saturating_sub(before);
            counted = publisher.stats().held_bytes;
        }
        allocated.sort_unstable();
        let allocated = allocated[1];
        println!(
            "{channels} channels, {held} of {events} events of {size} bytes: {counted} counted, {allocated} allocated"
        );
        // `Limits::channels` documents what a channel costs by itself. Room to grow is a sixteenth of what is held, or
        // was held once; the overhead of large events is small next to their bytes.
        let per_channel = 1_000 + (counted / channels / 4).min(8 << 10) + counted / channels / 100;
        assert!(allocated < counted + channels * per_channel, "{per_channel} bytes per channel are not counted");
        assert!(counted < 2 * allocated, "far less is allocated than was counted");
    }
}

#[tokio::test(start_paused = true)]
async fn small_channels_cost_little_and_empty_ones_less() {
    const CHANNELS: usize = 10_000;
    let _alone = ALONE.lock().await;
    let publisher = Publisher::new();
    let before = counting::allocated();
    let per_channel = || (counting::allocated() - before) / CHANNELS;
    fill(&publisher, CHANNELS, 10, 100).await;
    let with_events = per_channel();
    tokio::time::advance(Duration::from_secs(3_601)).await;
    (0..CHANNELS).for_each(|n| assert!(publisher.channel(format!("channel-{n}")).recent(1).is_empty()));
    assert_eq!((publisher.stats().channels, publisher.stats().held_bytes), (CHANNELS, 0));
    let empty = per_channel();
    println!("a channel costs {empty} bytes, {with_events} with ten events of 100 bytes");
    assert!(empty <= 400 && with_events <= 2_500);
}

/// A parked reader of a channel.
fn reader(publisher: &Publisher, channel: usize, client: Option<usize>) -> Subscription {
    let grant = Grant::new([ChannelName::try_from(format!("channel-{channel}")).unwrap()]);
    let grant = grant.client(client.map(|n| ClientId::try_from(format!("client-{n}")).unwrap()));
    let mut reader = Subscription::open(publisher, grant).now_or_never().unwrap().unwrap();
    assert!(pin!(&mut reader).poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
    reader
}

/// What is allocated for channels that each once had that many readers at the same time, of which every `nth` stayed.
fn left_of_crowds(crowd: usize, nth: usize, clients: bool) -> usize {
    const CHANNELS: usize = 20;
    let before = counting::allocated();
    let publisher = Publisher::new();
    let mut left = Vec::new();
    for channel in 0..CHANNELS {
        let crowd: Vec<_> = (1..=crowd).map(|n| (n, reader(&publisher, channel, clients.then_some(n)))).collect();
        left.extend(crowd.into_iter().filter(|(n, _)| n % nth == 0).map(|(_, reader)| reader));
    }
    left.shrink_to_fit();
    counting::allocated().saturating_sub(before)
}

#[tokio::test]
async fn a_channel_holds_memory_for_its_present_readers_only() {
    let _alone = ALONE.lock().await;
    for clients in [false] {
        for nth in [1_000, 40] {
            // The lowest of three: the test runner's threads allocate too.
            let least = |crowd, nth| (0..3).map(|_| left_of_crowds(crowd, nth, clients)).min().unwrap();
            let (left, never_more) = (least(1_000, nth), least(1_000 / nth, 1));
            println!(
                "clients {clients}, {} left of 1,000: {left} bytes, {never_more} if there were never more",
                1_000 / nth
            );
            assert!(left < 2 * never_more);
        }
    }
}
