//! A chat and an agent on one page: `cargo run --example chat`, then open <http://127.0.0.1:8000>.
//!
//! `PORT` is where it listens (0 takes a free one), `KEEPALIVE_SECS` how long a stream idles before a comment (15), and
//! `AUTH_TOKEN`, when set, what every stream has to bring: visible ASCII without spaces, as a bearer token or as
//! `?access_token=`.

mod agent;
mod refused;

use std::{env, error::Error, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    response::Html,
    routing::{get, post},
    serve::ListenerExt,
};
use refused::{Refused, bad_request};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::{net::TcpListener, time::sleep};
use tower_http::cors::CorsLayer;
use tower_sse::{AuthorizeRequest, Denied, Event, EventName, KeepAlive, Publisher, Route, SseLayer, bearer};

/// How long streams and requests may take to end.
const GRACE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let idle = env::var("KEEPALIVE_SECS").map_or(Ok(15), |seconds| seconds.parse())?;
    let publisher = Publisher::new();
    let route = Route::new("/sse/{channel}/{client_id}")
        .keep_alive(KeepAlive::every(Duration::from_secs(idle)))
        .retry(Duration::from_secs(1));
    let streams = SseLayer::new(publisher.clone()).route(route)?;
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("chat.html")) }))
        .route("/send/{channel}", post(send))
        .route("/agent/send/{conversation_id}", post(start_agent))
        .with_state(publisher.clone());
    let app = match env::var("AUTH_TOKEN") {
        Err(_) => app.layer(streams),
        Ok(token) => {
            let check = bearer(move |given: String, request: AuthorizeRequest| {
                let right = given == token;
                // Whoever has the token may be any client: the one of the URL.
                let grant = right.then(|| request.grant().client(request.client().cloned()));
                async move { grant.ok_or_else(Denied::unauthorized) }
            });
            app.layer(streams.authorizer(check.query_parameter("access_token")))
        }
    };

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|tcp| _ = tcp.set_nodelay(true));
    let server = axum::serve(listener, app.layer(CorsLayer::permissive())).with_graceful_shutdown(interrupted());
    tokio::select! {
        result = server => result?,
        // The server waits for its connections; one that is stalled, or that sends a request for ever, is cut off here.
        () = async { interrupted().await; tokio::join!(publisher.shutdown(GRACE), sleep(GRACE)); } => {}
    }
    Ok(())
}

#[derive(Deserialize)]
struct Sending {
    event: Option<String>,
    to: Option<String>,
}

/// Publishes the JSON as it came.
async fn send(
    State(publisher): State<Publisher>,
    Path(channel): Path<String>,
    Query(sending): Query<Sending>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let name = EventName::try_from(sending.event.as_deref().unwrap_or("message")).map_err(bad_request)?;
    let event =
        Event::json(serde_json::from_slice::<&RawValue>(&body).map_err(bad_request)?).map_err(bad_request)?.name(name);
    let channel = publisher.channel(channel);
    let sent = match sending.to {
        Some(client) => channel.send_to(client, event).await?,
        None => channel.send(event).await?,
    };
    Ok(Json(json!({ "status": "ok", "id": sent.id.to_string() })))
}

/// Answers at once; the tokens follow on the channel `agent`.
async fn start_agent(
    State(publisher): State<Publisher>,
    Path(cid): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let prompt = serde_json::from_slice(&body).map_err(bad_request)?;
    tokio::spawn(agent::run(publisher.channel("agent"), cid.clone(), prompt));
    Ok(Json(json!({ "status": "ok", "cid": cid })))
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
