//! The chat on two nodes that share one Redis: what you write on one appears on the other.
//!
//! Start a Redis or Valkey, run `cargo run --features redis --example cluster`, and open both <http://127.0.0.1:8000>
//! and <http://127.0.0.1:8001>. For a Redis elsewhere, set `REDIS_URL`, which is `redis://127.0.0.1` by default. `PORT` sets
//! the first node's port, and the second node takes the next one; with `PORT=0` both take a free one. The two nodes run in
//! one process to keep the example short. Only Redis connects them.

#[path = "chat/agent.rs"]
mod agent;
#[path = "chat/publish.rs"]
mod publish;
#[path = "chat/refused.rs"]
mod refused;

use std::{env, error::Error, io};

use axum::{Router, response::Html, routing::get, serve::ListenerExt};
use tokio::{net::TcpListener, task::JoinSet};
use tower_sse::{Publisher, Redis, RouteError, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1".into());
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let mut nodes = JoinSet::new();
    for port in [port, if port == 0 { 0 } else { port.saturating_add(1) }] {
        // Each node has connections of its own.
        let publisher = Publisher::builder().backend(Redis::builder(&url).prefix("chat").build()?).build();
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("listening on http://{}", listener.local_addr()?);
        nodes.spawn(serve(listener, publisher)?);
    }
    while let Some(node) = nodes.join_next().await {
        node??;
    }
    Ok(())
}

fn serve(listener: TcpListener, publisher: Publisher) -> Result<impl Future<Output = io::Result<()>>, RouteError> {
    let streams = SseLayer::new(publisher.clone()).route("/sse/{channel}/{client_id}")?;
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("chat/chat.html")) }))
        .merge(publish::routes(publisher))
        .layer(streams);
    Ok(async move { axum::serve(listener.tap_io(|tcp| _ = tcp.set_nodelay(true)), app).await })
}
