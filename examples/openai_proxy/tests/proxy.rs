//! The proxy between npm's `openai` and an upstream that the test controls.

use std::{
    env,
    io::{self, BufRead as _, Write as _},
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::{StreamExt as _, future, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpListener,
    process::{ChildStdin, ChildStdout},
    sync::Semaphore,
    time::timeout,
};

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(60);
const TOKENS: [&str; 6] = ["data: x", "\n\n", "[DONE]", "🦀", "\r\n", " end"];

/// How the upstream answers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Done,
    BreaksOff,
    Fails,
    Never,
    Refuses,
}

/// An API that needs a permit for each token, and one for its end.
#[derive(Clone)]
struct Upstream {
    end: End,
    permits: Arc<Semaphore>,
    requests: Arc<AtomicUsize>,
    /// Has a permit for each answer that was read to its end, or was dropped.
    over: Arc<Semaphore>,
}

impl Upstream {
    fn new(end: End, permits: usize) -> Self {
        let (permits, over) = (Arc::new(Semaphore::new(permits)), Arc::new(Semaphore::new(0)));
        Self { end, permits, requests: Arc::default(), over }
    }

    async fn serve(&self) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = format!("http://{}/api", listener.local_addr().unwrap());
        let app = Router::new().route("/api/chat/completions", post(answer)).with_state(self.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        base
    }
}

async fn answer(State(upstream): State<Upstream>, headers: HeaderMap, Json(request): Json<Value>) -> Response {
    upstream.requests.fetch_add(1, Ordering::Relaxed);
    assert_eq!(headers["authorization"], "Bearer of the proxy");
    if upstream.end == End::Refuses {
        let error = json!({ "error": { "message": "slow down", "type": "rate_limit" } });
        return (StatusCode::TOO_MANY_REQUESTS, Json(error)).into_response();
    }
    if request["stream"] != true {
        let message = json!({ "role": "assistant", "content": "at once" });
        return Json(json!({ "choices": [{ "index": 0, "message": message }] })).into_response();
    }
    let chunk = |token: &str| {
        let delta = json!({ "choices": [{ "index": 0, "delta": { "content": token } }] });
        Ok(format!("data: {delta}\n\n"))
    };
    let end: Vec<Result<String, io::Error>> = match upstream.end {
        End::Done => vec![Ok("data: [DONE]\n\n".into())],
        End::BreaksOff => vec![Err(io::ErrorKind::BrokenPipe.into())],
        End::Fails => vec![Ok(format!("data: {}\n\n", json!({ "error": { "message": "out of memory" } })))],
        End::Never | End::Refuses => Vec::new(),
    };
    let over = Over(upstream.over);
    let (permits, never) = (upstream.permits, upstream.end == End::Never);
    let tokens = stream::iter(TOKENS.map(chunk)).chain(stream::iter(end)).then(move |chunk| {
        let permits = permits.clone();
        async move {
            permits.acquire().await.unwrap().forget();
            chunk
        }
    });
    let rest = stream::once(async move {
        if never {
            future::pending().await
        }
    })
    .filter_map(async |()| None);
    let body = tokens.chain(rest).map(move |chunk| {
        _ = &over;
        chunk
    });
    Body::from_stream(body).into_response()
}

