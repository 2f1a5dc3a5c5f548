//! Readers that never read cost no more than their bound. A program of its own, as the allocator counts for the
//! process.

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

/// A server of a hub in this process, which accepts one connection after the other.
struct Server {
    publisher: Publisher,
    listener: TcpListener,
    served: JoinSet<hyper::Result<()>>,
    sent: usize,
}

impl Server {
    /// What hyper may buffer for a connection, as the crate's own server sets it.
    const BUFFER: usize = 16 << 10;

    /// A reader whose request was answered. If it is not to read on, the sockets between it and the server buffer as
    /// little as possible.
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

    /// Sends forty events of ten thousand bytes. The good readers get each of them, and no gap.
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

/// Reads until that text has arrived, with everything around it.
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
    // The body gives hyper at most two chunks at once; the rest is what an open connection costs.
    const EACH: usize = Server::BUFFER + (64 << 10) + (40 << 10);
    let publisher = Publisher::builder().retention(Retention::new().events(100)).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server { publisher, listener, served: JoinSet::new(), sent: 0 };
    let mut good = Vec::new();
    for _ in 0..10 {
        good.push(server.connect(true).await);
    }
    // The history is held with or without readers.
    for _ in 0..5 {
        server.send(&mut good).await;
    }
    let before = allocated();
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(server.connect(false).await);
        // More than a reader may cost, so that it shares nothing with the next one.
        server.send(&mut good).await;
    }
    // Afterwards the history no longer contains what the last reader keeps.
    for _ in 0..5 {
        server.send(&mut good).await;
    }
    let after = allocated();
    assert_eq!(server.publisher.connections(), STALLED + good.len());
    let each = after.saturating_sub(before) / STALLED;
    println!("{STALLED} readers that never read: {each} bytes each");
    assert!(each < EACH, "each costs {each} bytes, more than {EACH}");
    // All of them were behind: one that reads on is told that the rest is gone.
    for reader in &mut stalled {
        read_to(reader, "event: gap").await;
    }
}
