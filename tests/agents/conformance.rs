//! MCP's own tests of a server's streams: `@modelcontextprotocol/conformance`, from npm.

use std::{
    env, fs,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{Response, request::Parts},
    routing::post,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, sync::Notify, time::timeout};
use tower_sse::{
    Publisher, SseBody,
    runs::{Mcp, New, Runs},
};

/// A test that waits this long has failed. This is a limit, not a measurement.
const STUCK: Duration = Duration::from_secs(60);

type App = State<(Runs<Mcp>, Arc<Notify>)>;

async fn message(State((runs, resumed)): App, parts: Parts, Json(request): Json<Value>) -> Response<SseBody> {
    match request["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let server = json!({ "name": "test", "version": "1" });
            let result =
                json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": server });
            let mut response = Mcp::reply(&request, &result);
            response.headers_mut().insert("mcp-session-id", New::run().run_id().parse().unwrap());
            response
        }
        "tools/list" => Mcp::reply(&request, &json!({ "tools": [] })),
        "tools/call" => {
            let tool = async move |_, _| {
                // The answer has to be closed in the middle of the call first.
                resumed.notified().await;
                Ok(json!({ "content": [{ "type": "text", "text": "done" }] }))
            };
            runs.call(New::run(), &parts, request, tool).await
        }
        _ => Mcp::accepted(),
    }
}

async fn resume(State((runs, resumed)): App, parts: Parts) -> Response<SseBody> {
    if Mcp::run_of(&parts).is_some() {
        resumed.notify_one();
    }
    runs.resume(&parts).await
}

async fn serve() -> String {
    let dialect = Mcp::default().close_after(Duration::from_millis(300)).retry(Duration::from_millis(100));
    let app = Router::new()
        .route("/mcp", post(message).get(resume))
        .with_state((Runs::new(Publisher::new(), dialect), Arc::default()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

/// The checks of a scenario. `None` if the tests are not installed.
async fn checks(scenario: &str) -> Option<Vec<Value>> {
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    let program = clients.join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
    if !program.exists() {
        let required = env::var_os("TOWER_SSE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
        assert!(!required, "MCP's tests are not installed");
        // Not with `eprintln`, which the test harness hides when a test passes.
        _ = writeln!(std::io::stderr(), "\nLEFT OUT: MCP's own tests, which are not installed\n");
        return None;
    }
    let results = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{}", std::process::id()));
    let results = results.join(scenario);
    _ = fs::remove_dir_all(&results);
    let mut command = Command::new("node");
    command
        .arg(program)
        .args(["server", "--url", &serve().await, "--scenario", scenario, "--output-dir"])
        .arg(&results);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(STUCK, output).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let folder = fs::read_dir(&results).unwrap().next().expect("it has written down its checks").unwrap();
    let checks = serde_json::from_slice(&fs::read(folder.path().join("checks.json")).unwrap()).unwrap();
    fs::remove_dir_all(results).unwrap();
    Some(checks)
}

/// Asserts that these checks succeeded, and that none of them warned.
async fn passes(scenario: &str, expected: &[&str]) {
    let Some(checks) = checks(scenario).await else { return };
    let status = |id: &str| checks.iter().find(|check| check["id"] == id).map(|check| check["status"].clone());
    for id in expected {
        assert_eq!(status(id), Some("SUCCESS".into()), "{id}: {checks:#?}");
    }
    let bad = |check: &&Value| check["status"] == "FAILURE" || check["status"] == "WARNING";
    assert_eq!(checks.iter().find(bad), None);
}

#[tokio::test]
async fn a_call_whose_answer_is_closed_goes_on_with_a_get() {
    let expected = ["server-sse-priming-event", "server-sse-retry-field", "server-sse-disconnect-resume"];
    passes("server-sse-polling", &expected).await;
}

#[tokio::test]
async fn several_calls_are_answered_at_once() {
    passes("server-sse-multiple-streams", &["server-accepts-multiple-post-streams"]).await;
}