/// Tells when an answer is dropped.
struct Over(Arc<Semaphore>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

struct Proxy {
    process: Child,
    url: String,
}

impl Proxy {
    fn start(base: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_openai-proxy-example"))
            .envs([("PORT", "0"), ("OPENAI_BASE_URL", base), ("OPENAI_API_KEY", "of the proxy")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        io::BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { process, url }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// npm's `openai`.
struct Client {
    _process: tokio::process::Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// `None` if it is not installed.
    fn start(url: &str, what: &str) -> Option<Self> {
        // `scripts/install-clients` puts it into the target folder.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
        if !folder.join("node_modules/openai").exists() {
            let required = env::var_os("TOWER_SSE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
            assert!(!required, "npm's openai is not installed");
            // Not with `eprintln`, which the test harness hides when a test passes.
            _ = writeln!(io::stderr(), "\nLEFT OUT: a test with npm's openai, which is not installed\n");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client.mjs");
        let mut command = tokio::process::Command::new("node");
        command.arg(script).arg(folder).args([url, what]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Some(Self { stdin: process.stdin.take().unwrap(), lines, _process: process })
    }

    /// What it tells next.
    async fn told(&mut self) -> Value {
        let line = timeout(STUCK, self.lines.next_line()).await.expect("it goes on").unwrap();
        serde_json::from_str(&line.expect("it tells something")).unwrap()
    }

    async fn go_on(&mut self) {
        self.stdin.write_all(b"\n").await.unwrap();
    }
}

/// Starts everything for one case. `permits` is how many tokens the upstream may send, or one more for its end.
async fn start(end: End, permits: usize, what: &str) -> Option<(Upstream, Proxy, Client)> {
    let upstream = Upstream::new(end, permits);
    let proxy = Proxy::start(&upstream.serve().await);
    let client = Client::start(&proxy.url, what)?;
    Some((upstream, proxy, client))
}

async fn within_reason(over: &Semaphore) {
    timeout(STUCK, over.acquire()).await.expect("the upstream's answer is over").unwrap().forget();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_and_attaches_again_gets_the_whole_answer() {
    let Some((upstream, _proxy, mut client)) = start(End::Done, 2, "leave").await else { return };
    assert_eq!(client.told().await, json!({ "text": TOKENS[..2].concat() }));
    // Nobody reads while the upstream goes on to its end.
    upstream.permits.add_permits(TOKENS.len());
    within_reason(&upstream.over).await;
    client.go_on().await;
    assert_eq!(client.told().await, json!({ "text": TOKENS.concat() }));
    assert_eq!(upstream.requests.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_with_its_id_gets_the_run_that_it_has_started() {
    // One token at first: those that are there already come as one.
    let Some((upstream, _proxy, mut client)) = start(End::Done, 1, "repeat").await else { return };
    assert_eq!(client.told().await, json!({ "text": TOKENS[0] }));
    upstream.permits.add_permits(TOKENS.len());
    assert_eq!(client.told().await, json!({ "text": TOKENS.concat() }));
    assert_eq!(upstream.requests.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_breaks_off_or_fails_is_an_error_of_the_client() {
    for (end, error) in [(End::BreaksOff, "the upstream broke off"), (End::Fails, "out of memory")] {
        let Some((upstream, _proxy, mut client)) = start(end, TOKENS.len(), "ask").await else { return };
        assert_eq!(client.told().await, json!({ "so_far": TOKENS.concat() }));
        upstream.permits.add_permits(1);
        let told = client.told().await;
        assert_eq!(told["text"], TOKENS.concat(), "{told}");
        assert!(told["error"].as_str().unwrap().contains(error), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_refuses_is_heard_with_its_status() {
    let Some((_upstream, _proxy, mut client)) = start(End::Refuses, 0, "ask").await else { return };
    let told = client.told().await;
    assert_eq!(told["status"], 429, "{told}");
    assert!(told["error"].as_str().unwrap().contains("slow down"), "{told}");

    let proxy = Proxy::start("http://127.0.0.1:1/v1");
    let told = Client::start(&proxy.url, "ask").unwrap().told().await;
    assert_eq!(told["status"], 502, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_ends_for_its_client_and_for_the_upstream() {
    let Some((upstream, _proxy, mut client)) = start(End::Never, TOKENS.len(), "cancel").await else { return };
    let told = client.told().await;
    assert!(told["error"].as_str().unwrap().contains("stopped"), "{told}");
    within_reason(&upstream.over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_stream_passes_through() {
    let Some((_upstream, _proxy, mut client)) = start(End::Done, 0, "plain").await else { return };
    assert_eq!(client.told().await, json!({ "text": "at once" }));
}
