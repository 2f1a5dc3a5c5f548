//! What a server on an open network sets: limits on how long a peer may stall, or take to ask, and on how much it may ask
//! for. On hyper alone, since `axum::serve` has no settings for it.
//!
//! `cargo run --example hardened`, then `curl -N http://127.0.0.1:8000/events/clock`. `PORT` is where it listens (0 takes
//! a free one), `STALL_MILLIS` how long a peer may stall (30,000).

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
    // Who takes longer to send a head is slow on purpose.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(stall);
    // What is kept for a reader that does not read, until it is hung up on; by default some 400 KiB. A head has to fit too.
    builder.http1().max_buf_size(16 << 10);
    // Over HTTP/2 a peer that is gone is one that leaves a ping unanswered; a stream costs a subscription.
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(stall / 2).keep_alive_timeout(stall / 2);
    builder.http2().max_concurrent_streams(20);

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No more files can be open, perhaps. That passes, and is no reason to end the readers that there are.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        if harden(&stream, stall).is_err() {
            // Gone already.
            continue;
        }
        let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
        // Its end is an error where the peer stalled or went away.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
    }
}

/// A reader that stops reading is not asked for anything by hyper, and nothing in the application can end it: the kernel
/// can, where what it sent was not acknowledged, or was not asked for, for that long. Linux has an option for it; elsewhere
/// the write timeout of the crate `tokio-io-timeout` does the same for whom stops reading, but not for whom is gone.
fn harden(stream: &TcpStream, stall: Duration) -> std::io::Result<()> {
    // Without it the kernel may hold a small event back, by up to 40 ms.
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
