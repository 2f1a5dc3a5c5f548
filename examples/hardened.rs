//! Limits for a server on an open network: how long a peer may stall, how long it may take to send a request, how many
//! connections there may be, and how many streams a client may open.
//!
//! Run `cargo run --features server --example hardened`; it prints what to try. It listens on port 8000, or on the one that
//! you set in `PORT` (0 takes a free one). `STALL_MILLIS` sets how long a peer may stall, 30,000 by default.

use std::{env, error::Error, time::Duration};

use tokio::{net::TcpListener, time::sleep};
use tower_sse::{Event, OpenOptions, Publisher, Route, SseLayer, server::Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let stall = Duration::from_millis(env::var("STALL_MILLIS").map_or(Ok(30_000), |millis| millis.parse())?);
    let publisher = Publisher::new();
    let route = Route::new("/events/{channel}").options(OpenOptions::new().max_per_channel(10_000));
    let app = SseLayer::new(publisher.clone()).route(route)?.into_service();
    tokio::spawn(tick(publisher));

    let server = Server::builder()
        // Closes a connection whose peer does not read, or has vanished.
        .stall_timeout(stall)
        // Closes one whose peer takes longer than this to send the head of a request. The head may have 16 KiB.
        .head_timeout(stall)
        .max_head_bytes(16 << 10)
        .max_connections(20_000)
        // Over HTTP/2, each stream takes a subscription.
        .max_streams(20)
        .build();
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}\n  curl -N http://{address}/events/clock");
    server.serve(listener, app).await?;
    Ok(())
}

async fn tick(publisher: Publisher) -> Result<(), tower_sse::PublishError> {
    for tick in 1.. {
        sleep(Duration::from_millis(100)).await;
        publisher.channel("clock").send(Event::text(format!("{tick} {}", "x".repeat(10_000)))).await?;
    }
    Ok(())
}
