//! The least there is: a stream per channel, and a clock that publishes.
//!
//! `cargo run --example minimal`, then `curl -N http://127.0.0.1:8000/events/clock`.

use std::{error::Error, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, time::sleep};
use tower_sse::{Event, Publisher, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let publisher = Publisher::new();
    let app = Router::new().layer(SseLayer::new(publisher.clone()).route("/events/{channel}")?);
    tokio::spawn(tick(publisher));
    // Without it the kernel may hold a small event back, by up to 40 ms.
    let listener = TcpListener::bind("127.0.0.1:8000").await?.tap_io(|tcp| _ = tcp.set_nodelay(true));
    axum::serve(listener, app).await?;
    Ok(())
}

async fn tick(publisher: Publisher) -> Result<(), tower_sse::PublishError> {
    for second in 1.. {
        sleep(Duration::from_secs(1)).await;
        publisher.channel("clock").send(Event::text(format!("{second} s"))).await?;
    }
    Ok(())
}
