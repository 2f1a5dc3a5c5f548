//! MCP, whose clients ask for everything under one path, and begin with a handshake. A tool logs the text, and then has a result.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::{Request, Response, request::Parts},
    routing::post,
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tower_sse::{
    Event, SseBody,
    runs::{Mcp, RunError, Runs, Writer},
};

use super::{Answer, Script, Served, act};
use crate::node::App;

pub const NAME: &str = "mcp";

pub const SERVED: Served =
    Served { name: NAME, again: ["/mcp", "?last_event_id=run.{run}.000000000000-0"], routes, start };

fn routes(app: &App) -> Router {
    Router::new().route("/mcp/mcp", post(message).get(resume)).with_state(app.clone())
}

fn start(app: App, script: Script) -> BoxFuture<'static, Result<String, RunError>> {
    Box::pin(async move {
        let run = script.run.clone();
        // It goes on without its answer, which a small node may not even have any more.
        drop(call(app, &Request::new(()).into_parts().0, json!({ "id": 1 }), script).await);
        Ok(run)
    })
}

fn runs(app: &App) -> Runs<Mcp> {
    app.runs.dialect(Mcp::default().retry(Duration::from_millis(50)))
}

async fn message(State(app): State<App>, parts: Parts, Json(request): Json<Value>) -> Response<SseBody> {
    match request["method"].as_str().unwrap() {
        "initialize" => {
            let server = json!({ "name": "test", "version": "1" });
            let capabilities = json!({ "tools": {}, "logging": {} });
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": server });
            Mcp::reply(&request, &result)
        }
        "tools/call" => {
            let prompt = request["params"]["arguments"]["prompt"].as_str().unwrap();
            let script = serde_json::from_str(prompt).unwrap();
            call(app, &parts, request, script).await
        }
        _ => Mcp::accepted(),
    }
}

async fn call(app: App, parts: &Parts, request: Value, script: Script) -> Response<SseBody> {
    let (runs, new) = (runs(&app), script.to_run());
    let tool = async move |run: Writer, _| {
        act(&app, script.steps, &mut Logs, &run).await?;
        Ok(json!({ "content": [] }))
    };
    runs.call(new, parts, request, tool).await
}

async fn resume(State(app): State<App>, parts: Parts) -> Response<SseBody> {
    runs(&app).resume(&parts).await
}

/// Each part of the text is a message of the log.
struct Logs;

impl Answer for Logs {
    fn new(_: &str) -> Self {
        Self
    }

    fn token(&mut self, text: &str) -> Event {
        Mcp::notification("notifications/message", &json!({ "level": "info", "data": text }))
    }
}
