//! Hostile peers over real sockets: names and ids of any bytes, heads at the server's limits, peers that send their
//! request slowly, reset, leave, or never read. Each time a good reader goes on. `tests/load` has the tests with
//! thousands of peers.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, Shutdown},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::{Request, body::Frame};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower_sse::{Event, NotFound, Publisher, SseLayer, SseService};

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(30);

struct Server {
    publisher: Publisher,
    port: u16,
}

/// The time limit for the head of a request in tests of that limit. A good peer needs no time, but may have to wait on a busy
/// machine.
const SLOW: Duration = Duration::from_secs(3);

impl Server {
    async fn bound() -> (Self, TcpListener, SseService<NotFound>) {
        let publisher = Publisher::new();
        let layer = SseLayer::new(publisher.clone()).route("/events/{channel}").unwrap();
        let layer = layer.route("/events").unwrap().route("/rest/{*channel}").unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self { publisher, port }, listener, layer.into_service())
    }

    async fn on_hyper(head: Duration) -> Self {
        let (server, listener, service) = Self::bound().await;
        let service = TowerToHyperService::new(service);
        tokio::spawn(async move {
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(head);
            loop {
                let stream = listener.accept().await.unwrap().0;
                stream.set_nodelay(true).unwrap();
                let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
                tokio::spawn(async move { connection.await.unwrap_or_default() });
            }
        });
        server
    }

    /// The crate's own server, with as much room for a head as hyper has.
    #[cfg(feature = "server")]
    async fn own(head: Duration) -> Self {
        let (server, listener, service) = Self::bound().await;
        let own = tower_sse::server::Server::builder().head_timeout(head).max_head_bytes(8192 + 4096 * 100).build();
        tokio::spawn(own.serve(listener, service).into_future());
        server
    }

    async fn connect(&self) -> Peer {
        Peer(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap())
    }

    /// Sends a request on a connection of its own.
    async fn ask(&self, target: impl AsRef<[u8]>, headers: &[u8]) -> Peer {
        let mut peer = self.connect().await;
        peer.ask(target.as_ref(), headers).await;
        peer
    }

    async fn send(&self, channel: &str, text: impl ToString) -> usize {
        self.publisher.channel(channel).send(Event::text(text.to_string())).await.unwrap().reached
    }

    /// Waits until there are that many subscriptions.
    async fn until_connections(&self, count: usize) {
        let there = async {
            while self.publisher.connections() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(STUCK, there).await.unwrap_or_else(|_| panic!("{} connections", self.publisher.connections()));
    }

    /// Asserts that the server goes on whatever was done to it: a good reader gets what is published.
    async fn serves(&self) {
        let before = self.publisher.connections();
        let mut good = self.ask("/events/good", b"").await;
        good.read_to("\r\n:\n").await;
        self.send("good", "still here").await;
        good.read_to("data: still here\n").await;
        drop(good);
        self.until_connections(before).await;
    }
}

struct Peer(TcpStream);

impl Peer {
    async fn ask(&mut self, target: &[u8], headers: &[u8]) {
        let request = [b"GET ", target, b" HTTP/1.1\r\nhost: localhost\r\n", headers, b"\r\n"].concat();
        // The server may hang up before the request's end.
        _ = self.0.write_all(&request).await;
    }

    /// Reads until `wanted` has arrived, and returns everything that was read.
    async fn read_to(&mut self, wanted: &str) -> String {
        let mut seen = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&seen).replace("\r\n", "\n").contains(&wanted.replace("\r\n", "\n")) {
                let read = self.0.read_buf(&mut seen).await.unwrap();
                assert_ne!(read, 0, "no {wanted:?}, but {:?}", String::from_utf8_lossy(&seen));
            }
        };
        timeout(STUCK, read).await.expect("it comes");
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// The response's status; 0 if the server hung up.
    async fn status(&mut self) -> u16 {
        let mut seen = Vec::new();
        let read = async {
            while !seen.windows(2).any(|end| end == b"\r\n") {
                if self.0.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                    return 0;
                }
            }
            String::from_utf8_lossy(&seen)[9..12].parse().unwrap()
        };
        timeout(STUCK, read).await.expect("it is answered")
    }

    /// Waits until the server has hung up.
    async fn until_closed(&mut self) {
        let read = async { while self.0.read_buf(&mut Vec::new()).await.unwrap_or(0) > 0 {} };
        timeout(STUCK, read).await.expect("the server hangs up");
    }

    /// Closes the connection with a reset instead of an end.
    fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

