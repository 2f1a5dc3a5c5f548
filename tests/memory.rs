//! What is allocated: connections that come and go leave nothing behind, and what is held is counted for what it costs.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tower::{Layer, service_fn};
use tower_sse::{Event, Publisher, Retention, SseLayer};

/// Counts the bytes that are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is allocated is this process's: one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const AT_ONCE: usize = 100;

/// Connects a hundred readers, each to a channel and as a client of its own, sends each an event, and cuts all of them.
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
    // A connection that was cut while it was written to is an error of hyper's; here it is the end that is meant.
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
    // What is allocated once, by the runtime or the tombstones of the hundred channels, is allocated by then.
    for round in 0..10 {
        come_and_go(&publisher, &listener, round).await;
    }
    let before = ALLOCATED.load(Ordering::Relaxed);
    for round in 10..110 {
        come_and_go(&publisher, &listener, round).await;
    }
    let after = ALLOCATED.load(Ordering::Relaxed);
    assert_eq!(publisher.stats().opened, 11_000);
    assert!(publisher.channels().is_empty());
    // Ten bytes for each connection would be 100 KB.
    assert!(after < before + 50_000, "{before} bytes before, {after} after");
    println!("{before} bytes before ten thousand connections, {after} after");
}

/// Sends so many events of a size to each of the channels, in turn.
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
    // What is allocated once, whatever is sent.
    fill(&Publisher::new(), 1, 1, 1).await;
    for (held, (channels, events, size)) in [7, 40, 1_000].into_iter().flat_map(|held| sizes.map(|size| (held, size))) {
        let (mut allocated, mut counted) = (usize::MAX, 0);
        // The least of three: the test runner's threads allocate too.
        for _ in 0..3 {
            let publisher = Publisher::builder().retention(Retention::new().events(held)).build();
            let before = ALLOCATED.load(Ordering::Relaxed);
            fill(&publisher, channels, events, size).await;
            allocated = allocated.min(ALLOCATED.load(Ordering::Relaxed).saturating_sub(before));
            counted = publisher.stats().held_bytes;
        }
        println!(
            "{channels} channels, {held} of {events} events of {size} bytes: {counted} counted, {allocated} allocated"
        );
        // What a channel costs by itself is in the documentation of `Limits::channels`. The room behind what grows is a
        // sixteenth of what is held, or was held once; what large events cost more is nothing beside their bytes.
        let per_channel = 1_000 + (counted / channels / 4).min(8 << 10) + counted / channels / 100;
        assert!(allocated < counted + channels * per_channel, "{per_channel} bytes for each channel are not all");
        assert!(counted < 2 * allocated, "far less than was counted");
    }
}

#[tokio::test(start_paused = true)]
async fn small_channels_cost_little_and_empty_ones_less() {
    const CHANNELS: usize = 10_000;
    let _alone = ALONE.lock().await;
    let publisher = Publisher::new();
    let before = ALLOCATED.load(Ordering::Relaxed);
    let per_channel = || (ALLOCATED.load(Ordering::Relaxed) - before) / CHANNELS;
    fill(&publisher, CHANNELS, 10, 100).await;
    let with_events = per_channel();
    tokio::time::advance(Duration::from_secs(3_601)).await;
    (0..CHANNELS).for_each(|n| assert!(publisher.channel(format!("channel-{n}")).recent(1).is_empty()));
    assert_eq!((publisher.stats().channels, publisher.stats().held_bytes), (CHANNELS, 0));
    let empty = per_channel();
    println!("a channel costs {empty} bytes, {with_events} with ten events of 100 bytes");
    assert!(empty <= 400 && with_events <= 2_500);
}

/// A hub's server in this process, for one connection after the other.
struct Server {
    publisher: Publisher,
    listener: TcpListener,
    served: JoinSet<hyper::Result<()>>,
    sent: usize,
}

impl Server {
    /// What hyper may buffer for a connection: as the example `hardened` sets it.
    const BUFFER: usize = 16 << 10;

    /// A reader, whose request is answered; with as little room between it and the server as there can be, if it is not
    /// to read on.
    async fn connect(&mut self, reads: bool) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        if !reads {
            socket.set_recv_buffer_size(4 << 10).unwrap();
        }
        let mut reader = socket.connect(self.listener.local_addr().unwrap()).await.unwrap();
        let accepted = self.listener.accept().await.unwrap().0;
        if !reads {
            SockRef::from(&accepted).set_send_buffer_size(4 << 10).unwrap();
        }
        let layer = SseLayer::new(self.publisher.clone()).route("/sse/{channel}").unwrap();
        let service = TowerToHyperService::new(layer.into_service());
        let mut builder = http1::Builder::new();
        builder.max_buf_size(Self::BUFFER);
        self.served.spawn(builder.serve_connection(TokioIo::new(accepted), service));
        reader.write_all(b"GET /sse/a HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        read_to(&mut reader, ":\n\r\n").await;
        reader
    }

    /// Sends forty events of ten thousand bytes, each of which the good ones get, and no gap.
    async fn send(&mut self, good: &mut [TcpStream]) {
        for _ in 0..40 {
            self.sent += 1;
            let text = format!("{} {}", "x".repeat(10_000), self.sent);
            self.publisher.channel("a").send(Event::text(text)).await.unwrap();
        }
        for reader in good {
            let seen = read_to(reader, &format!("x {}\nid: ", self.sent)).await;
            assert_eq!(seen.matches("data: ").count(), 40);
            assert!(!seen.contains("event: gap"));
        }
    }
}

/// Reads until that text has come, and what comes with it.
async fn read_to(reader: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut from = 0;
    while !String::from_utf8_lossy(&seen[from..]).contains(wanted) {
        from = seen.len().saturating_sub(wanted.len());
        seen.reserve(64 << 10);
        assert_ne!(reader.read_buf(&mut seen).await.unwrap(), 0);
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn readers_that_stop_one_after_the_other_cost_what_hyper_is_told_to_buffer() {
    const STALLED: usize = 100;
    // What the body gives hyper at once, at most two chunks; and what an open connection costs.
    const EACH: usize = Server::BUFFER + (64 << 10) + (40 << 10);
    let _alone = ALONE.lock().await;
    let publisher = Publisher::builder().retention(Retention::new().events(100)).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server { publisher, listener, served: JoinSet::new(), sent: 0 };
    let mut good = Vec::new();
    for _ in 0..10 {
        good.push(server.connect(true).await);
    }
    // What the history holds is held with or without readers.
    for _ in 0..5 {
        server.send(&mut good).await;
    }
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(server.connect(false).await);
        // More than it may cost, so that nothing which it keeps is shared with the next.
        server.send(&mut good).await;
    }
    // So that what the last one keeps is no part of the history any more either.
    for _ in 0..5 {
        server.send(&mut good).await;
    }
    let after = ALLOCATED.load(Ordering::Relaxed);
    assert_eq!(server.publisher.connections(), STALLED + good.len());
    let each = after.saturating_sub(before) / STALLED;
    println!("{STALLED} readers that never read: {each} bytes each");
    assert!(each < EACH, "{each} bytes each, more than {EACH}");
    // They were behind, all of them: who reads on is told that the rest is gone.
    for reader in &mut stalled {
        read_to(reader, "event: gap").await;
    }
}
