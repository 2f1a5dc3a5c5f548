//! Allocated memory: connections that come and go leave nothing behind, and the hub counts what it holds at its cost.

#[path = "common/counting.rs"]
mod counting;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::pin,
    sync::{Mutex, PoisonError},
    task::{Context, Waker},
    time::Duration,
};

use futures_util::{FutureExt as _, Stream as _};
use http::{Request, Response};
use http_body::Body as _;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    task::JoinSet,
};
use tower::{Layer, service_fn};
use tower_sse::{
    ChannelName, ClientId, CustomId, Event, Grant, IdempotencyKey, Publisher, Retention, SseBody, SseLayer,
    Subscription,
};

/// Runs a test by itself, since the allocator counts for the whole process. The lock is taken before the test's runtime is
/// made, because that allocates too.
fn alone(test: impl Future<Output = ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

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

#[test]
fn ten_thousand_connections_leave_memory_where_it_was() {
    alone(async {
        let publisher = Publisher::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // By then, everything is there that is allocated only once: by the runtime, and for the tombstones of the channels.
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
    });
}

/// Sends that many events of one size to each channel, in turn.
async fn fill(publisher: &Publisher, channels: usize, events: usize, size: usize) {
    fill_as(publisher, &Filling { channels, events, size, ..Filling::default() }).await;
}

/// What is sent to a hub, and who reads it.
#[derive(Debug, Clone, Copy, Default)]
struct Filling {
    channels: usize,
    /// To each channel.
    events: usize,
    /// In bytes of data.
    size: usize,
    /// Each event is for one of so many clients of its channel in turn; for everybody if there are none.
    clients: usize,
    /// With ids of the application's own.
    custom_ids: bool,
    keys: bool,
    /// Connected to each channel before anything is sent, as the first clients, and not reading.
    readers: usize,
    /// Each of the readers reads all channels.
    together: bool,
    /// The channels are closed in the end.
    closed: bool,
}

async fn fill_as(publisher: &Publisher, filling: &Filling) -> Vec<Subscription> {
    let Filling { channels, events, size, clients, custom_ids, keys, readers, together, closed } = *filling;
    let text = "x".repeat(size);
    let mut connected = Vec::with_capacity(channels * readers);
    let client = |n| (clients > 0).then_some(n);
    if together {
        connected.extend((0..readers).map(|n| reader(publisher, 0..channels, client(n))));
    } else {
        connected.extend((0..channels * readers).map(|n| reader(publisher, [n % channels], client(n / channels))));
    }
    for n in 0..channels * events {
        let channel = publisher.channel(format!("channel-{}", n % channels));
        let mut event = Event::text(&text);
        if custom_ids {
            event = event.id(CustomId::try_from(format!("order-{n:08}")).unwrap());
        }
        if keys {
            event = event.idempotency_key(IdempotencyKey::try_from(format!("key-{n:08}")).unwrap());
        }
        if clients > 0 {
            channel.send_to(format!("client-{}", n / channels % clients), event).await.unwrap();
        } else {
            channel.send(event).await.unwrap();
        }
    }
    if closed {
        for n in 0..channels {
            publisher.channel(format!("channel-{n}")).close().await.unwrap();
        }
        // A task frees what they held.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }
    connected
}

#[test]
fn held_bytes_are_what_is_allocated() {
    alone(async {
        let case = Filling { channels: 100, events: 100, size: 100, ..Filling::default() };
        let cases = [
            ("small events", Filling { channels: 1, events: 10_000, size: 1, ..case }),
            ("tokens", case),
            ("texts", Filling { size: 3_000, ..case }),
            ("large events", Filling { channels: 10, events: 40, size: 20_000, ..case }),
            ("an event for each channel", Filling { channels: 10_000, events: 1, size: 10, ..case }),
            ("few events for each channel", Filling { channels: 1_000, events: 7, size: 60, ..case }),
            ("events for clients", Filling { clients: 10, ..case }),
            ("an event for each client", Filling { clients: 100, ..case }),
            ("an event for each of many clients", Filling { channels: 1, events: 10_000, clients: 10_000, ..case }),
            ("custom ids", Filling { custom_ids: true, ..case }),
            ("custom ids for clients", Filling { custom_ids: true, clients: 50, ..case }),
            ("idempotency keys", Filling { keys: true, ..case }),
            ("readers", Filling { readers: 30, events: 3, ..case }),
            ("one reader for each channel", Filling { channels: 3_000, readers: 1, events: 0, ..case }),
            ("clients that read", Filling { readers: 30, clients: 30, ..case }),
            ("clients that only read", Filling { readers: 50, clients: 50, events: 0, ..case }),
            ("readers of many channels", Filling { readers: 50, together: true, events: 3, ..case }),
            ("clients that read many channels", Filling { readers: 50, together: true, clients: 50, ..case }),
            ("closed channels", Filling { channels: 5_000, events: 1, closed: true, ..case }),
            ("closed channels of clients", Filling { channels: 100, clients: 100, closed: true, ..case }),
        ];
        // What is allocated once, whatever is sent.
        drop(fill_as(&Publisher::new(), &Filling { clients: 1, readers: 1, custom_ids: true, ..case }).await);
        for retention in [usize::MAX, 1_000, 7] {
            for (what, filling) in &cases {
                // The median of three, since the test runner's threads allocate too, and free what the last test has left.
                let (mut allocated, mut counted) = ([0; 3], 0);
                for allocated in &mut allocated {
                    let retention = Retention::new().events(retention).bytes(usize::MAX);
                    let publisher = Publisher::builder().retention(retention).build();
                    let before = counting::allocated();
                    let connected = fill_as(&publisher, filling).await;
                    // They are their owner's.
                    let owned = connected.capacity() * size_of::<Subscription>();
                    *allocated = counting::allocated().saturating_sub(before + owned);
                    counted = publisher.stats().held_bytes;
                }
                allocated.sort_unstable();
                let allocated = allocated[1];
                println!("{what}, {retention} held: {counted} counted, {allocated} allocated");
                // A hub also takes a KB once.
                assert!(
                    allocated < counted / 4 * 5 + 1_000 && counted < allocated / 4 * 5 + 1_000,
                    "{what}, {filling:?}"
                );
            }
        }
    });
}

#[test]
fn small_channels_cost_little_and_empty_ones_less() {
    alone(async {
        tokio::time::pause();
        const CHANNELS: usize = 10_000;
        let publisher = Publisher::new();
        let before = counting::allocated();
        let per_channel = || (counting::allocated() - before) / CHANNELS;
        fill(&publisher, CHANNELS, 10, 100).await;
        let with_events = per_channel();
        tokio::time::advance(Duration::from_secs(3_601)).await;
        (0..CHANNELS).for_each(|n| assert!(publisher.channel(format!("channel-{n}")).recent(1).is_empty()));
        assert_eq!(publisher.stats().channels, CHANNELS);
        let empty = per_channel();
        println!("a channel costs {empty} bytes, {with_events} with ten events of 100 bytes");
        // With `inspect`, a reader's place says since when it is taken, and a channel has room for one in itself.
        let most = if cfg!(feature = "inspect") { 512 } else { 488 };
        assert!(empty <= most && with_events <= 2_500);
    });
}

/// A parked reader of channels.
fn reader(publisher: &Publisher, channels: impl IntoIterator<Item = usize>, client: Option<usize>) -> Subscription {
    let name = |channel| ChannelName::try_from(format!("channel-{channel}")).unwrap();
    let grant = Grant::new(channels.into_iter().map(name));
    let grant = grant.client(client.map(|n| ClientId::try_from(format!("client-{n}")).unwrap()));
    let mut reader = Subscription::open(publisher, grant).now_or_never().unwrap().unwrap();
    assert!(pin!(&mut reader).poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
    reader
}

/// What an idle stream takes, of a client that has no other: its body, its places in the channel and in the wheel, and
/// what is known of the client.
#[test]
fn an_idle_stream_of_a_client_takes_less_than_half_a_kilobyte() {
    alone(async {
        const STREAMS: usize = 10_000;
        let publisher = Publisher::new();
        let open = |n: usize| {
            let grant = Grant::new([ChannelName::from_static("news")]);
            let grant = grant.client(Some(ClientId::try_from(format!("user-{n}")).unwrap()));
            let mut body = SseBody::new(Subscription::open(&publisher, grant).now_or_never().unwrap().unwrap());
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(pin!(&mut body).poll_frame(cx).is_ready());
            assert!(pin!(&mut body).poll_frame(cx).is_pending());
            body
        };
        let first = open(STREAMS);
        let mut streams = Vec::with_capacity(STREAMS);
        let before = counting::allocated();
        streams.extend((0..STREAMS).map(open));
        let each = (counting::allocated() - before) / STREAMS;
        println!("an idle stream takes {each} bytes");
        // With metrics, each stream has a record, which names its span. With `inspect`, each place has a time and a count.
        let record = match (cfg!(feature = "metrics"), cfg!(feature = "tracing")) {
            (false, _) => 0,
            (true, false) => 300,
            (true, true) => 344,
        };
        let visit = if cfg!(feature = "inspect") { 32 } else { 0 };
        assert!(each <= 480 + record + visit, "{each}");
        drop((first, streams));
    });
}

/// What only some readers have: the timer of a grant that expires, and the record for a hook, with the names of the
/// channels.
#[test]
fn what_only_some_readers_have_is_counted_until_they_leave() {
    alone(async {
        const READERS: usize = 3_000;
        for (channels, expires, hook) in [(1, true, false), (1, false, true), (20, true, true)] {
            let publisher = Publisher::builder();
            let publisher = if hook { publisher.on_close(|_| {}) } else { publisher }.build();
            let open = || {
                let names = (0..channels).map(|n| ChannelName::try_from(format!("channel-{n}")).unwrap());
                let grant = Grant::new(names);
                let grant = if expires { grant.expires_in(Duration::from_secs(60)) } else { grant };
                let mut reader = Subscription::open(&publisher, grant).now_or_never().unwrap().unwrap();
                assert!(pin!(&mut reader).poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
                reader
            };
            let first = open();
            let mut readers = Vec::with_capacity(READERS);
            let (before, counted) = (counting::allocated(), publisher.stats().held_bytes);
            readers.extend((0..READERS).map(|_| open()));
            let allocated = (counting::allocated() - before) / READERS;
            let held = (publisher.stats().held_bytes - counted) / READERS;
            println!("{channels} channels, expires {expires}, hook {hook}: {held} counted, {allocated} allocated");
            assert!(allocated <= held / 4 * 5 && held <= allocated / 4 * 5, "{held} counted, {allocated} allocated");
            drop((first, readers));
            // The hub remembers the channels.
            let left = publisher.stats().held_bytes;
            assert!(left < counted + 1_000, "{left} bytes are counted when all have left, {counted} with one reader");
        }
    });
}

/// Half of the default limit is for readers, and is enough whatever features are on.
#[test]
fn by_default_each_of_100_000_readers_can_have_a_channel_and_a_client_of_its_own() {
    alone(async {
        const READERS: usize = 3_000;
        let counted = |publisher: Publisher, lifetime: Option<Duration>| {
            let open = |n: usize| {
                let grant = Grant::new([ChannelName::try_from(format!("channel-{n:05}")).unwrap()]);
                let grant = grant.client(ClientId::try_from(format!("client-{n:05}")).unwrap());
                let grant = lifetime.into_iter().fold(grant, Grant::expires_in);
                Subscription::open(&publisher, grant).now_or_never().unwrap().unwrap()
            };
            let readers: Vec<_> = (0..READERS).map(open).collect();
            publisher.stats().held_bytes / readers.len()
        };
        let plain = counted(Publisher::new(), None);
        let most = counted(Publisher::builder().on_close(|_| {}).build(), Some(Duration::from_secs(60)));
        println!("a reader is counted with {plain} bytes, {most} with a hook and a grant that expires");
        assert!(plain * 100_000 <= 128 << 20, "{plain}");
        assert!(most <= plain + 550, "{most}");
    });
}

/// What is allocated for channels that each once had that many readers at the same time, of which every `nth` stayed.
fn left_of_crowds(crowd: usize, nth: usize, clients: bool) -> usize {
    const CHANNELS: usize = 20;
    let before = counting::allocated();
    let publisher = Publisher::new();
    let mut left = Vec::new();
    for channel in 0..CHANNELS {
        let crowd: Vec<_> = (1..=crowd).map(|n| (n, reader(&publisher, [channel], clients.then_some(n)))).collect();
        left.extend(crowd.into_iter().filter(|(n, _)| n % nth == 0).map(|(_, reader)| reader));
    }
    left.shrink_to_fit();
    counting::allocated().saturating_sub(before)
}

#[test]
fn a_channel_holds_memory_for_its_present_readers_only() {
    alone(async {
        for clients in [false, true] {
            for nth in [1_000, 40] {
                // The lowest of three, since the test runner's threads allocate too.
                let least = |crowd, nth| (0..3).map(|_| left_of_crowds(crowd, nth, clients)).min().unwrap();
                let (left, never_more) = (least(1_000, nth), least(1_000 / nth, 1));
                println!(
                    "clients {clients}, {} left of 1,000: {left} bytes, {never_more} if there were never more",
                    1_000 / nth
                );
                assert!(left < 2 * never_more);
            }
        }
    });
}

/// A call to close a channel frees one slice, and a task frees the rest, so nobody waits for a long history.
#[test]
fn what_a_closed_channel_held_is_freed_in_slices() {
    alone(async {
        // The lowest of three for each number of clients, since the test runner's threads allocate too.
        let mut left = BTreeMap::new();
        for clients in [0, 1_000, 0, 1_000, 0, 1_000] {
            let publisher =
                Publisher::builder().retention(Retention::new().events(usize::MAX).bytes(usize::MAX)).build();
            let before = counting::allocated();
            drop(
                fill_as(&publisher, &Filling { channels: 1, events: 50_000, size: 100, clients, ..Filling::default() })
                    .await,
            );
            let full = counting::allocated() - before;
            publisher.channel("channel-0").close().await.unwrap();
            let closed = counting::allocated().saturating_sub(before);
            assert!(closed > full / 2, "of {full} bytes, {closed} are left right after the channel was closed");
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            let freed = counting::allocated().saturating_sub(before);
            println!("{full} bytes, {closed} when it was closed, {freed} later");
            left.entry(clients).and_modify(|least| *least = freed.min(*least)).or_insert(freed);
        }
        for (clients, least) in left {
            // The clients are remembered.
            assert!(least < 10_000 + 200 * clients, "{least} bytes are left");
        }
    });
}
