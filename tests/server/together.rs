//! Readers that are woken together: each gets everything in order, whether it reads at once, late, or not at all.

use std::{net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
};
use tower_sse::{ChannelName, Event, KeepAlive, Publisher, Retention, Route, SseLayer, server::Server};

const CHANNEL: ChannelName = ChannelName::from_static("news");
const READERS: usize = 40;
const EVENTS: usize = 2_000;

/// The data of an event. Its length varies.
fn data(n: usize) -> String {
    format!("{n}{}", "x".repeat(n * 7 % 300))
}

/// Opens a stream with small buffers, so that a reader that is late fills them.
async fn open(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut tcp = socket.connect(addr).await.unwrap();
    tcp.write_all(b"GET /news HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // The head and the first chunk.
    let mut first = Vec::new();
    while !first.ends_with(b":\n\r\n") {
        first.push(tcp.read_u8().await.unwrap());
    }
    tcp
}

/// Returns the data of all events of a response, which must be whole. The connection must go on after it.
async fn rest(mut tcp: TcpStream) -> Vec<String> {
    // With a small one, the system takes its time.
    SockRef::from(&tcp).set_recv_buffer_size(1 << 20).unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n0\r\n\r\n") {
        assert!(tcp.read_buf(&mut bytes).await.unwrap() > 0);
    }
    tcp.write_all(b"GET /nothing/here HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut next = String::new();
    tcp.read_to_string(&mut next).await.unwrap();
    assert!(next.starts_with("HTTP/1.1 404"), "{next}");
    let (mut body, mut left) = (Vec::new(), &bytes[..]);
    loop {
        let line = left.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&left[..line]).unwrap(), 16).unwrap();
        let chunk = &left[line + 2..];
        body.extend_from_slice(&chunk[..size]);
        assert_eq!(&chunk[size..size + 2], b"\r\n");
        left = &chunk[size + 2..];
        if size == 0 {
            break;
        }
    }
    assert!(left.is_empty());
    let lines = String::from_utf8(body).unwrap();
    lines.lines().filter_map(|line| Some(line.strip_prefix("data: ")?.to_owned())).collect()
}

async fn readers_get_everything_in_order() {
    let publisher = Publisher::builder().retention(Retention::new().events(EVENTS + 1).bytes(usize::MAX)).build();
    let layer = SseLayer::new(publisher.clone()).route(Route::new("/{channel}").keep_alive(KeepAlive::off())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&listener).set_send_buffer_size(4_096).unwrap();
    let (addr, server) = (listener.local_addr().unwrap(), Server::builder().stall_timeout(Duration::ZERO).build());
    let serving = tokio::spawn(server.serve(listener, layer.into_service()).into_future());

    let (mut at_once, mut late, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..READERS {
        let tcp = open(addr).await;
        match n % 3 {
            0 => at_once.push(tokio::spawn(rest(tcp))),
            1 => late.push(tcp),
            _ => left.push(tcp),
        }
    }
    let (half, is_half) = oneshot::channel();
    let publishing = tokio::spawn(async move {
        let channel = publisher.channel(CHANNEL);
        let mut half = Some(half);
        for n in 0..EVENTS {
            channel.send(Event::text(data(n))).await.unwrap();
            if n == EVENTS / 2 {
                half.take().into_iter().for_each(|half| half.send(()).unwrap());
            }
            // A reader gets some events one by one, and some together.
            if n % 5 > 0 {
                tokio::task::yield_now().await;
            }
        }
        channel.finish(Event::text("end")).await.unwrap();
    });
    is_half.await.unwrap();
    drop(left);
    publishing.await.unwrap();
    let expected: Vec<_> = (0..EVENTS).map(data).chain(["end".to_owned()]).collect();
    for reader in at_once {
        assert!(reader.await.unwrap() == expected);
    }
    let late: Vec<_> = late.into_iter().map(|tcp| tokio::spawn(rest(tcp))).collect();
    for reader in late {
        assert!(reader.await.unwrap() == expected);
    }
    serving.abort();
}

#[tokio::test]
async fn readers_that_are_woken_together_get_everything_in_order() {
    readers_get_everything_in_order().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_that_are_woken_together_on_several_threads_get_everything_in_order() {
    readers_get_everything_in_order().await;
}
