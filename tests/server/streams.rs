//! A stream that is detached: it comes at once, ends as its body does, and frees what it took when the client leaves.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncWriteExt, duplex},
    task::yield_now,
};
use tower_sse::server::Server;

use crate::{
    app::{Alive, app},
    raw::{Raw, settle},
};

const GET: &str = "GET /one/wait HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn an_idle_stream_has_sent_what_there_is() {
    let (server, alive) = (Server::new(), Alive::default());
    let mut raw = Raw::new(&server, &alive);
    raw.send(GET).await;
    assert!(raw.until("3\r\none\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let stats = server.stats();
    assert_eq!((stats.connections, stats.streams, stats.accepted, stats.detached), (1, 1, 1, 1));
    assert!(format!("{server:?}").contains("streams: 1"));
}

#[tokio::test]
async fn a_stream_whose_body_waits_at_first_has_sent_its_head() {
    let mut raw = Raw::new(&Server::new(), &Alive::default());
    raw.send("GET /wait HTTP/1.1\r\n\r\n").await;
    assert!(raw.until("\r\n\r\n").await.contains("transfer-encoding: chunked"));
}

#[tokio::test]
async fn a_client_that_leaves_an_idle_stream_frees_it_at_once() {
    for early in ["", "GET"] {
        let (server, alive) = (Server::new(), Alive::default());
        let mut raw = Raw::new(&server, &alive);
        raw.send(GET).await;
        raw.until("one\r\n").await;
        assert_eq!(alive.count(), 1);
        if early.is_empty() {
            // Closing one direction is enough, as with hyper.
            raw.io.shutdown().await.unwrap();
            raw.task.await.unwrap();
            assert_eq!((alive.count(), server.stats().streams, server.stats().connections), (0, 0, 0));
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_has_no_last_chunk_and_ends_the_connection() {
    let (server, alive) = (Server::new(), Alive::default());
    for target in ["/one/break", "/one/later/break", "/one/two/later/three/break"] {
        let mut raw = Raw::new(&server, &alive);
        raw.send(format!("GET {target} HTTP/1.1\r\n\r\n")).await;
        let answer = raw.rest().await;
        // What came before is sent.
        let last = target.rsplit('/').find(|piece| piece.len() >= 3 && *piece != "break" && *piece != "later").unwrap();
        assert!(answer.ends_with(&format!("{last}\r\n")), "{answer}");
        raw.task.await.unwrap();
    }
    assert_eq!((alive.count(), server.stats().streams), (0, 0));
}

#[tokio::test]
async fn the_connection_of_a_stream_that_has_ended_takes_the_next_request() {
    let server = Server::new();
    let mut raw = Raw::new(&server, &Alive::default());
    for n in 0..10 {
        raw.send(format!("GET /{n}/later/two HTTP/1.1\r\n\r\n")).await;
        assert!(raw.until("0\r\n\r\n").await.ends_with(&format!("1\r\n{n}\r\n3\r\ntwo\r\n0\r\n\r\n")));
        raw.send("GET /plain?plain=yes HTTP/1.1\r\n\r\n").await;
        assert!(raw.until("0\r\n\r\n").await.ends_with("5\r\nplain\r\n0\r\n\r\n"));
    }
    assert_eq!((server.stats().detached, server.stats().accepted, server.stats().streams), (10, 1, 0));
}

#[tokio::test]
async fn requests_that_come_during_a_stream_are_answered_after_it() {
    let server = Server::new();
    let mut raw = Raw::new(&server, &Alive::default());
    raw.send("GET /one/later/later/later/later/later/two HTTP/1.1\r\n\r\n").await;
    raw.until("one\r\n").await;
    // More than is read during a stream.
    let cookie = "x".repeat(1000);
    for n in 0..5 {
        raw.send(format!("GET /{n} HTTP/1.1\r\ncookie: {cookie}\r\n\r\n")).await;
    }
    assert_eq!(raw.until("0\r\n\r\n").await, "3\r\ntwo\r\n0\r\n\r\n");
    for n in 0..5 {
        assert!(raw.until("0\r\n\r\n").await.ends_with(&format!("\r\n1\r\n{n}\r\n0\r\n\r\n")));
    }
}

/// After a long body, hyper reads more in one go than it does first on a connection.
#[tokio::test]
async fn requests_that_come_with_a_long_one_are_all_answered() {
    let more: String = (0..1_000).map(|n| format!("GET /{n} HTTP/1.1\r\n\r\n")).collect();
    for len in (20_000..40_000).step_by(4_000) {
        let mut raw = Raw::with_room(&Server::new(), &Alive::default(), 1 << 20);
        let body = "x".repeat(len);
        raw.send(format!("POST /one?read=all HTTP/1.1\r\ncontent-length: {len}\r\n\r\n{body}{more}")).await;
        assert!(raw.until("0\r\n\r\n").await.ends_with("x\r\n0\r\n\r\n"));
        for n in 0..1_000 {
            assert!(raw.until("0\r\n\r\n").await.ends_with(&format!("\r\n{n}\r\n0\r\n\r\n")), "{n} after {len}");
        }
    }
}

#[tokio::test]
async fn streams_that_end_at_once_leave_time_for_others() {
    const REQUESTS: u64 = 300;
    let server = Server::new();
    let (mut io, theirs) = duplex(1 << 20);
    io.write_all("GET /one HTTP/1.1\r\n\r\n".repeat(REQUESTS as usize).as_bytes()).await.unwrap();
    let mut connection = pin!(server.serve_connection(theirs, app(&Alive::default())));
    let mut before = 0;
    while before < REQUESTS {
        assert!(poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx))).await.is_pending());
        let now = server.stats().detached;
        assert!(now - before <= 16, "{} in one go", now - before);
        before = now;
        yield_now().await;
    }
}

#[tokio::test]
async fn a_large_body_arrives_through_a_small_pipe() {
    let mut raw = Raw::with_room(&Server::new(), &Alive::default(), 10);
    raw.send("GET /much HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    let answer = raw.rest().await;
    assert!(answer.ends_with(&format!("\r\n100000\r\n{}\r\n0\r\n\r\n", "x".repeat(1 << 20))));
}

#[tokio::test]
async fn a_body_that_always_has_something_leaves_time_for_others() {
    let (server, alive) = (Server::new(), Alive::default());
    let mut raw = Raw::with_room(&server, &alive, 1 << 24);
    raw.send("GET /always HTTP/1.1\r\n\r\n").await;
    raw.until("4000\r\n").await;
    drop(raw.io);
    raw.task.await.unwrap();
    assert_eq!(alive.count(), 0);
}

#[tokio::test]
async fn a_panic_of_the_application_ends_its_connection_only() {
    let (server, alive) = (Server::new(), Alive::default());
    let mut good = Raw::new(&server, &alive);
    good.send(GET).await;
    good.until("one\r\n").await;
    let mut bad = Raw::new(&server, &alive);
    bad.send("GET /panic HTTP/1.1\r\n\r\n").await;
    assert_eq!(bad.rest().await, "");
    assert!(bad.task.await.unwrap_err().is_panic());
    assert_eq!((server.stats().connections, server.stats().streams), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dropped_frees_its_stream() {
    let (server, alive) = (Server::new(), Alive::default());
    let mut raw = Raw::new(&server, &alive);
    raw.send(GET).await;
    raw.until("one\r\n").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(server.stats().streams, 1, "an idle stream stays");
    raw.task.abort();
    settle().await;
    assert_eq!((alive.count(), server.stats().streams, server.stats().connections), (0, 0, 0));
}
