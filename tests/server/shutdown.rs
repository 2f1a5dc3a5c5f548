//! A server that shuts down: what is idle closes, streams end, and what is left is cut.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Instant,
};
use tower::Layer;
use tower_sse::{
    Event, Publisher, SseLayer,
    server::{Server, serve},
};

use crate::{
    app::{Alive, app},
    raw::{Raw, settle},
};

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn idle_connections_close_and_streams_end_with_their_bodies() {
    let (server, alive) = (Server::new(), Alive::default());
    let mut new = Raw::new(&server, &alive);
    let mut idle = Raw::new(&server, &alive);
    idle.send("GET /one HTTP/1.1\r\n\r\n").await;
    idle.until("0\r\n\r\n").await;
    let mut stream = Raw::new(&server, &alive);
    stream.send(format!("GET /one{}/end HTTP/1.1\r\n\r\n", "/later".repeat(1000))).await;
    stream.until("one\r\n").await;
    assert!(server.shutdown(GRACE).await, "all have ended");
    assert_eq!((new.rest().await, idle.rest().await), (String::new(), String::new()));
    assert_eq!(stream.rest().await, "3\r\nend\r\n0\r\n\r\n");
    let mut late = Raw::new(&server, &alive);
    assert_eq!(late.rest().await, "");
    assert_eq!((server.stats().connections, server.stats().streams, alive.count()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_cut_at_the_end_of_the_grace() {
    let (server, alive) = (Server::new(), Alive::default());
    let mut rest = Vec::new();
    for request in ["GET /wait HTTP/1.1\r\n\r\n", "GET /wait?plain=yes HTTP/1.1\r\n\r\n", "GET /half"] {
        let mut raw = Raw::new(&server, &alive);
        raw.send(request).await;
        rest.push(raw);
    }
    settle().await;
    let begin = Instant::now();
    assert!(!server.shutdown(GRACE).await, "some were left");
    assert_eq!(begin.elapsed(), GRACE);
    assert_eq!((server.stats().connections, server.stats().streams, alive.count()), (0, 0, 0));
    for mut raw in rest {
        assert!(!raw.rest().await.ends_with("0\r\n\r\n"));
        raw.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_may_be_closed_by_itself() {
    let server = Server::new();
    let (mut client, theirs) = tokio::io::duplex(1000);
    let mut connection = std::pin::pin!(server.serve_connection(theirs, app(&Alive::default())));
    client.write_all(b"GET /one/later/later/two HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(futures_util::poll!(connection.as_mut()).is_pending());
    connection.as_mut().graceful_shutdown();
    connection.await;
    let mut read = String::new();
    client.read_to_string(&mut read).await.unwrap();
    assert!(read.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{read}");
}

/// A server on a socket, and what stops it.
async fn served(
    publisher: &Publisher,
) -> (TcpListener, std::net::SocketAddr, tower_sse::SseService<tower_sse::NotFound>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = SseLayer::new(publisher.clone()).route("/sse/{channel}").unwrap().into_service();
    (listener, addr, app)
}

#[tokio::test]
async fn a_server_on_a_socket_says_goodbye_and_returns() {
    let publisher = Publisher::new();
    let (listener, addr, app) = served(&publisher).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::new();
    let serving = server
        .serve(listener, app)
        .publisher(&publisher)
        .grace(Duration::from_secs(60))
        .with_graceful_shutdown(async { _ = stopped.await });
    let serving = tokio::spawn(serving.into_future());

    let mut idle = TcpStream::connect(addr).await.unwrap();
    let mut reader = TcpStream::connect(addr).await.unwrap();
    reader.write_all(b"GET /sse/chat HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while publisher.connections() == 0 {
        tokio::task::yield_now().await;
    }
    publisher.channel("chat").send(Event::text("hello")).await.unwrap();
    stop.send(()).unwrap();
    let (mut read, mut nothing) = (String::new(), String::new());
    reader.read_to_string(&mut read).await.unwrap();
    idle.read_to_string(&mut nothing).await.unwrap();
    assert!(read.contains("data: hello\n"), "{read}");
    assert!(read.trim_end_matches("0\r\n\r\n").contains("retry: "), "{read}");
    assert!(read.ends_with("0\r\n\r\n") && nothing.is_empty(), "{read}");
    serving.await.unwrap().unwrap();
    let stats = server.stats();
    assert_eq!((stats.connections, stats.accepted, stats.detached, stats.streams), (0, 2, 1, 0));
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_server_without_connections_shuts_its_publishers_down_too() {
    let publisher = Publisher::new();
    let (listener, _, app) = served(&publisher).await;
    let serving = serve(listener, app).publisher(&publisher).with_graceful_shutdown(std::future::ready(()));
    serving.await.unwrap();
    let error = publisher.channel("chat").send(Event::text("late")).await.unwrap_err();
    assert!(error.is_shutting_down(), "{error}");
}

#[tokio::test]
async fn a_router_of_axum_can_be_served() {
    let publisher = Publisher::new();
    let (listener, addr, _) = served(&publisher).await;
    let router = axum::Router::new().route("/hello", axum::routing::post(|text: String| async move { text }));
    let layer = SseLayer::new(publisher.clone()).route("/sse/{channel}").unwrap();
    let inside = tokio::spawn(serve(listener, router.clone().layer(layer.clone())).into_future());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let around = listener.local_addr().unwrap();
    let outside = tokio::spawn(serve(listener, layer.layer(router)).into_future());
    for addr in [addr, around] {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        tcp.write_all(b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        tcp.write_all(b"GET /sse/chat HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"retry: 3000\n:\n\r\n") {
            assert_ne!(tcp.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
        }
    }
    inside.abort();
    outside.abort();
}
