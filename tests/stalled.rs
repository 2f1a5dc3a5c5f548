//! Readers that never read cost no more than they may. By itself, since what is allocated is the whole process's.

#[path = "common/counting.rs"]
mod counting;

use counting::allocated;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tower_sse::{Event, Publisher, Retention, SseLayer};

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
    let before = allocated();
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
    let after = allocated();
    assert_eq!(server.publisher.connections(), STALLED + good.len());
    let each = after.saturating_sub(before) / STALLED;
    println!("{STALLED} readers that never read: {each} bytes each");
    assert!(each < EACH, "{each} bytes each, more than {EACH}");
    // They were behind, all of them: who reads on is told that the rest is gone.
    for reader in &mut stalled {
        read_to(reader, "event: gap").await;
    }
}
