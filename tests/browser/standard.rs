//! What the web-platform-tests (`eventsource/`) ask of a browser, asked of browser and server together: requests,
//! credentials, other origins, redirects, status codes, reconnecting, leaving; and what a stream means.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tower_http::cors::CorsLayer;
use tower_sse::{
    AuthorizeRequest, ChannelName, CustomId, Denied, Event, Grant, OpenOptions, Publisher, Route, SseLayer,
    authorizer_fn,
};

use self::cases::CASES;
use crate::{
    driver::{Browser, SOON},
    engine::Engine,
    proxy::Proxy,
};

#[path = "../common/standard.rs"]
mod cases;

/// A server, a browser on its page, and the requests that arrived.
struct World {
    browser: Browser,
    publisher: Publisher,
    port: u16,
    requests: Requests,
}

type Requests = Arc<Mutex<Vec<(Method, String, HeaderMap)>>>;

impl World {
    async fn start() -> Option<Self> {
        Self::of(Engine::Chromium).await
    }

    async fn of(engine: Engine) -> Option<Self> {
        let browser = Browser::of(engine).await?;
        let publisher = Publisher::new();
        let requests = Requests::default();
        let port = serve(publisher.clone(), requests.clone(), None).await;
        let world = Self { browser, publisher, port, requests };
        world.browser.open(&world.url("/")).await;
        Some(world)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Makes a source that collects events in `got`: messages as `[name, data, id]`, others by their name.
    async fn listen(&self, url: &str, credentials: bool) {
        let script = "window.source?.close();
            window.got = [];
            window.errors = 0;
            window.source = new EventSource(arguments[0], { withCredentials: arguments[1] });
            source.onopen = () => got.push('open');
            source.onerror = () => { window.errors += 1; };
            for (const name of ['message', 'y', 'gap', 'goodbye']) {
                source.addEventListener(name, (event) => got.push([event.type, event.data, event.lastEventId]));
            }";
        self.browser.run(script, vec![json!(url), json!(credentials)]).await;
    }

    async fn open(&self, url: &str) {
        self.listen(url, false).await;
        self.browser.until("got[0] === 'open' && source.readyState === EventSource.OPEN").await;
    }

    /// Waits until the source is closed for good, and returns the number of errors and what it got.
    async fn closed(&self) -> Value {
        self.browser.until("source.readyState === EventSource.CLOSED").await;
        self.browser.run("return [errors, got]", vec![]).await
    }

    async fn send(&self, event: Event) -> String {
        self.publisher.channel("chat").send(event).await.unwrap().id.to_string()
    }

    /// The headers of the requests for that path.
    fn asked(&self, path: &str) -> Vec<(Method, HeaderMap)> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|(_, asked, _)| asked == path)
            .map(|(method, _, headers)| (method.clone(), headers.clone()))
            .collect()
    }
}

/// Serves everything that the tests need; with `cors`, as another origin.
async fn serve(publisher: Publisher, requests: Requests, cors: Option<CorsLayer>) -> u16 {
    let soon = |pattern: &str| Route::new(pattern).retry(Duration::from_millis(10));
    let layer = SseLayer::new(publisher)
        .route(soon("/events/{channel}"))
        .and_then(|layer| layer.route(soon("/one/{channel}").options(OpenOptions::new().max_per_channel(1))))
        .and_then(|layer| layer.route(soon("/private").channel(ChannelName::from_static("chat"))))
        .unwrap()
        .authorizer(authorizer_fn(authorize));
    let app = Router::new()
        .route("/", get(page))
        .route("/case/{n}", get(case))
        .route("/redirect/{status}", get(redirect))
        .route("/status/{status}", get(|Path(status): Path<u16>| async move { StatusCode::from_u16(status).unwrap() }))
        .route("/text", get(|| async { "data: a\n\n" }))
        .layer(layer)
        .layer(middleware::from_fn_with_state(requests, remember));
    let app = match cors {
        Some(cors) => app.layer(cors),
        None => app,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async { axum::serve(listener, app).await });
    port
}

async fn remember(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    requests.lock().unwrap().push((request.method().clone(), path, request.headers().clone()));
    next.run(request).await
}

/// `/private` needs the cookie, and some channels are for nobody.
async fn authorize(request: AuthorizeRequest) -> Result<Grant, Denied> {
    let cookie = request.headers().get(header::COOKIE).and_then(|cookie| cookie.to_str().ok());
    match request.channels().first().map(ChannelName::as_str) {
        Some("unauthorized") => Err(Denied::unauthorized()),
        Some("forbidden") => Err(Denied::forbidden()),
        Some("missing") => Err(Denied::not_found()),
        _ if request.uri().path() == "/private" && cookie != Some("who=ana") => Err(Denied::forbidden()),
        _ => Ok(request.grant()),
    }
}

