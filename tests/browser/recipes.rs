//! The guide's recipes for pages, each with what goes wrong without it.

use std::{
    env,
    io::Write as _,
    path::{self, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::net::TcpListener;
use tower_sse::{AuthorizeRequest, Denied, Event, EventName, OpenOptions, Publisher, Route, SseLayer, Start, bearer};

use crate::{driver::Browser, proxy::Proxy};

#[path = "../guide/ask.rs"]
mod ask;

const GUIDE: &str = include_str!("../../docs/guide/read.md");

/// A server behind a network that can be cut, and a browser on its page.
struct World {
    browser: Browser,
    publisher: Publisher,
    network: Proxy,
    port: u16,
    server: Arc<Server>,
}

#[derive(Default)]
struct Server {
    /// The status of every answer, as from a proxy whose application is away; 0 to answer normally.
    status: AtomicU16,
    /// How many tokens were issued. The latest token is this number.
    tokens: AtomicUsize,
    /// How many more requests for a token are answered with the page of a 502.
    no_token: AtomicUsize,
    /// The targets of requests for streams, with the statuses of the answers.
    asked: Mutex<Vec<(String, u16)>>,
}

/// The guide's script that contains these words.
fn script_of(words: &str) -> &'static str {
    let scripts = GUIDE.split("```js\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    scripts.into_iter().find(|script| script.contains(words)).unwrap_or_else(|| panic!("the guide has {words}"))
}

impl World {
    async fn start(page: &'static str, worker: &'static str) -> Option<Self> {
        let browser = Browser::start().await?;
        let publisher = Publisher::new();
        let server = Arc::new(Server::default());
        let route = |pattern: &str| Route::new(pattern).retry(Duration::from_millis(10));
        let all = OpenOptions::new().start(Start::Earliest);
        let streams = SseLayer::new(publisher.clone()).route(route("/events/{channel}").options(all)).unwrap();
        let streams = streams.route(route("/announced/{channel}").announce_cursor(true)).unwrap();
        let once = server.clone();
        let private = bearer(move |token: String, request: AuthorizeRequest| {
            // A token opens one stream, for a moment.
            let fresh = token == once.tokens.load(Ordering::SeqCst).to_string();
            let grant = fresh.then(|| request.grant().expires_in(Duration::from_millis(300)));
            once.tokens.fetch_add(usize::from(fresh), Ordering::SeqCst);
            async move { grant.ok_or_else(Denied::unauthorized) }
        });
        let private = SseLayer::new(publisher.clone())
            .route(route("/private/{channel}"))
            .unwrap()
            .authorizer(private.query_parameter("access_token"));
        let app = Router::new()
            .route("/", get(move || async move { Html(page) }))
            .route("/worker.js", get(move || async move { ([(header::CONTENT_TYPE, "text/javascript")], worker) }))
            .route("/token", get(token))
            .route("/npm/{*path}", get(package))
            .with_state(server.clone())
            .merge(ask::app(publisher.clone()))
            .layer(streams)
            .layer(private)
            .layer(middleware::from_fn_with_state(server.clone(), remember));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async { axum::serve(listener, app).await });
        let network = Proxy::to(port).await;
        browser.open(&format!("http://127.0.0.1:{}/", network.port)).await;
        Some(Self { browser, publisher, network, port, server })
    }

    async fn send(&self, text: &str) {
        self.publisher.channel("chat").send(Event::text(text)).await.unwrap();
    }

    /// Cuts all connections, and lets new ones through.
    fn cut(&self) {
        self.network.cut();
        self.network.mend(self.port);
    }

    /// Runs the guide's `follow` on the path, with a tenth of its times. `got` collects the data that it receives, and
    /// `ended` has the status at the end. `more` are the arguments after these.
    async fn follow(&self, path: &str, more: &str) {
        let function = script_of("function follow").replace("1000 + 4000 *", "100 + 400 *");
        let script = format!(
            "{function}
            window.got = [];
            window.ended = null;
            const receive = (event) => got.push(event.data);
            follow({path:?}, ['message', 'done'], receive, (status) => {{ ended = status; }}, {more});"
        );
        self.browser.run(&script, vec![]).await;
    }

    /// Waits until that many streams are open.
    async fn until_streams(&self, count: usize) {
        while self.publisher.connections() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Opens a plain source; `got` collects what it receives.
    async fn open(&self, path: &str) {
        let script = "window.got = [];
            window.source = new EventSource(arguments[0]);
            source.onmessage = (event) => got.push(event.data);";
        self.browser.run(script, vec![json!(path)]).await;
        self.browser.until("source.readyState === EventSource.OPEN").await;
    }

    fn asked(&self) -> Vec<(String, u16)> {
        self.server.asked.lock().unwrap().clone()
    }
}

async fn remember(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let target = request.uri().to_string();
    let response = match server.status.load(Ordering::SeqCst) {
        0 => next.run(request).await,
        status => StatusCode::from_u16(status).unwrap().into_response(),
    };
    if ["/events/", "/announced/", "/private/", "/ask/"].iter().any(|prefix| target.starts_with(prefix)) {
        server.asked.lock().unwrap().push((target, response.status().as_u16()));
    }
    response
}

async fn token(State(server): State<Arc<Server>>) -> Response {
    let none = server.no_token.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    match none {
        Err(_) => server.tokens.load(Ordering::SeqCst).to_string().into_response(),
        Ok(_) => (StatusCode::BAD_GATEWAY, "<h1>Bad gateway</h1>").into_response(),
    }
}

/// The folder in which `scripts/install-clients` installs npm packages.
fn packages() -> PathBuf {
    path::Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients").join("node_modules")
}

/// Serves a module. Modules import each other without an extension.
async fn package(Path(path): Path<PathBuf>) -> impl IntoResponse {
    let path = if path.extension().is_some() { path } else { path.with_extension("js") };
    let text = std::fs::read_to_string(packages().join(path)).unwrap();
    ([(header::CONTENT_TYPE, "text/javascript")], text)
}

const EMPTY: &str = "<!doctype html><title>recipes</title>";

/// Without the guide's function a 502 ends the source for good: see
/// `a_response_that_is_no_stream_closes_the_source_for_good`.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_resumes_after_a_502() {
    let Some(world) = World::start(EMPTY, "").await else { return };
    world.follow("/events/chat", "async () => ({})").await;
    world.send("before").await;
    world.browser.until("got.length === 1").await;
    world.server.status.store(502, Ordering::SeqCst);
    world.cut();
    world.send("meanwhile").await;
    while world.asked().iter().filter(|(_, status)| *status == 502).count() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.server.status.store(0, Ordering::SeqCst);
    world.browser.until("got.length > 1").await;
    world.send("after").await;
    world.browser.until("got.length > 2").await;
    assert_eq!(world.browser.run("return got", vec![]).await, json!(["before", "meanwhile", "after"]));

    world.publisher.channel("chat").finish(Event::text("the end").name(EventName::from_static("done"))).await.unwrap();
    assert_eq!(world.browser.until("ended").await, 204);
    assert_eq!(world.browser.run("return got.at(-1)", vec![]).await, "the end");
}

/// The guide's function that gets a token.
fn guides_query() -> &'static str {
    let call = script_of("access_token").trim_end();
    call.split_once("over, ").and_then(|(_, query)| query.strip_suffix(");")).expect("it is the last argument")
}

