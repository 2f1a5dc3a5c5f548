//! What has to be the same in each engine, and what is for one of them only.

use std::time::Duration;

use axum::{Router, response::Html, routing::get};
use serde_json::json;
use tokio::net::TcpListener;
use tower_sse::{Event, EventName, KeepAlive, Publisher, Route, SseLayer};

use crate::{driver::Browser, engine::Engine};

/// Serves the hub, and opens a page of its origin.
async fn open(browser: &Browser, publisher: &Publisher) {
    let ping = KeepAlive::every(Duration::from_millis(50)).event(EventName::from_static("ping"));
    let layer = SseLayer::new(publisher.clone())
        .route(Route::new("/events/{channel}").keep_alive(ping))
        .and_then(|layer| layer.route(Route::new("/shown").show_channel(true)))
        .unwrap();
    let app = Router::new().route("/", get(|| async { Html("<!doctype html><title>engines</title>") })).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { tower_sse::server::serve(listener, app).await });
    browser.open(&url).await;
}

async fn sees_a_keep_alive_event_that_leaves_the_last_id_alone(engine: Engine) {
    let Some(browser) = Browser::of(engine).await else { return };
    let publisher = Publisher::new();
    open(&browser, &publisher).await;
    let script = "window.got = [];
        window.source = new EventSource('/events/a');
        for (const name of ['message', 'ping', '-']) {
            source.addEventListener(name, (event) => got.push([event.type, event.data, event.lastEventId]));
        }";
    browser.run(script, vec![]).await;
    browser.until("got.length > 1").await;
    let first = browser.run("return got[0]", vec![]).await;
    assert_eq!(first, json!(["ping", "", ""]), "nothing else, also of what WebKit is sent first");
    let id = publisher.channel("a").send(Event::text("x")).await.unwrap().id.to_string();
    let pinged =
        browser.until("got.findIndex(([name]) => name === 'message') > -1 && got.at(-1)[0] === 'ping' && got").await;
    let got = pinged.as_array().unwrap();
    assert!(got.contains(&json!(["message", "x", id])), "{got:?}");
    assert_eq!(got.last(), Some(&json!(["ping", "", id])));
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_sees_a_keep_alive_event_that_leaves_the_last_id_alone() {
    sees_a_keep_alive_event_that_leaves_the_last_id_alone(Engine::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_sees_a_keep_alive_event_that_leaves_the_last_id_alone() {
    sees_a_keep_alive_event_that_leaves_the_last_id_alone(Engine::Firefox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webkit_sees_a_keep_alive_event_that_leaves_the_last_id_alone() {
    sees_a_keep_alive_event_that_leaves_the_last_id_alone(Engine::WebKit).await;
}

/// The name of an event is all that a page can tell channels apart by.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_listens_to_each_of_several_channels() {
    for engine in [Engine::Chromium, Engine::Firefox, Engine::WebKit] {
        let Some(browser) = Browser::of(engine).await else { continue };
        let publisher = Publisher::new();
        open(&browser, &publisher).await;
        let script = "window.got = [];
            window.source = new EventSource('/shown?channel=news&channel=a%3Ab');
            for (const name of ['message', 'news:message', 'news:update', 'a%3Ab:message']) {
                source.addEventListener(name, (event) => got.push([event.type, event.data]));
            }";
        browser.run(script, vec![]).await;
        browser.until("source.readyState === EventSource.OPEN").await;
        let update = Event::text("2").name(EventName::from_static("update"));
        for (channel, event) in [("news", Event::text("1")), ("news", update), ("a:b", Event::text("3"))] {
            publisher.channel(channel).send(event).await.unwrap();
        }
        let got = browser.until("got.length > 2 && got").await;
        assert_eq!(got, json!([["news:message", "1"], ["news:update", "2"], ["a%3Ab:message", "3"]]), "{engine:?}");
    }
}

/// The first bytes that `fetch` gets in an engine for a request that resumes.
async fn first_bytes_by_fetch(engine: Engine) -> Option<String> {
    let browser = Browser::of(engine).await?;
    let publisher = Publisher::new();
    open(&browser, &publisher).await;
    let id = publisher.channel("a").send(Event::text("x")).await.unwrap().id.to_string();
    let script = "const headers = { accept: 'text/event-stream', 'last-event-id': arguments[0] };
        fetch('/events/a', { headers }).then(async (response) => {
            const { value } = await response.body.getReader().read();
            window.first = new TextDecoder().decode(value);
        });";
    browser.run(script, vec![json!(id)]).await;
    Some(browser.until("window.first").await.as_str().unwrap().to_owned())
}

/// Clients on `fetch` parse the stream themselves, and some take the block that repairs WebKit's `EventSource` for an
/// event.
#[tokio::test(flavor = "multi_thread")]
async fn no_client_on_fetch_is_sent_what_repairs_the_event_source_of_webkit() {
    for engine in [Engine::WebKit, Engine::Chromium, Engine::Firefox] {
        let Some(first) = first_bytes_by_fetch(engine).await else { continue };
        assert!(first.starts_with("retry: 3000\n:\n"), "{engine:?}: {first:?}");
    }
}
