//! Runs: an answer of numbers.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{Response, StatusCode, request::Parts},
    routing::{get, post},
};
use serde::Deserialize;
use tower_sse::{
    Event, Publisher, SseBody,
    runs::{New, Runs},
};

pub fn routes(publisher: Publisher) -> Router {
    Router::new()
        .route("/ask", post(ask))
        .route("/runs/{id}", get(attach))
        .route("/runs/{id}/stop", post(stop))
        .with_state(Runs::new(publisher, tower_sse::runs::Plain).grace(Duration::from_millis(200)))
}

#[derive(Deserialize)]
struct Asking {
    id: Option<String>,
    /// How many numbers (4), how many milliseconds apart (5), and whether the producer fails after them.
    count: Option<u32>,
    pause: Option<u64>,
    #[serde(default)]
    fail: bool,
}

async fn ask(State(runs): State<Runs>, Query(asking): Query<Asking>, prompt: String) -> Response<SseBody> {
    let mut new = New::run();
    if let Some(id) = asking.id {
        new = new.id(id);
    }
    runs.start(new, async move |run| {
        for number in 0..asking.count.unwrap_or(4) {
            tokio::time::sleep(Duration::from_millis(asking.pause.unwrap_or(5))).await;
            run.send(Event::text(format!("{prompt}{number} "))).await?;
        }
        if asking.fail { Err("no".into()) } else { Ok(()) }
    })
    .await
}

async fn attach(State(runs): State<Runs>, Path(id): Path<String>, parts: Parts) -> Response<SseBody> {
    runs.attach(&id, &parts).await
}

async fn stop(State(runs): State<Runs>, Path(id): Path<String>) -> StatusCode {
    match runs.stop(&id).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
