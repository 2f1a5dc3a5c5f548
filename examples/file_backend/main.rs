//! A chat whose history is in a file, by a backend of its own: `cargo run --example file_backend`, write something by
//! `curl -d hello http://127.0.0.1:8000/say`, read it by `curl -N http://127.0.0.1:8000/events/news`, stop the server,
//! start it again, and read it once more.

mod backend;
mod record;

use axum::{Router, http::StatusCode, routing::post, serve::ListenerExt};
use tower_sse::{Event, OpenOptions, Publisher, Route, SseLayer, Start};

use crate::backend::FileBackend;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("tower-sse-file-backend.log");
    println!("the history is in {}", path.display());
    let publisher = Publisher::builder().backend(FileBackend::open(path)?).build();
    let everything = OpenOptions::new().start(Start::Earliest);
    let sse = SseLayer::new(publisher.clone()).route(Route::new("/events/{channel}").options(everything))?;
    let say = move |text: String| async move {
        let sent = publisher.channel("news").send(Event::text(text)).await;
        sent.map(|sent| sent.id.to_string()).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
    };
    // Without it the kernel may hold a small event back, by up to 40 ms.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?.tap_io(|tcp| _ = tcp.set_nodelay(true));
    axum::serve(listener, Router::new().route("/say", post(say)).layer(sse)).await?;
    Ok(())
}
