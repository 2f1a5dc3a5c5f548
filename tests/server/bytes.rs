//! What a client gets is what hyper would have sent, byte for byte.

use tower_sse::server::Server;

use crate::{
    app::Alive,
    raw::{Raw, answer_to},
};

/// Sends a request over both, and returns the answer and whether it was detached.
async fn compare(request: &str) -> (String, bool) {
    let server = Server::new();
    let ours = answer_to(Raw::new(&server, &Alive::default()), request).await;
    let by_hyper = answer_to(Raw::by_hyper(), request).await;
    assert_eq!(ours, by_hyper, "the answer to {request:?}");
    let stats = server.stats();
    assert_eq!((stats.connections, stats.streams), (0, 0));
    (ours, stats.detached > 0)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_detached_stream_is_the_same_bytes() {
    for target in [
        "/one",
        "/one/two/later/three",
        "/later/one",
        "/empty/one/empty",
        "/empty",
        "/",
        "/one/trailers/never",
        "/sixteen-letters!/seventeen-letters",
        "/one?x-one=1&x-two=2&x-one=3",
        "/one?connection=keep-alive",
        "/one?connection=close",
        "/one?connection=x-y&connection=z",
        "/one?date=yesterday",
        "/one?status=201",
        "/one?status=404",
        "/one?status=599",
        "/one?set-cookie=a&set-cookie=b",
        "/one?cache-control=no-cache,+no-transform",
    ] {
        let (answer, detached) = compare(&get(target)).await;
        assert!(detached, "{target}");
        assert!(answer.contains("\r\ntransfer-encoding: chunked\r\n"), "{answer}");
        assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn what_has_a_size_or_a_framing_of_its_own_stays_with_hyper() {
    for target in [
        "/one?plain=yes",
        "/one?plain=yes&content-type=text/plain",
        "/one?exact=yes",
        "/one?content-length=3",
        "/one?transfer-encoding=gzip",
        "/one?trailer=x-sum",
        "/one?version=1.0",
        "/one?version=2",
        "/?status=204",
        "/?status=304",
    ] {
        let (_, detached) = compare(&get(target)).await;
        assert!(!detached, "{target}");
    }
}

#[tokio::test]
async fn a_head_has_the_headers_of_the_stream() {
    let request = "HEAD /one HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let (answer, detached) = compare(request).await;
    assert!(!detached && answer.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_stream_that_ends_with_the_connection() {
    for connection in ["", "connection: keep-alive\r\n"] {
        let (answer, detached) = compare(&format!("GET /one/later/two HTTP/1.0\r\n{connection}\r\n")).await;
        assert!(detached);
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nonetwo"), "{answer}");
    }
}

#[tokio::test]
async fn requests_that_were_sent_ahead_are_answered_one_after_the_other() {
    let mut all = String::new();
    for target in ["/one", "/plain?exact=yes", "/two/later/three", "/four", "/five?plain=yes"] {
        all += &format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    all += &get("/last");
    let (answer, detached) = compare(&all).await;
    assert!(detached);
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 6);
}

#[tokio::test]
async fn a_request_that_is_none_is_answered_as_by_hyper() {
    for request in [
        "",
        "\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI",
        "GET /one HTTP/1.1\r\nhost",
        "GET /one HTTP/3.7\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET /one HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let ours = {
            let mut raw = Raw::new(&Server::new(), &Alive::default());
            raw.send(request).await;
            tokio::io::AsyncWriteExt::shutdown(&mut raw.io).await.unwrap();
            raw.rest().await
        };
        let by_hyper = {
            let mut raw = Raw::by_hyper();
            raw.send(request).await;
            tokio::io::AsyncWriteExt::shutdown(&mut raw.io).await.unwrap();
            raw.rest().await
        };
        assert_eq!(ours, by_hyper, "the answer to {request:?}");
    }
}

#[tokio::test]
async fn the_head_may_come_in_two_pieces_at_any_place() {
    let request = "GET /one HTTP/1.1\r\nhost: x\r\n\r\nGET /two HTTP/1.1\r\nconnection: close\r\n\r\n";
    let whole = answer_to(Raw::by_hyper(), request).await;
    for at in 1..request.len() {
        let mut raw = Raw::new(&Server::new(), &Alive::default());
        raw.send(&request[..at]).await;
        crate::raw::settle().await;
        raw.send(&request[at..]).await;
        assert_eq!(raw.rest().await, whole, "split at {at}");
    }
}
