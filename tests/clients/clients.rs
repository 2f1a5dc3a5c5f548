//! Clients that people use, each through a network that cuts, stalls and trickles: each of them ends up with every
//! event once and in order.
//!
//! `scripts/install-clients` installs those that no system package provides. A test whose client is missing says loudly
//! that it is left out, and fails if `TOWER_SSE_REQUIRE_CLIENTS` is 1.

mod client;
#[path = "../browser/driver.rs"]
#[allow(dead_code)]
mod driver;
#[path = "../browser/engine.rs"]
mod engine;
mod network;
mod server;

use std::time::Duration;

use client::Client;
use network::{Fault, Network};
use server::Server;
use tokio::time::timeout;

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(60);

/// Cuts after every byte of a response's first events, and faults that are worse than a cut.
fn faults(kind: client::Kind) -> Vec<Fault> {
    // The head has between 180 and 320 bytes, and a cut is the same at most of them. Chromium and Firefox may close for
    // good there: see `browsers_give_up_when_a_head_breaks_off`.
    let in_head = (20..180).step_by(20).map(Fault::Cut).filter(|_| !kind.takes_half_a_head() && !kind.is_slow());
    let from = if kind.takes_half_a_head() { 320 } else { 180 };
    let in_events = (from..520).flat_map(|bytes| {
        let reset = (bytes % 10 == 0).then_some(Fault::Reset(bytes));
        [Some(Fault::Cut(bytes)), reset].into_iter().flatten()
    });
    let slow = [Fault::Stall(400), Fault::Trickle(3_000), Fault::Stall(0), Fault::Trickle(500), Fault::Trickle(501)];
    // First the client has to learn how soon it may reconnect.
    let all = [Fault::Cut(400), Fault::Cut(0)].into_iter().chain(in_head).chain(in_events).chain(slow);
    if kind.is_slow() { all.step_by(14).collect() } else { all.collect() }
}

/// Removes the events named `-`, which end what WebKit kept of a cut event. Only this test's page listens to that name.
fn drop_repaired(kind: client::Kind, got: &mut Vec<server::Received>) {
    if kind == client::Kind::WebKit {
        got.retain(|event| event.name != "-");
    }
}

/// Waits until the client has met every fault. It is stuck once it meets none for a while: how long all of them take depends
/// on how soon the client reconnects.
async fn until_spent(network: &Network) {
    loop {
        let left = network.left();
        if timeout(STUCK, network.spent()).await.is_ok() {
            return;
        }
        assert!(network.left() < left, "{left} faults are left");
    }
}

/// Runs a client through all faults.
async fn gets_every_event_once_and_in_order(kind: client::Kind) {
    let server = Server::start().await;
    let network = Network::to(server.port, faults(kind), kind.commits_early()).await;
    let url = format!("http://127.0.0.1:{}/all/chat", network.port);
    let Some(mut client) = Client::start(kind, &url, &server.url("/")).await else { return };
    until_spent(&network).await;
    server.finish().await;
    let mut got = timeout(STUCK, client.until_end()).await.expect("the last event comes");
    drop_repaired(kind, &mut got);
    let sent = server.sent();
    assert!(sent.len() > 500, "only {} events for so many connections", sent.len());
    for (n, (got, sent)) in got.iter().zip(&sent).enumerate() {
        assert_eq!(got, sent, "event {n}");
    }
    assert_eq!(got.len(), sent.len());
    if kind.stops_at_204() {
        timeout(STUCK, client.until_closed()).await.expect("it stops at a 204");
    } else {
        // It keeps asking, and gets the same answer.
        timeout(STUCK, server.until_answered(204, 3)).await.expect("it asks again");
    }
    assert!(server.answered(204) > 0, "it was told to stop");
}

/// Cuts before the blank line, which is the one place where a client loses the event if it commits an id as soon as its
/// line arrives. For such clients the test checks that the table in docs/reliability.md is still true.
async fn is_cut_before_a_blank_line(kind: client::Kind) {
    let server = Server::start().await;
    let network = Network::to(server.port, vec![Fault::BeforeBlankLine], false).await;
    let url = format!("http://127.0.0.1:{}/all/chat", network.port);
    let Some(mut client) = Client::start(kind, &url, &server.url("/")).await else { return };
    until_spent(&network).await;
    server.finish().await;
    let mut got = timeout(STUCK, client.until_end()).await.expect("the last event comes");
    drop_repaired(kind, &mut got);
    let lost = usize::from(kind.commits_early());
    assert_eq!(got, server.sent()[lost..]);
}

