//! HTTP/2 stays with hyper, within the same limits.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncWriteExt, duplex},
    task::JoinHandle,
    time::Instant,
};
use tower_sse::server::Server;

use crate::{
    app::{Alive, app},
    raw::{Raw, settle},
};

/// A client whose streams have room for `window` bytes, and the task of its connection.
async fn connect(server: &Server, alive: &Alive, window: u32) -> (SendRequest<Empty<Bytes>>, JoinHandle<()>) {
    let (io, theirs) = duplex(1 << 20);
    let task = tokio::spawn(server.serve_connection(theirs, app(alive)));
    let mut builder = Builder::new(TokioExecutor::new());
    let (client, connection) = builder.initial_stream_window_size(window).handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(async { drop(connection.await) });
    (client, task)
}

async fn get(client: &mut SendRequest<Empty<Bytes>>, path: &str) -> Response<Incoming> {
    let request = Request::get(format!("http://x{path}")).body(Empty::new()).unwrap();
    client.send_request(request).await.unwrap()
}

async fn text(response: Response<Incoming>) -> Result<String, hyper::Error> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn streams_and_other_responses_are_served() {
    let (server, alive) = (Server::new(), Alive::default());
    let (mut client, _) = connect(&server, &alive, 1 << 16).await;
    assert_eq!(text(get(&mut client, "/one/later/two").await).await.unwrap(), "onetwo");
    let response = get(&mut client, "/page?plain=yes&status=404").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(text(response).await.unwrap(), "page");
    let breaks_off = Request::get("http://x/one/break").body(Empty::new()).unwrap();
    let broken = async { text(client.send_request(breaks_off).await?).await };
    assert!(broken.await.is_err());
    let stats = server.stats();
    assert_eq!((stats.connections, stats.detached, stats.by_hyper, stats.streams), (1, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_its_client_does_not_read_is_reset_and_the_others_stay() {
    let (server, alive) = (Server::builder().stall_timeout(Duration::from_secs(7)).build(), Alive::default());
    let (mut client, _) = connect(&server, &alive, 1000).await;
    let stalled = get(&mut client, "/always").await;
    let idle = get(&mut client, "/one/wait").await;
    // A page has all the time that its client needs.
    let page = get(&mut client, "/always?plain=yes").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((server.stats().stalled, alive.count()), (1, 2));
    assert!(text(stalled).await.is_err());
    assert_eq!(text(get(&mut client, "/more").await).await.unwrap(), "more");
    drop((idle, page));
    settle().await;
    assert_eq!(alive.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_now_and_then_stays() {
    let (server, alive) = (Server::builder().stall_timeout(Duration::from_secs(7)).build(), Alive::default());
    let (mut client, _) = connect(&server, &alive, 1 << 15).await;
    let mut body = get(&mut client, "/always").await.into_body();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(6)).await;
        let mut read = 0;
        while read < 1 << 15 {
            read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
    }
    assert_eq!((server.stats().stalled, alive.count()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_a_ping_is_gone() {
    let (server, alive) = (Server::builder().stall_timeout(Duration::from_secs(7)).build(), Alive::default());
    let mut raw = Raw::new(&server, &alive);
    // The preface in two pieces, empty settings, and nothing more.
    raw.send("PRI * HTTP/2.0\r\n\r\n").await;
    settle().await;
    raw.send("SM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let begin = Instant::now();
    raw.task.await.unwrap();
    assert!(begin.elapsed() <= Duration::from_secs(8), "{:?}", begin.elapsed());
    assert_eq!(server.stats().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_connection_with_its_streams() {
    let (server, alive) = (Server::new(), Alive::default());
    let (mut client, task) = connect(&server, &alive, 1 << 16).await;
    let (_idle, idle) = connect(&server, &alive, 1 << 16).await;
    let stream = get(&mut client, &format!("/one{}/end", "/later".repeat(100))).await;
    let begin = Instant::now();
    assert!(server.shutdown(Duration::from_secs(10)).await);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(text(stream).await.unwrap(), "oneend");
    task.await.unwrap();
    idle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_streams_that_do_not_end() {
    let (server, alive) = (Server::new(), Alive::default());
    let (mut client, task) = connect(&server, &alive, 1 << 16).await;
    let stream = get(&mut client, "/one/wait").await;
    assert!(!server.shutdown(Duration::from_secs(10)).await);
    assert!(text(stream).await.is_err());
    task.await.unwrap();
    settle().await;
    assert_eq!((alive.count(), server.stats().connections), (0, 0));
}

#[tokio::test]
async fn a_client_may_not_have_too_many_requests_open() {
    let (server, alive) = (Server::builder().max_streams(3).build(), Alive::default());
    let (mut client, _) = connect(&server, &alive, 1 << 16).await;
    let mut open = Vec::new();
    // The client learns of the limit with the first response.
    for _ in 0..3 {
        open.push(get(&mut client, "/one/wait").await);
    }
    let mut more = Box::pin(async { get(&mut client, "/more").await.status() });
    assert!(futures_util::poll!(more.as_mut()).is_pending());
    settle().await;
    assert!(futures_util::poll!(more.as_mut()).is_pending());
    assert_eq!(alive.count(), 3);
    open.pop();
    assert_eq!(more.await, StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_preface_goes_to_hyper_with_its_first_bytes() {
    let mut raw = Raw::new(&Server::new(), &Alive::default());
    raw.send("PR").await;
    settle().await;
    raw.send("OPFIND /one HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    raw.io.flush().await.unwrap();
    assert!(raw.rest().await.ends_with("3\r\none\r\n0\r\n\r\n"));
}
