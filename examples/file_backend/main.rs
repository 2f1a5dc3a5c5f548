//! A backend of your own: it keeps the history in a file, so the history survives a restart of the server.
//!
//! Run `cargo run --example file_backend`; it prints what to try. Publish something, read it, restart the server, and
//! read it again. It listens on port 8000, or on the one that you set in `PORT` (0 takes a free one).

mod backend;
mod channel;
mod record;

use std::env;

use axum::{Router, http::StatusCode, routing::post, serve::ListenerExt};
use tower_sse::{Event, OpenOptions, Publisher, Route, SseLayer, Start};

use crate::backend::FileBackend;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let path = env::temp_dir().join("tower-sse-file-backend.log");
    let publisher = Publisher::builder().backend(FileBackend::open(&path)?).build();
    let everything = OpenOptions::new().start(Start::Earliest);
    let sse = SseLayer::new(publisher.clone()).route(Route::new("/events/{channel}").options(everything))?;
    let say = move |text: String| async move {
        let sent = publisher.channel("news").send(Event::text(text)).await;
        sent.map(|sent| sent.id.to_string()).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    println!("  curl -d hello http://{address}/say  # publishes");
    println!("  curl -N http://{address}/events/news  # reads everything in {}", path.display());
    // Without `TCP_NODELAY` the kernel may hold a small event back for up to 40 ms.
    let listener = listener.tap_io(|tcp| _ = tcp.set_nodelay(true));
    axum::serve(listener, Router::new().route("/say", post(say)).layer(sse)).await?;
    Ok(())
}