/// Each token opens one stream, within a short time. A reconnect with it is denied, which closes the source for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_renews_its_token_and_resumes() {
    const RENEWALS: usize = 3;
    let Some(world) = World::start(EMPTY, "").await else { return };
    world.follow("/private/chat", guides_query()).await;
    world.until_streams(1).await;
    let denied = || world.asked().iter().filter(|(_, status)| *status == 401).count();
    let mut sent = Vec::new();
    while denied() < RENEWALS {
        sent.push(sent.len().to_string());
        world.send(sent.last().unwrap()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.browser.until(&format!("got.length >= {}", sent.len())).await;
    assert_eq!(world.browser.run("return got", vec![]).await, json!(sent));
    assert_eq!(world.browser.run("return ended", vec![]).await, json!(null));
}

/// A page that loads while there are no tokens begins later, and one that needs its next token then goes on later.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_gets_no_token_asks_for_one_again() {
    let Some(world) = World::start(EMPTY, "").await else { return };
    let failures = || world.server.no_token.store(2, Ordering::SeqCst);
    failures();
    world.follow("/private/chat", guides_query()).await;
    world.until_streams(1).await;
    assert_eq!(world.server.no_token.load(Ordering::SeqCst), 0);
    world.send("before").await;
    world.browser.until("got.length === 1").await;
    failures();
    world.until_streams(0).await;
    world.send("meanwhile").await;
    world.browser.until("got.length === 2").await;
    assert_eq!(world.server.no_token.load(Ordering::SeqCst), 0);
    assert_eq!(world.browser.run("return got", vec![]).await, json!(["before", "meanwhile"]));
    assert_eq!(world.browser.run("return ended", vec![]).await, json!(null));
    // An id may contain any hexadecimal digits, but never this.
    let wrong = world.asked().into_iter().filter(|(target, _)| target.contains("gateway")).count();
    assert_eq!(wrong, 0, "the page of the 502 was taken for a token");
}

