//! Chromium's parser reads back what was published, as the standard says: the same text, with each CR, LF and CRLF as
//! LF.

use axum::{Router, response::Html, routing::get};
use serde_json::json;
use tokio::net::TcpListener;
use tower_sse::{Event, EventName, Limits, Publisher, SseLayer};

use self::pieces::PIECES;
use crate::driver::Browser;

#[path = "../common/pieces.rs"]
mod pieces;

#[tokio::test(flavor = "multi_thread")]
async fn any_text_arrives_as_itself() {
    let Some(browser) = Browser::start().await else { return };
    let publisher = Publisher::builder().limits(Limits::default().event_bytes(4 << 20)).build();
    open(&browser, &publisher, &["message"]).await;
    let texts = texts();
    for text in &texts {
        publisher.channel("any").send(Event::text(text)).await.unwrap();
    }
    let got = browser.until(&format!("got.length === {} && got", texts.len())).await;
    for (text, got) in texts.iter().zip(got.as_array().unwrap()) {
        let wanted = text.replace("\r\n", "\n").replace('\r', "\n");
        assert!(got["data"] == *wanted, "of {:?} came {:?}", cut(text), cut(&got.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_under_any_name() {
    let Some(browser) = Browser::start().await else { return };
    let publisher = Publisher::new();
    let names = ["a", "agent.token", " leading", "trailing ", "a: b", ":", "data", "é 🦀", "\u{feff}", "open", "error"];
    open(&browser, &publisher, &names).await;
    for name in names {
        // An event without data would not fire: "If the data buffer is an empty string, set the data buffer and the
        // event type buffer to the empty string and return." Empty data is sent as one empty line, which does fire.
        publisher.channel("any").send(Event::text("").name(EventName::from_static(name))).await.unwrap();
    }
    let got = browser.until(&format!("got.length === {} && got", names.len())).await;
    for (name, got) in names.iter().zip(got.as_array().unwrap()) {
        assert_eq!((&got["name"], &got["data"]), (&json!(name), &json!("")));
    }
}

/// Serves the hub, and opens a page that collects the events in `got`.
async fn open(browser: &Browser, publisher: &Publisher, names: &[&str]) {
    let app = Router::new()
        .route("/", get(|| async { Html("<!doctype html><title>round trip</title>") }))
        .layer(SseLayer::new(publisher.clone()).route("/events/{channel}").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { tower_sse::server::serve(listener, app).await });
    browser.open(&url).await;
    let script = "window.got = [];
        window.source = new EventSource('/events/any');
        for (const name of arguments[0]) {
            source.addEventListener(name, (event) => {
                if (event instanceof MessageEvent) got.push({ name: event.type, data: event.data });
            });
        }";
    browser.run(script, vec![json!(names)]).await;
    browser.until("source.readyState === EventSource.OPEN").await;
}

/// Sixty texts: those that a person thinks of, and random combinations.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = PIECES.iter().map(|&piece| piece.to_owned()).collect();
    texts
        .extend(["", "\n\n\n", "\r\r\n\n", "a\nb", "a\rb", "a\r\nb", "ends\n", "ends\r", "ends\r\n"].map(String::from));
    texts.push((0u8..128).map(char::from).collect());
    texts.push("0123456789abcde\n".repeat(1 << 16));
    texts.push("x".repeat(1 << 20));
    // A small generator with a fixed seed, so that every run has the same texts.
    let mut state = 1u64;
    while texts.len() < 60 {
        let mut text = String::new();
        for _ in 0..1 + texts.len() % 12 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text.push_str(PIECES[usize::try_from(state >> 33).unwrap() % PIECES.len()]);
        }
        texts.push(text);
    }
    texts
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}
