//! The smallest server: a stream for each channel, and a clock that publishes to one of them.
//!
//! Run `cargo run --features server --example minimal`; it prints what to try. It listens on port 8000, or on the one that you set in `PORT`
//! (0 takes a free one).

use std::{env, error::Error, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, time::sleep};
use tower_sse::{Event, Publisher, SseLayer, server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let publisher = Publisher::new();
    let app = Router::new().layer(SseLayer::new(publisher.clone()).route("/events/{channel}")?);
    tokio::spawn(tick(publisher));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}\n  curl -N http://{address}/events/clock");
    // `axum::serve` works too, but each reader then takes more memory, and a stalled one is never closed.
    server::serve(listener, app).await?;
    Ok(())
}

async fn tick(publisher: Publisher) -> Result<(), tower_sse::PublishError> {
    for second in 1.. {
        sleep(Duration::from_secs(1)).await;
        publisher.channel("clock").send(Event::text(format!("{second} s"))).await?;
    }
    Ok(())
}
