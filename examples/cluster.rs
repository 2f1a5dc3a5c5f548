//! The chat on two nodes with one Redis: start a Redis or Valkey, `cargo run --features redis --example cluster`, and open
//! <http://127.0.0.1:8000> and <http://127.0.0.1:8001>: what is said on the one is read on the other.
//!
//! `REDIS_URL` is where Redis is (`redis://127.0.0.1`), `PORTS` where the nodes listen (`8000,8001`; 0 takes a free one). The
//! two are in one process for the sake of the example; nothing but Redis connects them.

#[path = "chat/agent.rs"]
mod agent;
#[path = "chat/refused.rs"]
mod refused;

use std::{env, error::Error};

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
use tokio::{net::TcpListener, task::JoinSet};
use tower_sse::{Event, EventName, Publisher, Redis, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1".into());
    let ports = env::var("PORTS").unwrap_or_else(|_| "8000,8001".into());
    let mut nodes = JoinSet::new();
    for port in ports.split(',') {
        // Each has connections of its own.
        let publisher = Publisher::builder().backend(Redis::builder(&url).prefix("chat").build()?).build();
        let listener = TcpListener::bind(("127.0.0.1", port.trim().parse()?)).await?;
        println!("listening on http://{}", listener.local_addr()?);
        nodes.spawn(serve(listener, publisher)?);
    }
    while let Some(node) = nodes.join_next().await {
        node??;
    }
    Ok(())
}

fn serve(
    listener: TcpListener,
    publisher: Publisher,
) -> Result<impl Future<Output = std::io::Result<()>>, Box<dyn Error>> {
    let streams = SseLayer::new(publisher.clone()).route("/sse/{channel}/{client_id}")?;
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("chat/chat.html")) }))
        .route("/send/{channel}", post(send))
        .route("/agent/send/{conversation_id}", post(start_agent))
        .with_state(publisher)
        .layer(streams);
    Ok(async move { axum::serve(listener.tap_io(|tcp| _ = tcp.set_nodelay(true)), app).await })
}

#[derive(Deserialize)]
struct Sending {
    event: Option<String>,
    to: Option<String>,
}

/// Publishes the JSON as it came. A 503 is worth another try: Redis did not answer.
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

/// The run is on this node; its tokens reach the readers of all.
async fn start_agent(
    State(publisher): State<Publisher>,
    Path(cid): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let prompt = serde_json::from_slice(&body).map_err(bad_request)?;
    tokio::spawn(agent::run(publisher.channel("agent"), cid.clone(), prompt));
    Ok(Json(json!({ "status": "ok", "cid": cid })))
}