/// A page in another encoding than a stream's.
async fn page() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html; charset=windows-1252")], "<!doctype html><title>standard</title>")
}

async fn case(Path(n): Path<usize>) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], CASES[n].1).into_response()
}

async fn redirect(Path(status): Path<u16>) -> Response {
    let mut response = Redirect::to("/events/chat").into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_reads_the_standards_streams_as_the_tests_expect() {
    reads_the_standards_streams_as_the_tests_expect(Engine::Chromium).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_reads_the_standards_streams_as_the_tests_expect() {
    reads_the_standards_streams_as_the_tests_expect(Engine::Firefox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webkit_reads_the_standards_streams_as_the_tests_expect() {
    reads_the_standards_streams_as_the_tests_expect(Engine::WebKit).await;
}

/// Firefox drops every NUL, and ignores the id of a block without data.
const FIREFOX_DIFFERS: [&str; 3] = [
    "NUL is data like any other",
    "an id stays until there is another, and an empty one ends it",
    "an id with NUL is none",
];

async fn reads_the_standards_streams_as_the_tests_expect(engine: Engine) {
    let Some(world) = World::of(engine).await else { return };
    for (n, (what, _, events)) in CASES.iter().enumerate() {
        world.listen(&format!("/case/{n}"), false).await;
        // The stream has ended.
        world.browser.until("errors > 0").await;
        let got = world.browser.run("source.close(); return got.filter((event) => event !== 'open')", vec![]).await;
        let differs = engine == Engine::Firefox && FIREFOX_DIFFERS.contains(what);
        assert_eq!(got == json!(events), !differs, "{what}: {got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_request_is_answered_with_a_stream() {
    let Some(world) = World::start().await else { return };
    world.browser.run("document.cookie = 'who=ana'", vec![]).await;
    world.open("/private").await;
    let id = world.send(Event::text("é")).await;
    assert_eq!(world.browser.until("got.length === 2 && got[1]").await, json!(["message", "é", id]));
    let (method, headers) = world.asked("/private").pop().unwrap();
    assert_eq!(method, Method::GET);
    assert_eq!(headers[header::ACCEPT], "text/event-stream");
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
    assert!(!headers.contains_key("last-event-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_reconnects_with_the_last_id_after_the_time_it_was_told() {
    let Some(world) = World::start().await else { return };
    let network = Proxy::to(world.port).await;
    world.browser.open(&format!("http://127.0.0.1:{}/", network.port)).await;
    world.open("/events/chat").await;
    let mut ids = vec![world.send(Event::text("own id")).await];
    // An id of the application's own, and a short time, as the next reconnect would otherwise take too long.
    let told = Event::text("custom id").id(CustomId::from_static("a.b_c-1")).retry(Duration::from_millis(5));
    ids.push(world.send(told).await);
    for round in 0..3 {
        let came = 2 + 2 * round + 1;
        world.browser.until(&format!("got.length === {came}")).await;
        let last = ids.last().unwrap().clone();
        network.cut();
        world.browser.until("source.readyState === EventSource.CONNECTING && errors > 0").await;
        ids.push(world.send(Event::text(format!("missed {round}"))).await);
        network.mend(world.port);
        world.browser.until(&format!("got.length === {} && errors > 0", came + 2)).await;
        let (_, headers) = world.asked("/events/chat").pop().unwrap();
        assert_eq!(headers["last-event-id"], *last);
    }
    let got = world.browser.run("return got", vec![]).await;
    let heard: Vec<&Value> = got.as_array().unwrap().iter().filter(|event| event.is_array()).collect();
    let heard_ids: Vec<&str> = heard.iter().map(|event| event[2].as_str().unwrap()).collect();
    assert_eq!(heard_ids, ids);
    assert_eq!(got.as_array().unwrap().iter().filter(|event| **event == "open").count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_origin_reads_where_cors_lets_it() {
    let Some(world) = World::start().await else { return };
    world.browser.run("document.cookie = 'who=ana'", vec![]).await;
    let origin: HeaderValue = world.url("").parse().unwrap();
    let (open, with_credentials) = (Requests::default(), Requests::default());
    let cors = CorsLayer::new().allow_origin(tower_http::cors::Any);
    let anybody = serve(world.publisher.clone(), open.clone(), Some(cors)).await;
    let cors = CorsLayer::new().allow_origin(origin).allow_credentials(true);
    let ours = serve(world.publisher.clone(), with_credentials.clone(), Some(cors)).await;
    let none = serve(world.publisher.clone(), Requests::default(), None).await;
    let at = |port: u16, path: &str| format!("http://127.0.0.1:{port}{path}");

    // Without CORS headers no page of another origin reads anything.
    world.listen(&at(none, "/events/chat"), false).await;
    assert_eq!(world.closed().await, json!([1, []]));
    // With `*`, and with a reconnect that has an id: there was no preflight, since ids need none.
    let network = Proxy::to(anybody).await;
    world.open(&at(network.port, "/events/chat")).await;
    world.send(Event::text("a")).await;
    world.browser.until("got.length === 2").await;
    network.cut();
    world.browser.until("errors > 0").await;
    network.mend(anybody);
    world.browser.until("got.length === 3").await;
    let asked: Vec<Method> = open.lock().unwrap().iter().map(|(method, _, _)| method.clone()).collect();
    assert_eq!(asked, [Method::GET, Method::GET]);
    assert!(open.lock().unwrap()[1].2.contains_key("last-event-id"));
    // A page that may not send cookies does not, and one that sends them where `*` is allowed reads nothing.
    world.listen(&at(anybody, "/private"), false).await;
    assert_eq!(world.closed().await, json!([1, []]));
    world.listen(&at(anybody, "/private"), true).await;
    assert_eq!(world.closed().await, json!([1, []]));
    world.listen(&at(ours, "/private"), false).await;
    assert_eq!(world.closed().await, json!([1, []]));
    world.listen(&at(ours, "/private"), true).await;
    world.browser.until("got[0] === 'open'").await;
    assert_eq!(with_credentials.lock().unwrap().last().unwrap().2[header::COOKIE], "who=ana");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_to_a_stream_are_followed() {
    let Some(world) = World::start().await else { return };
    for status in [301, 302, 303, 307, 308] {
        world.open(&format!("/redirect/{status}")).await;
        let id = world.send(Event::text("a")).await;
        assert_eq!(world.browser.until("got.length === 2 && got[1]").await, json!(["message", "a", id]), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_no_stream_closes_the_source_for_good() {
    let Some(world) = World::start().await else { return };
    world.publisher.channel("over").finish(Event::text("the end")).await.unwrap();
    let last = world.publisher.channel("over").recent(1)[0].id().to_string();
    let over = format!("/events/over?last_event_id={last}");
    let statuses = [204, 205, 210, 299, 404, 410, 500, 502, 503, 504].map(|status| format!("/status/{status}"));
    let ours = ["/events/%ff", "/events/unauthorized", "/events/forbidden", "/events/missing", &over, "/text", "/none"];
    for path in ours.into_iter().chain(statuses.iter().map(String::as_str)) {
        world.listen(path, false).await;
        assert_eq!(world.closed().await, json!([1, []]), "{path}");
        let asked = world.asked(path.split('?').next().unwrap()).len();
        assert_eq!(asked, 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_over_a_limit_reconnects_until_there_is_room() {
    let Some(world) = World::start().await else { return };
    let publisher = Publisher::builder().reconnect(Duration::from_millis(5), Duration::from_millis(20)).build();
    let port = serve(publisher.clone(), world.requests.clone(), None).await;
    world.browser.open(&format!("http://127.0.0.1:{port}/")).await;
    let first =
        tower_sse::Subscription::open(&publisher, Grant::new([ChannelName::from_static("chat")])).await.unwrap();
    world.listen("/one/chat", false).await;
    world.browser.until("errors > 3 && source.readyState !== EventSource.CLOSED").await;
    drop(first);
    let open = async {
        while publisher.connections() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, open).await.expect("it is let in");
    world.browser.until("source.readyState === EventSource.OPEN").await;
    publisher.channel("chat").send(Event::text("a")).await.unwrap();
    world.browser.until("got.at(-1)[1] === 'a'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_closes_its_source_or_is_closed_frees_its_subscription() {
    let Some(world) = World::start().await else { return };
    let gone = async || {
        let gone = async {
            while world.publisher.connections() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, gone).await.expect("its subscription ends");
    };
    world.open("/events/chat").await;
    assert_eq!(world.publisher.connections(), 1);
    world.browser.run("source.close()", vec![]).await;
    gone().await;
    // A page that the user navigates away from is kept for going back, with its stream, until the browser needs the
    // memory.
    world.open("/events/chat").await;
    world.browser.client.new_window(true).await.unwrap();
    world.browser.client.close_window().await.unwrap();
    gone().await;
    assert_eq!(world.asked("/events/chat").len(), 2, "and nobody comes back");
}
