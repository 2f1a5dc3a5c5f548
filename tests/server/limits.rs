//! What the server does not put up with, in virtual time.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};
use tower_sse::server::Server;

use crate::{
    app::{Alive, app},
    raw::{Raw, settle},
};

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_is_closed_after_the_stall_timeout() {
    for target in ["/always", "/always?plain=yes"] {
        let (server, alive) = (Server::builder().stall_timeout(Duration::from_secs(7)).build(), Alive::default());
        let mut raw = Raw::with_room(&server, &alive, 1000);
        raw.send(format!("GET {target} HTTP/1.1\r\n\r\n")).await;
        let begin = Instant::now();
        raw.task.await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), 7);
        assert_eq!((alive.count(), server.stats().stalled, server.stats().connections), (0, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn many_readers_that_stall_at_once_are_closed_in_slices() {
    const MANY: usize = 1_000;
    // Twice as many as one slice wakes.
    const AT_ONCE: usize = 128;
    let (server, alive) = (Server::builder().stall_timeout(Duration::from_secs(7)).build(), Alive::default());
    let mut stalled = Vec::new();
    for _ in 0..MANY {
        let mut raw = Raw::with_room(&server, &alive, 1000);
        raw.send("GET /always HTTP/1.1\r\n\r\n").await;
        stalled.push(raw);
    }
    settle().await;
    let closing = tokio::spawn(async move {
        let mut left = server.stats().connections;
        assert_eq!(left, MANY);
        tokio::time::advance(Duration::from_millis(7_300)).await;
        while left > 0 {
            tokio::task::yield_now().await;
            let now = server.stats().connections;
            assert!(left - now <= AT_ONCE, "others run in between: {left}, {now}");
            left = now;
        }
        assert_eq!(server.stats().stalled, MANY as u64);
    });
    closing.await.unwrap();
}

/// I/O with a buffer of its own takes what is written, as TLS does, whether or not the peer reads.
#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_is_closed_although_the_io_takes_more() {
    for target in ["/much/ticks", "/much/ticks?plain=yes"] {
        let (server, alive) = (Server::builder().stall_timeout(Duration::from_secs(7)).build(), Alive::default());
        let (mut io, theirs) = tokio::io::duplex(1000);
        let theirs = tokio::io::BufWriter::with_capacity(4 << 20, theirs);
        let task = tokio::spawn(server.serve_connection(theirs, app(&alive)));
        io.write_all(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let begin = Instant::now();
        task.await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), 7, "{target}");
        assert_eq!((alive.count(), server.stats().stalled), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_but_reads_stays() {
    let (server, alive) = (Server::builder().stall_timeout(Duration::from_secs(7)).build(), Alive::default());
    let mut raw = Raw::with_room(&server, &alive, 1000);
    raw.send("GET /always HTTP/1.1\r\n\r\n").await;
    for _ in 0..20 {
        sleep(Duration::from_secs(6)).await;
        let mut buf = [0; 100];
        tokio::io::AsyncReadExt::read_exact(&mut raw.io, &mut buf).await.unwrap();
        settle().await;
    }
    assert_eq!((alive.count(), server.stats().stalled), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_or_half_a_head_is_closed() {
    for head in ["", "P", "GET /one HTTP/1.1\r\nhost"] {
        let server = Server::builder().head_timeout(Duration::from_secs(5)).build();
        let mut raw = Raw::new(&server, &Alive::default());
        raw.send(head).await;
        let begin = Instant::now();
        assert_eq!(raw.rest().await, "");
        raw.task.await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), 5, "{head:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_idle_between_requests_is_closed() {
    let server = Server::builder().head_timeout(Duration::from_secs(5)).build();
    let mut raw = Raw::new(&server, &Alive::default());
    raw.send("GET /one HTTP/1.1\r\n\r\n").await;
    raw.until("0\r\n\r\n").await;
    let begin = Instant::now();
    assert_eq!(raw.rest().await, "");
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::builder().max_head_bytes(0).build();
    let mut raw = Raw::new(&server, &Alive::default());
    raw.send(format!("GET /one HTTP/1.1\r\ncookie: {}\r\n\r\n", "x".repeat(10_000))).await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once() {
    let (server, alive) = (Server::builder().max_connections(2).build(), Alive::default());
    let (one, _two) = (Raw::new(&server, &alive), Raw::new(&server, &alive));
    let mut third = Raw::new(&server, &alive);
    assert_eq!(third.rest().await, "");
    let stats = server.stats();
    assert_eq!((stats.connections, stats.accepted, stats.refused), (2, 2, 1));
    drop(one.io);
    one.task.await.unwrap();
    let mut fourth = Raw::new(&server, &alive);
    fourth.send("GET /one HTTP/1.1\r\n\r\n").await;
    fourth.until("0\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_on_sending_after_the_close_is_heard_for_a_while() {
    for floods in [false, true] {
        let mut raw = Raw::new(&Server::new(), &Alive::default());
        raw.send("GET /one/later HTTP/1.1\r\nconnection: close\r\n\r\nmore").await;
        let begin = Instant::now();
        assert!(raw.rest().await.ends_with("0\r\n\r\n"));
        while floods && raw.io.write_all(&[b'x'; 1000]).await.is_ok() {}
        raw.task.await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), if floods { 0 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn times_that_never_come_are_no_limit() {
    let server = Server::builder().stall_timeout(Duration::MAX).head_timeout(Duration::MAX).build();
    let mut one = Raw::new(&server, &Alive::default());
    one.send("GET /one HTTP/1.1\r\n\r\n").await;
    one.until("0\r\n\r\n").await;
    let mut two = Raw::new(&server, &Alive::default());
    two.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(server.stats().connections, 2);
}

#[tokio::test(start_paused = true)]
async fn a_time_of_zero_is_no_limit() {
    let (server, alive) =
        (Server::builder().stall_timeout(Duration::ZERO).head_timeout(Duration::ZERO).build(), Alive::default());
    let mut stalled = Raw::with_room(&server, &alive, 1000);
    stalled.send("GET /always HTTP/1.1\r\n\r\n").await;
    let _silent = Raw::new(&server, &alive);
    let mut idle = Raw::new(&server, &alive);
    idle.send("GET /one HTTP/1.1\r\n\r\n").await;
    idle.until("0\r\n\r\n").await;
    let mut http2 = Raw::new(&server, &alive);
    http2.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!((server.stats().connections, server.stats().stalled), (4, 0));
}

#[tokio::test]
async fn a_socket_takes_every_stall_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for stall in [Duration::ZERO, Duration::from_secs(40_000), Duration::MAX] {
        let _client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let server = Server::builder().stall_timeout(stall).build();
        server.tune(&socket).unwrap_or_else(|error| panic!("{stall:?}: {error}"));
    }
}
