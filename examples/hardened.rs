//! Limits for a server on an open network: how long a peer may stall, how long it may take to send a request, and how many
//! streams it may open. It uses hyper directly because `axum::serve` has no such settings.
//!
//! Run `cargo run --example hardened`; it prints what to try. It listens on port 8000, or on the one that you set in `PORT`
//! (0 takes a free one). `STALL_MILLIS` sets how long a peer may stall, 30,000 by default.

use std::{env, error::Error, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tower_sse::{Event, OpenOptions, Publisher, Route, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let stall = Duration::from_millis(env::var("STALL_MILLIS").map_or(Ok(30_000), |millis| millis.parse())?);
    let publisher = Publisher::new();
    let route = Route::new("/events/{channel}").options(OpenOptions::new().max_per_channel(10_000));
    let service = TowerToHyperService::new(SseLayer::new(publisher.clone()).route(route)?.into_service());
    tokio::spawn(tick(publisher));

    let mut builder = Builder::new(TokioExecutor::new());
    // Hang up on a peer that takes longer than this to send the head of its request.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(stall);
    // How much hyper buffers for a reader that stalls, about 400 KiB by default. The head of a request has to fit too.
    builder.http1().max_buf_size(16 << 10);
    // Over HTTP/2, hang up on a peer that does not answer a ping. Limit its streams, since each takes a subscription.
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(stall / 2).keep_alive_timeout(stall / 2);
    builder.http2().max_concurrent_streams(20);

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}\n  curl -N http://{address}/events/clock");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The process may have run out of file descriptors. That passes, so keep the server and its readers running.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        if harden(&stream, stall).is_err() {
            // The peer has already disconnected.
            continue;
        }
        let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
        // When a peer stalls or disconnects, its connection ends with an error, which nobody needs to see.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
    }
}

/// Makes the kernel close a connection whose peer has stopped reading or has vanished. The application can't end such a
/// reader, because hyper stops polling its body. On Linux, `TCP_USER_TIMEOUT` closes a connection when its data stays
/// unacknowledged or unread for that long. On other systems, the write timeout of the crate `tokio-io-timeout` closes a
/// connection whose peer stops reading, but not one whose peer has vanished.
fn harden(stream: &TcpStream, stall: Duration) -> std::io::Result<()> {
    // Without `TCP_NODELAY` the kernel may hold a small event back for up to 40 ms.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(stall))?;
    #[cfg(not(target_os = "linux"))]
    let _ = stall;
    Ok(())
}

async fn tick(publisher: Publisher) -> Result<(), tower_sse::PublishError> {
    for tick in 1.. {
        sleep(Duration::from_millis(100)).await;
        publisher.channel("clock").send(Event::text(format!("{tick} {}", "x".repeat(10_000)))).await?;
    }
    Ok(())
}
