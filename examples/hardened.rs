//! The limits of a server on an open network: how long a peer may stall, how long it may take to send a request, and
//! how much it may open. It uses hyper directly because `axum::serve` has no such settings.
//!
//! Run `cargo run --example hardened`; it prints what to try. `PORT` is the port to listen on (8000; 0 takes a free
//! one), `STALL_MILLIS` how long a peer may stall (30,000).

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
    // A peer that takes longer to send a request's head is slow on purpose.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(stall);
    // The most that hyper buffers for a reader that stalls, some 400 KiB by default. A request's head has to fit as
    // well.
    builder.http1().max_buf_size(16 << 10);
    // Over HTTP/2 a peer that leaves a ping unanswered is gone. Each stream of a connection costs a subscription.
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(stall / 2).keep_alive_timeout(stall / 2);
    builder.http2().max_concurrent_streams(20);

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}\n  curl -N http://{address}/events/clock");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The process may have no file descriptor left. That passes, and is no reason to end the readers there are.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        if harden(&stream, stall).is_err() {
            // The peer is gone already.
            continue;
        }
        let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
        // A connection ends with an error when its peer stalls or goes away.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
    }
}

/// hyper stops polling the body of a reader that stops reading, so nothing in the application can end that reader. The
/// kernel can: on Linux `TCP_USER_TIMEOUT` closes a connection whose data stayed unacknowledged, or unread, for that
/// long. Elsewhere the write timeout of the crate `tokio-io-timeout` closes it if the peer stops reading, but not if it
/// is gone.
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
        publisher.channel("clock")?.send(Event::text(format!("{tick} {}", "x".repeat(10_000)))).await?;
    }
    Ok(())
}