/// A page that was closed before its first event goes on after the cursor that it was told, or that it knew.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_has_seen_no_event_resumes_after_its_cursor() {
    let Some(world) = World::start(EMPTY, "").await else { return };
    let known = world.publisher.channel("chat").send(Event::text("known")).await.unwrap().id;
    world.send("missed").await;
    world.follow("/events/chat", &format!("async () => ({{}}), '{known}'")).await;
    world.browser.until("got.length === 1").await;
    assert_eq!(world.browser.run("return got", vec![]).await, json!(["missed"]));

    world.browser.open(&format!("http://127.0.0.1:{}/", world.network.port)).await;
    world.until_streams(0).await;
    world.follow("/announced/chat", "async () => ({})").await;
    world.until_streams(1).await;
    // Until the page has its cursor: a reader that closes before that starts anew.
    let cursor = "window.heard = false;
        new EventSource('/announced/chat').addEventListener('cursor', (event) => {
            heard = true;
            event.target.close();
        });";
    world.browser.run(cursor, vec![]).await;
    world.browser.until("heard").await;
    world.server.status.store(502, Ordering::SeqCst);
    world.cut();
    world.send("meanwhile").await;
    while !world.asked().iter().any(|(target, status)| *status == 502 && target.contains("last_event_id")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.server.status.store(0, Ordering::SeqCst);
    world.browser.until("got.length === 1").await;
    assert_eq!(world.browser.run("return got", vec![]).await, json!(["meanwhile"]));
}

/// Runs the guide's worker, and one without its exception.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_worker_that_leaves_streams_alone_leaves_them_their_reconnects() {
    let guides = script_of("respondWith");
    let every_request = "self.addEventListener('fetch', (event) => event.respondWith(fetch(event.request)));";
    for (worker, state) in [(every_request, "CLOSED"), (guides, "CONNECTING")] {
        let at_once = "self.addEventListener('install', () => self.skipWaiting());
            self.addEventListener('activate', (event) => event.waitUntil(clients.claim()));";
        let Some(world) = World::start(EMPTY, format!("{at_once}\n{worker}").leak()).await else { return };
        world.browser.run("navigator.serviceWorker.register('/worker.js')", vec![]).await;
        world.browser.until("navigator.serviceWorker.controller?.state === 'activated'").await;
        world.open("/events/chat").await;
        world.send("before").await;
        world.browser.until("got.length === 1").await;
        world.network.cut();
        world.browser.until(&format!("source.readyState === EventSource.{state}")).await;
        world.send("meanwhile").await;
        world.network.mend(world.port);
        if state == "CONNECTING" {
            world.browser.until("got.length === 2").await;
        }
    }
}

const HTMX_2: &str = "<!doctype html><title>htmx 2</title>
<script src='/npm/htmx.org/dist/htmx.js'></script>
<script src='/npm/htmx-ext-sse/sse.js'></script>
<body><div hx-ext='sse' sse-connect='/events/chat' CLOSE>
    <div id='out' sse-swap='message' hx-swap='beforeend'></div>
