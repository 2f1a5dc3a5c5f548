//! Resumable answers for the clients of any OpenAI-compatible API, without a change to the API or to the clients.
//!
//! `OPENAI_BASE_URL` is the API (`https://api.openai.com/v1`), and `OPENAI_API_KEY` the key for it; without one, each client's own is
//! passed on. Run `cargo run -p openai-proxy-example`, and set the clients' base URL to `http://127.0.0.1:8000/v1`. `PORT` is the
//! port to listen on (8000; 0 takes a free one).
//!
//! A chat completion with `stream: true` is a run: it is read to its end, even if its client leaves. The header `x-run-id` of the
//! answer has its id, and
//!
//! - `GET /v1/runs/{id}` answers with it from its beginning, while it runs and for ten minutes after that,
//! - `POST /v1/runs/{id}/cancel` stops it,
//! - a client that has set the header `x-run-id` itself can repeat its request, and gets the run that the first one has started.
//!
//! Everything else is passed on as it is.

mod upstream;

use std::{env, error::Error, fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{Response, StatusCode, request::Parts},
    routing::{get, post},
    serve::ListenerExt,
};
use futures_util::StreamExt as _;
use serde_json::Value;
use sseer::event_stream::EventStream;
use tokio::{net::TcpListener, time::timeout};
use tower_sse::{
    Event, Publisher, SseBody,
    runs::{ChatCompletions, New, ProducerError, Runs, Writer},
};
use upstream::{Upstream, error};

/// How long the upstream may be silent in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(300);
/// Requests have images in them.
const LARGEST_REQUEST: usize = 32 << 20;

#[derive(Clone)]
struct Proxy {
    runs: Runs<ChatCompletions>,
    upstream: Arc<Upstream>,
}

async fn completions(State(proxy): State<Proxy>, parts: Parts, body: Bytes) -> Response<Body> {
    if !serde_json::from_slice::<Value>(&body).is_ok_and(|request| request["stream"] == true) {
        return proxy.upstream.send(&parts, body.into()).await;
    }
    let new = match parts.headers.get("x-run-id").and_then(|id| id.to_str().ok()) {
        Some(id) => New::run().id(id),
        None => New::run(),
    };
    if let Ok(Some(_)) = proxy.runs.status(new.run_id()).await {
        return proxy.runs.attach(new.run_id(), &parts).await.map(Body::new);
    }
    // A task, so that a client that leaves before the upstream has answered does not cancel the request.
    let answer = tokio::spawn(async move {
        let response = proxy.upstream.send(&parts, body.into()).await;
        if !response.status().is_success() {
            return response;
        }
        proxy.runs.start(new, |run| relay(response.into_body(), run)).await.map(Body::new)
    });
    answer.await.unwrap_or_else(|_| error(StatusCode::INTERNAL_SERVER_ERROR, "the proxy has failed"))
}

/// Reads the upstream's answer to its end, and sends it to whoever reads the run.
async fn relay(answer: Body, run: Writer) -> Result<(), ProducerError> {
    let mut events = EventStream::new(answer.into_data_stream());
    loop {
        let event = tokio::select! {
            // Nobody wants the rest, which costs.
            () = run.stopped() => return Ok(()),
            event = timeout(SILENCE, events.next()) => event,
        };
        let event = match event {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(_)) | None) => return Err(failed("the upstream broke off")),
            Err(_) => return Err(failed("the upstream does not go on")),
        };
        if event.data == "[DONE]" {
            return Ok(());
        }
        if let Some(message) = error_in(&event.data) {
            return Err(failed(message));
        }
        run.send(Event::text(&*event.data)).await?;
    }
}

/// What is wrong, if this is an error: an upstream may find out in the middle of its answer that it can't go on.
fn error_in(data: &str) -> Option<String> {
    let data: Value = serde_json::from_str(data).ok()?;
    Some(data["error"]["message"].as_str()?.to_owned())
}

/// What the clients may be told of.
#[derive(Debug)]
struct Failed(String);

fn failed(message: impl Into<String>) -> ProducerError {
    Box::new(Failed(message.into()))
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failed {}

/// Whoever knows the random id of a run may read and cancel it.
async fn attach(State(proxy): State<Proxy>, Path(run): Path<String>, parts: Parts) -> Response<SseBody> {
    proxy.runs.attach(&run, &parts).await
}

async fn cancel(State(proxy): State<Proxy>, Path(run): Path<String>) -> StatusCode {
    proxy.runs.stop(&run).await.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::ACCEPTED)
}

async fn pass_on(State(proxy): State<Proxy>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    proxy.upstream.send(&parts, body).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let runs = Runs::new(Publisher::new(), ChatCompletions)
        .explain(|error| error.downcast_ref::<Failed>().map(ToString::to_string));
    let app = Router::new()
        .route("/v1/chat/completions", post(completions))
        .route("/v1/runs/{run}", get(attach))
        .route("/v1/runs/{run}/cancel", post(cancel))
        .fallback(pass_on)
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(Proxy { runs: runs.clone(), upstream: Arc::new(Upstream::from_env()?) });
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let server = axum::serve(listener.tap_io(|tcp| _ = tcp.set_nodelay(true)), app);
    tokio::select! {
        result = server => result?,
        _ = tokio::signal::ctrl_c() => drop(runs.drain(Duration::from_secs(10)).await),
    }
    Ok(())
}
