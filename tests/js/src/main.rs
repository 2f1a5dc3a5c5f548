//! The server against which `clients/js` is tested. It prints its port, and serves until it is told to stop: streams, runs,
//! requests that publish, and the files of the client for pages.
//!
//! `PORT` is the port to listen on (0, which takes a free one), `KEEP_ALIVE` the interval of the keep-alive in milliseconds
//! (15000), and `FILES` the folder of the files.

mod private;
mod run;

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower_http::cors::{AllowHeaders, CorsLayer, ExposeHeaders};
use tower_sse::{
    Event, EventName, KeepAlive, OpenOptions, PublishError, Publisher, Retention, Route, SseLayer, Start, server,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let publisher = Publisher::builder()
        .retention_by(|channel| match channel.as_str() {
            "short" => Retention::new().events(5),
            _ => Retention::new().events(200_000),
        })
        .reconnect(Duration::from_millis(200), Duration::from_millis(400))
        .build();
    let app = Router::new()
        .route("/", get(|| async { Html("<!doctype html><title>client</title>") }))
        .route("/files/{*path}", get(file))
        .route("/publish/{channel}", post(publish))
        .route("/end/{channel}/{how}", post(end))
        .route("/connections", get(connections))
        .with_state(publisher.clone())
        .merge(run::routes(publisher.clone()))
        .layer(streams(&publisher)?)
        .layer(private::streams(&publisher)?)
        .layer(
            CorsLayer::permissive().allow_headers(AllowHeaders::mirror_request()).expose_headers(ExposeHeaders::any()),
        );
    let port = env::var("PORT").map_or(Ok(0), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{}", listener.local_addr()?.port());
    tokio::select! {
        result = server::serve(listener, app) => result?,
        _ = tokio::signal::ctrl_c() => {
            publisher.shutdown(Duration::from_millis(500)).await;
        }
    }
    Ok(())
}

/// A route with short times.
fn route(pattern: &str) -> Route {
    let interval = env::var("KEEP_ALIVE").ok().and_then(|millis| millis.parse().ok()).unwrap_or(15_000);
    Route::new(pattern).retry(Duration::from_millis(50)).keep_alive(KeepAlive::every(Duration::from_millis(interval)))
}

fn streams(publisher: &Publisher) -> Result<SseLayer, tower_sse::RouteError> {
    let from = |start| OpenOptions::new().start(start);
    SseLayer::new(publisher.clone())
        .route(route("/sse/{channel}"))?
        .route(route("/all/{channel}").options(from(Start::Earliest)))?
        .route(route("/strict/{channel}").options(from(Start::Earliest)).strict(true))?
        .route(route("/announced/{channel}").announce_cursor(true))?
        .route(route("/shown").show_channel(true))?
        .route(route("/one/{channel}").options(OpenOptions::new().max_per_channel(1)))?
        .route(route("/poll/{channel}").close_after(Duration::from_millis(100)))
}

#[derive(Deserialize)]
struct Publishing {
    event: Option<String>,
    /// How many events; a `#` in the text is the number of each.
    count: Option<u32>,
    first: Option<u32>,
    #[serde(default)]
    ephemeral: bool,
}

/// Publishes a text, and answers with the id of the last event.
async fn publish(
    State(publisher): State<Publisher>,
    Path(channel): Path<String>,
    Query(publishing): Query<Publishing>,
    text: String,
) -> Result<String, Refused> {
    let first = publishing.first.unwrap_or(0);
    let mut id = String::new();
    for number in first..first + publishing.count.unwrap_or(1) {
        let mut event = Event::text(text.replace('#', &number.to_string()));
        if let Some(name) = &publishing.event {
            event = event.name(EventName::try_from(name.as_str()).map_err(|_| Refused(StatusCode::BAD_REQUEST))?);
        }
        if publishing.ephemeral {
            event = event.ephemeral();
        }
        id = publisher.channel(channel.clone()).send(event).await?.id.to_string();
    }
    Ok(id)
}

/// Ends a channel: by `finish`, or by `close`, which sends its readers away.
async fn end(State(publisher): State<Publisher>, Path((channel, how)): Path<(String, String)>) -> Result<(), Refused> {
    let channel = publisher.channel(channel);
    match how.as_str() {
        "finish" => channel.end().await?,
        _ => drop(channel.close().await),
    }
    Ok(())
}

async fn connections(State(publisher): State<Publisher>) -> String {
    publisher.connections().to_string()
}

/// A file of the client, for a page.
async fn file(Path(path): Path<String>) -> Response {
    let folder = env::var("FILES").unwrap_or_default();
    if path.contains("..") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let kind = if path.ends_with(".js") { "text/javascript" } else { "text/html" };
    match std::fs::read(format!("{folder}/{path}")) {
        Ok(bytes) => ([(CONTENT_TYPE, kind)], Body::from(bytes)).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

struct Refused(StatusCode);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl From<PublishError> for Refused {
    fn from(_: PublishError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE)
    }
}