</div>";
const HTMX_4: &str = "<!doctype html><title>htmx 4</title>
<script src='/npm/htmx4/dist/htmx.js'></script>
<script src='/npm/htmx4/dist/ext/hx-sse.js'></script>
<body><div id='out' hx-sse:connect='/events/chat' hx-swap='beforeend' CLOSE></div>";

/// Whether a package is installed; says so loudly if it is not.
fn installed(package: &str) -> bool {
    let installed = packages().join(package).exists();
    if !installed {
        let required = env::var_os("TOWER_SSE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
        assert!(!required, "{package} is not installed");
        // Not with `eprintln`, which the test harness hides when a test passes.
        let left_out = "which `scripts/install-clients` installs";
        _ = writeln!(std::io::stderr(), "\nLEFT OUT: a test with {package}, {left_out}\n");
    }
    installed
}

/// Opens a page of htmx, cuts its reader off once, checks that it has every event, and finishes the channel.
async fn htmx(page: &str, close: &str) -> Option<World> {
    if !installed("htmx-ext-sse") {
        return None;
    }
    let world = World::start(page.replace("CLOSE", close).leak(), "").await?;
    let closes = "window.closes = 0;
        for (const name of ['htmx:sseClose', 'htmx:sse:close']) document.addEventListener(name, () => { closes += 1; });";
    world.browser.run(closes, vec![]).await;
    world.send("<p>one</p>").await;
    world.browser.until("document.getElementById('out').textContent === 'one'").await;
    world.cut();
    world.send("<p>two</p>").await;
    world.browser.until("document.getElementById('out').textContent === 'onetwo'").await;
    let done = Event::text("done").name(EventName::from_static("done"));
    world.publisher.channel("chat").finish(done).await.unwrap();
    Some(world)
}

/// htmx 2 makes a new `EventSource`, without the last id; htmx 4 takes a 204 for a stream that was cut.
#[tokio::test(flavor = "multi_thread")]
async fn htmx_asks_again_after_a_204() {
    for page in [HTMX_2, HTMX_4] {
        let Some(world) = htmx(page, "").await else { return };
        let stops = || world.asked().iter().filter(|(_, status)| *status == 204).count();
        while stops() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn htmx_stops_at_the_event_that_closes_it() {
    for (page, close) in [(HTMX_2, "sse-close=\"done\""), (HTMX_4, "hx-sse:close=\"done\"")] {
        assert!(GUIDE.contains(close), "the guide shows {close}");
        let Some(world) = htmx(page, close).await else { return };
        world.browser.until("closes === 1").await;
        assert_eq!(world.browser.texts("#out").await, ["onetwo"]);
        let asked: Vec<u16> = world.asked().into_iter().map(|(_, status)| status).collect();
        assert_eq!(asked, [200, 200], "it came back after the cut, and not after the end");
    }
}

/// The guide's handler with npm's `@microsoft/fetch-event-source`, which repeats its POST after a cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_cut_off_resumes() {
    let installed = installed("@microsoft/fetch-event-source");
    let Some(world) = World::start(EMPTY, "").await.filter(|_| installed) else { return };
    let words: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    let script = "window.got = [];
        window.ended = false;
        const [prompt] = arguments;
        import('/npm/@microsoft/fetch-event-source/lib/esm/index.js').then(({ fetchEventSource }) =>
            fetchEventSource('/ask/run-1', {
                method: 'POST', body: prompt,
                onmessage: (event) => { if (event.event === '') got.push(event.data); else if (event.event === 'done') ended = true; },
                onerror: () => 10,
            }));";
    world.browser.run(script, vec![json!(words.join(" "))]).await;
    for cut in 1..4 {
        world.browser.until(&format!("got.length > {}", cut * 80)).await;
        world.cut();
    }
    world.browser.until("ended").await;
    assert_eq!(world.browser.run("return got", vec![]).await, json!(words));
    assert_eq!(world.asked().len(), 4, "it was cut off three times");
}