async fn a_channel_named_by_any_byte_is_a_channel_or_a_400(server: Server) {
    for byte in 0..=255u8 {
        let name = String::from_utf8(vec![b'a', byte]).ok();
        let valid = name.as_ref().is_some_and(|name| !name.chars().any(char::is_control));
        for target in [
            format!("/events/a%{byte:02x}"),
            format!("/events/a%{byte:02X}"),
            format!("/events?channel=a%{byte:02x}"),
            format!("/rest/a%{byte:02x}"),
        ] {
            let mut peer = server.ask(&target, b"").await;
            assert_eq!(peer.status().await, if valid { 200 } else { 400 }, "{target}");
            if valid {
                assert_eq!(server.send(name.as_deref().unwrap(), byte).await, 1, "{target}");
                peer.read_to(&format!("data: {byte}\n")).await;
                drop(peer);
                server.until_connections(0).await;
            }
        }
        // The raw byte: hyper refuses those that a path may not contain.
        let raw = server.ask([b"/events/a", &[byte][..]].concat(), b"").await.status().await;
        assert!([200, 400, 404].contains(&raw), "{raw} to {byte:#x}");
    }
    for long in [256, 1_000, 60_000] {
        let status = server.ask(format!("/events/{}", "x".repeat(long)), b"").await.status().await;
        assert_eq!(status, 400, "{long}");
    }
    server.until_connections(0).await;
    server.serves().await;
}

async fn eight_kilobytes_of_garbage_as_an_id_are_a_gap(server: Server) {
    server.send("a", "held").await;
    let legal: Vec<u8> = (0x21..=0x7e).chain(0x80..=0xff).collect();
    for byte in legal {
        let id: Vec<u8> = std::iter::repeat_n(byte, 8 << 10).collect();
        let mut peer = server.ask("/events/a", &[b"last-event-id: ", &id[..], b"\r\n"].concat()).await;
        let answer = peer.read_to("data: held\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"reason\":\"unknown-id\""), "{answer}");
        // Only the first 128 bytes are repeated. Each may have become three, and each of those six.
        assert!(answer.len() < 2_000, "{} bytes for {byte:#x}", answer.len());
    }
    for byte in 0..=255u8 {
        let id = format!("%{byte:02x}").repeat(8 << 10);
        let mut peer = server.ask(format!("/events/a?last_event_id={id}"), b"").await;
        let answer = peer.read_to("data: held\n").await;
        assert!(answer.contains("\"reason\":\"unknown-id\""), "{answer}");
        assert!(answer.len() < 2_000, "{} bytes for {byte:#x}", answer.len());
    }
    server.until_connections(0).await;
    server.serves().await;
}

async fn heads_at_the_servers_limits_are_answered(server: Server) {
    let query = |count: usize| (0..count).map(|n| format!("channel=c{n}&")).collect::<String>();
    for (count, status) in [(100, 200), (101, 400), (4_000, 400)] {
        assert_eq!(server.ask(format!("/events?{}", query(count)), b"").await.status().await, status, "{count}");
    }
    // hyper accepts a hundred headers, and `host` is one of them.
    for (count, status) in [(99, 200), (100, 431), (5_000, 431)] {
        let headers: String = (0..count).map(|n| format!("x-{n}: x\r\n")).collect();
        assert_eq!(server.ask("/events/a", headers.as_bytes()).await.status().await, status, "{count} headers");
    }
    for length in [10_000, 300_000] {
        let header = format!("x: {}\r\n", "x".repeat(length));
        assert_eq!(server.ask("/events/a", header.as_bytes()).await.status().await, 200, "{length} bytes of header");
    }
    let status = server.ask("/events/a", &vec![b'x'; 2 << 20]).await.status().await;
    assert!([0, 431].contains(&status), "{status} to two megabytes of header");
    let status = server.ask(format!("/events/a?{}", "x".repeat(70_000)), b"").await.status().await;
    assert_eq!(status, 414);
    // The first of several ids counts, and an `Accept` in many headers is one list.
    let ids = "last-event-id: ?\r\n".repeat(50);
    assert_eq!(server.ask("/events/a", ids.as_bytes()).await.status().await, 200);
    let accept = format!("accept: {}text/event-stream\r\n", "a/b;q=\"\\\",\", ".repeat(5_000));
    assert_eq!(server.ask("/events/a", accept.as_bytes()).await.status().await, 200);
    server.until_connections(0).await;
    server.serves().await;
}

async fn a_peer_that_sends_its_request_slowly_gets_no_subscription_and_is_disconnected(server: Server) {
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut peer = server.connect().await;
        peer.0.write_all(b"GET /events/a HTTP/1.1\r\nhost: localhost\r\nx").await.unwrap();
        slow.push(peer);
    }
    assert_eq!(server.publisher.connections(), 0);
    server.serves().await;
    for peer in &mut slow {
        _ = peer.0.write_all(b"y").await;
        peer.until_closed().await;
    }
}

