//! A chat page whose answers outlive it: `cargo run --features runs --example agent`, then open <http://127.0.0.1:8000>.
//!
//! Ask something, and then try to lose the answer: reload the page, open a second tab, stop the answer there, kill the server.
//!
//! `PORT` is the port to listen on (8000; 0 takes a free one), and `TOKEN_MS` the pace of the fake model (30). With the feature
//! `redis` too, `REDIS_URL` names a store that several processes share: a page can then follow an answer of any of them.

mod model;

use std::{env, error::Error, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{Response, StatusCode, request::Parts},
    response::Html,
    routing::{get, post},
    serve::ListenerExt,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};
use tower_sse::{
    ChannelName, Event, Grant, OpenOptions, Publisher, SseBody, Start, last_event_id,
    runs::{Conflict, New, Plain, Runs},
};

/// How long runs, and then streams, may take to end when the server is asked to.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct Question {
    prompt: String,
}

/// Answers a question with a run of its own, and tells the pages that show the chat about both.
///
/// If an answer is being written in this chat, it is stopped first.
async fn ask(
    State(runs): State<Runs>,
    Path(chat): Path<String>,
    Json(Question { prompt }): Json<Question>,
) -> Result<Json<Value>, Refused> {
    let mut answer = model::answer(&prompt);
    let run = runs.spawn(New::run().thread(&chat), async move |run| {
        while let Some(token) = answer.next().await {
            run.send(Event::text(token?)).await?;
        }
        Ok(())
    });
    let question = json!({ "run": run.await.map_err(refused)?, "prompt": prompt });
    let channel = runs.publisher().channel(format!("chat/{chat}"));
    channel.send(Event::text(question.to_string())).await.map_err(refused)?;
    Ok(Json(question))
}

/// The questions of a chat, and those to come.
async fn questions(State(runs): State<Runs>, Path(chat): Path<String>, parts: Parts) -> Response<SseBody> {
    let grant = Grant::new(ChannelName::try_from(format!("chat/{chat}")));
    let last = last_event_id(&parts.headers, &parts.uri);
    let options = OpenOptions::new().existing(true).start(Start::Whole);
    match options.open(runs.publisher(), grant, last.as_deref()).await {
        Ok(subscription) => SseBody::new(subscription).into_response(),
        Err(error) => SseBody::refused(runs.publisher(), &error),
    }
}

/// An answer, from its beginning or after what the page has of it.
async fn answer(State(runs): State<Runs>, Path(run): Path<String>, parts: Parts) -> Response<SseBody> {
    runs.attach(&run, &parts).await
}

/// Stops the answer that is being written in a chat, if there is one.
async fn stop(State(runs): State<Runs>, Path(chat): Path<String>) -> Result<StatusCode, Refused> {
    runs.stop_thread(&chat).await.map_err(refused)?;
    Ok(StatusCode::ACCEPTED)
}

/// Anybody may read and stop any chat here. Your application decides in each of these handlers who may.
fn app(runs: Runs) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("agent.html")) }))
        .route("/chats/{chat}", get(questions).post(ask))
        .route("/chats/{chat}/stop", post(stop))
        .route("/runs/{run}", get(answer))
        .with_state(runs)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    // What the model says of a failure may be told; by default, pages learn only that there was one.
    let runs = Runs::new(publisher()?, Plain)
        .conflict(Conflict::Interrupt)
        .keep(Duration::from_secs(3600))
        .explain(|error| error.downcast_ref::<model::Overloaded>().map(ToString::to_string));

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|tcp| _ = tcp.set_nodelay(true));
    let server = axum::serve(listener, app(runs.clone())).with_graceful_shutdown(interrupted());
    tokio::select! {
        result = server => result?,
        () = async { interrupted().await; end(&runs).await; sleep(GRACE).await } => {}
    }
    Ok(())
}

/// Ends the answers that are being written, so that pages are told, and then the streams.
async fn end(runs: &Runs) {
    runs.drain(GRACE).await;
    runs.publisher().shutdown(GRACE).await;
}

fn publisher() -> Result<Publisher, Box<dyn Error>> {
    #[cfg(feature = "redis")]
    if let Ok(url) = env::var("REDIS_URL") {
        let redis = tower_sse::Redis::builder(&url).prefix("agent").build()?;
        return Ok(Publisher::builder().backend(redis).build());
    }
    Ok(Publisher::new())
}

type Refused = (StatusCode, String);

fn refused(error: impl Error) -> Refused {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

/// Ctrl-C, or SIGTERM where there is such a thing.
async fn interrupted() {
    let ctrl_c = async { _ = tokio::signal::ctrl_c().await };
    #[cfg(unix)]
    if let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! { () = ctrl_c => {}, _ = term.recv() => {} };
    }
    ctrl_c.await
}
