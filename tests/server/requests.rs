//! The bodies of requests: a stream is detached once its request was read.

use tower_sse::server::Server;

use crate::{
    app::Alive,
    raw::{Raw, answer_to, settle},
};

/// Posts a body to both, and returns whether the answer was detached.
async fn post(target: &str, head: &str, body: &str) -> bool {
    let request = format!("POST {target} HTTP/1.1\r\nhost: x\r\n{head}\r\n{body}");
    let last = "GET /last?plain=yes HTTP/1.1\r\nconnection: close\r\n\r\n";
    let server = Server::new();
    let ours = answer_to(Raw::new(&server, &Alive::default()), &(request.clone() + last)).await;
    assert_eq!(ours, answer_to(Raw::by_hyper(), &(request.clone() + last)).await, "the answer to {request:?}");
    server.stats().detached > 0
}

#[tokio::test]
async fn a_stream_that_answers_a_request_whose_body_was_read_is_detached() {
    assert!(post("/one?read=yes", "content-length: 5\r\n", "hello").await);
    assert!(post("/one/later/two?read=yes", "content-length: 5\r\n", "hello").await);
    assert!(post("/one?read=yes", "content-length: 0\r\n", "").await);
    assert!(post("/one", "", "").await);
    assert!(post("/one?read=yes", "transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n").await);
    let trailers = "5\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n";
    assert!(post("/one?read=yes", "transfer-encoding: chunked\r\n", trailers).await);
    // The first piece is all of it.
    assert!(post("/one?half=yes", "content-length: 5\r\n", "hello").await);
}

#[tokio::test]
async fn a_stream_that_answers_a_request_whose_body_was_not_read_stays_with_hyper() {
    assert!(!post("/one", "content-length: 5\r\n", "hello").await);
    assert!(!post("/one?half=yes", "transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n").await);
}

#[tokio::test]
async fn a_request_that_could_be_smuggled_closes_the_connection() {
    let head = "content-length: 15\r\ntransfer-encoding: chunked\r\n";
    assert!(post("/one?read=yes", head, "5\r\nhello\r\n0\r\n\r\n").await);
    let head = "transfer-encoding: chunked\r\ncontent-length: 15\r\n";
    assert!(post("/one?read=yes", head, "5\r\nhello\r\n0\r\n\r\n").await);
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_before_it_sends_the_body() {
    let server = Server::new();
    let mut raw = Raw::new(&server, &Alive::default());
    raw.send("POST /one/later/two?read=yes HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(raw.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    raw.send("hello").await;
    assert!(raw.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(raw.until("0\r\n\r\n").await, "3\r\none\r\n3\r\ntwo\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(server.stats().detached, 1);
}

#[tokio::test]
async fn a_client_that_expects_100_and_is_not_heard_gets_the_stream_from_hyper() {
    let head = "expect: 100-continue\r\ncontent-length: 5\r\n";
    let request = format!("POST /one HTTP/1.1\r\n{head}\r\n");
    let server = Server::new();
    let ours = answer_to(Raw::new(&server, &Alive::default()), &request).await;
    assert_eq!(ours, answer_to(Raw::by_hyper(), &request).await);
    assert_eq!((server.stats().detached, server.stats().by_hyper), (0, 1));
}

/// hyper parses the first bytes that it reads. If the head is not complete then, it parses again only once it is.
#[tokio::test]
async fn an_invalid_head_that_begins_like_http2_is_refused_at_once() {
    let mut raw = Raw::new(&Server::new(), &Alive::default());
    for piece in ["P", "OST@/one\r\n"] {
        raw.send(piece).await;
        settle().await;
    }
    assert!(raw.rest().await.starts_with("HTTP/1.1 400 "));
}