/// Cuts right after the announced cursor, before any event. The client gets everything that is published before it is
/// back.
async fn resumes_from_the_announced_cursor(kind: client::Kind) {
    let server = Server::start_quiet().await;
    let network = Network::to(server.port, vec![Fault::AfterEvent], false).await;
    let url = format!("http://127.0.0.1:{}/announced/chat", network.port);
    let Some(mut client) = Client::start(kind, &url, &server.url("/")).await else { return };
    until_spent(&network).await;
    // One event is published before each answer, and one after it.
    timeout(STUCK, server.until_answered(200, 2)).await.expect("the client comes back");
    server.finish().await;
    let got = timeout(STUCK, client.until_end()).await.expect("the last event comes");
    let sent = server.sent();
    let (cursor, got) = got.split_first().unwrap();
    assert_eq!((cursor.name.as_str(), cursor.data.as_str()), ("cursor", ""));
    let start = sent.iter().position(|event| event.id == cursor.id).unwrap();
    assert_eq!(got, &sent[start + 1..]);
}

async fn reads_a_stream_that_declares_its_charset(kind: client::Kind) {
    let server = Server::start_quiet().await;
    let url = server.url("/declared/chat");
    let Some(mut client) = Client::start(kind, &url, &server.url("/")).await else { return };
    timeout(STUCK, server.until_answered(200, 1)).await.expect("the client asks");
    server.finish().await;
    let got = timeout(STUCK, client.until_end()).await.expect("the last event comes");
    assert_eq!(got, server.sent());
}

/// This is why a stream's type is bare by default: `response.headers.get('content-type') === EventStreamContentType`.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_check_of_fetch_event_source_takes_only_the_bare_type() {
    let server = Server::start_quiet().await;
    let kind = client::Kind::NpmFetchEventSourceChecked;
    let Some(mut client) = Client::start(kind, &server.url("/declared/chat"), &server.url("/")).await else { return };
    timeout(STUCK, client.until_closed()).await.expect("it takes the answer for no stream");
    let Some(mut client) = Client::start(kind, &server.url("/all/chat"), &server.url("/")).await else { return };
    timeout(STUCK, server.until_answered(200, 2)).await.expect("the client asks");
    server.finish().await;
    let got = timeout(STUCK, client.until_end()).await.expect("the last event comes");
    assert_eq!(got, server.sent());
}

/// This is why a route can declare the charset: `requests` reads a text without one as Latin-1.
#[tokio::test(flavor = "multi_thread")]
async fn pythons_sseclient_reads_utf_8_only_where_it_is_declared() {
    for (path, right) in [("/declared/chat", true), ("/all/chat", false)] {
        let server = Server::start_quiet().await;
        let kind = client::Kind::PythonSseclient;
        let Some(mut client) = Client::start(kind, &server.url(path), &server.url("/")).await else { return };
        timeout(STUCK, server.until_answered(200, 1)).await.expect("the client asks");
        // The third event is not ASCII.
        server.publish();
        server.finish().await;
        let got = timeout(STUCK, client.until_end()).await.expect("the last event comes");
        let data: Vec<_> = got.iter().map(|event| &event.data).collect();
        let crab = data.iter().any(|data| data.contains('🦀'));
        assert_eq!(crab, right, "{path}: {data:?}");
    }
}

/// Over plain HTTP/1.1, Chromium and Firefox take a head that breaks off for a complete one. Without its content type
/// they have to "fail the connection", and the page has to make a new `EventSource`.
async fn gives_up_when_a_head_breaks_off(kind: client::Kind, fault: Fault) {
    let server = Server::start().await;
    let network = Network::to(server.port, vec![fault], false).await;
    let url = format!("http://127.0.0.1:{}/all/chat", network.port);
    let Some(mut client) = Client::start(kind, &url, &server.url("/")).await else { return };
    timeout(STUCK, client.until_closed()).await.expect("it gives up");
    until_spent(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_give_up_when_a_head_breaks_off() {
    gives_up_when_a_head_breaks_off(client::Kind::Chromium, Fault::Cut(20)).await;
    gives_up_when_a_head_breaks_off(client::Kind::Firefox, Fault::Cut(20)).await;
    // Chromium reconnects after a reset.
    gives_up_when_a_head_breaks_off(client::Kind::Firefox, Fault::Reset(20)).await;
}

macro_rules! clients {
    ($($name:ident: $kind:ident,)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn gets_every_event_once_and_in_order() {
                super::gets_every_event_once_and_in_order(client::Kind::$kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn is_cut_before_a_blank_line() {
                super::is_cut_before_a_blank_line(client::Kind::$kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn resumes_from_the_announced_cursor() {
                super::resumes_from_the_announced_cursor(client::Kind::$kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn reads_a_stream_that_declares_its_charset() {
                super::reads_a_stream_that_declares_its_charset(client::Kind::$kind).await;
            }
        })*
    };
}

clients! {
    chromium: Chromium,
    firefox: Firefox,
    webkit: WebKit,
    curl_http1: CurlHttp1,
    curl_http2: CurlHttp2,
    npm_eventsource: NpmEventsource,
    npm_eventsource_client: NpmEventsourceClient,
    npm_event_source_polyfill: NpmEventSourcePolyfill,
    npm_fetch_event_source: NpmFetchEventSource,
    python_httpx_sse: PythonHttpxSse,
    rust_eventsource_client: RustEventsourceClient,
}