async fn resets_and_half_closed_sockets_leave_nothing_behind(server: Server) {
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut peer = server.ask("/events/a", b"").await;
        peer.read_to("\r\n:\n").await;
        peers.push(peer);
    }
    server.until_connections(200).await;
    for (n, mut peer) in peers.into_iter().enumerate() {
        server.send("a", "x".repeat(5_000)).await;
        match n % 3 {
            0 => peer.reset(),
            1 => drop(peer),
            // It could still read, but hyper treats it as gone. It is kept until the others are gone too.
            _ => {
                peer.0.shutdown().await.unwrap();
                tokio::spawn(async move { peer.until_closed().await });
            }
        }
    }
    server.until_connections(0).await;
    server.serves().await;
}

async fn a_peer_that_hangs_up_at_once_leaves_nothing_behind(server: Server) {
    let request = b"GET /events/a HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for n in 0..=request.len() {
        let mut peer = server.connect().await;
        peer.0.write_all(&request[..n]).await.unwrap();
        if n % 2 == 0 { peer.reset() } else { drop(peer) }
    }
    server.serves().await;
    server.until_connections(0).await;
}

async fn a_peer_that_announces_a_body_and_hangs_up_leaves_nothing_behind(server: Server) {
    let mut peers = Vec::new();
    for header in ["content-length: 9", "transfer-encoding: chunked", "expect: 100-continue\r\ncontent-length: 1"] {
        let mut peer = server.ask("/events/a", format!("{header}\r\n").as_bytes()).await;
        assert_eq!(peer.status().await, 400, "{header}");
        // The server does not wait for a body that it does not want.
        peer.until_closed().await;
        // The peer is not dropped yet, so it was not the peer that hung up.
        peers.push(peer);
    }
    assert_eq!(server.publisher.stats().opened, 0);
    server.serves().await;
}

async fn an_http_2_peer_that_never_ends_its_request_and_hangs_up_leaves_nothing_behind(server: Server) {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).await.unwrap();
    let plug = SockRef::from(&socket).try_clone().unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    // Nothing announces this body, and no byte of it arrives.
    let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let request = Request::get(format!("http://127.0.0.1:{}/events/a", server.port)).body(body).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    server.until_connections(1).await;
    plug.shutdown(Shutdown::Both).unwrap();
    server.until_connections(0).await;
    server.serves().await;
}

async fn an_http_2_stream_that_is_not_read_delays_no_other_on_its_connection(server: Server) {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1_000)
        .initial_connection_window_size(1 << 20)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut ask = async || {
        let uri = format!("http://127.0.0.1:{}/events/a", server.port);
        client.send_request(Request::get(uri).body(Empty::new()).unwrap()).await.unwrap().into_body()
    };
    let mut stalled = Vec::new();
    for _ in 0..50 {
        stalled.push(ask().await);
    }
    let mut good = ask().await;
    let mut seen = String::new();
    for n in 0..200 {
        server.send("a", format!("{n}: {}", "x".repeat(500))).await;
        while !seen.contains(&format!("data: {n}: ")) {
            let frame = timeout(STUCK, good.frame()).await.expect("it is not delayed").unwrap().unwrap();
            seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }
    // A reader that reads on after all gets what it missed, or a gap.
    let mut late = String::new();
    while !late.contains("data: 199: ") {
        let frame = timeout(STUCK, stalled[0].frame()).await.expect("it goes on").unwrap().unwrap();
        late.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert_eq!(late.matches("\ndata: ").count(), 200);
    drop((stalled, good));
    server.until_connections(0).await;
}

/// Makes tests of functions that take a server. `head` is its time limit for the head of a request.
macro_rules! on_each_server {
    ($($name:ident($head:expr),)*) => {
        mod on_hyper {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Server::on_hyper($head).await).await;
            })*
        }

        #[cfg(feature = "server")]
        mod on_its_own_server {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Server::own($head).await).await;
            })*
        }
    };
}

on_each_server! {
    a_channel_named_by_any_byte_is_a_channel_or_a_400(STUCK),
    eight_kilobytes_of_garbage_as_an_id_are_a_gap(STUCK),
    heads_at_the_servers_limits_are_answered(STUCK),
    a_peer_that_sends_its_request_slowly_gets_no_subscription_and_is_disconnected(SLOW),
    resets_and_half_closed_sockets_leave_nothing_behind(STUCK),
    a_peer_that_hangs_up_at_once_leaves_nothing_behind(STUCK),
    a_peer_that_announces_a_body_and_hangs_up_leaves_nothing_behind(STUCK),
    an_http_2_peer_that_never_ends_its_request_and_hangs_up_leaves_nothing_behind(STUCK),
    an_http_2_stream_that_is_not_read_delays_no_other_on_its_connection(STUCK),
}
