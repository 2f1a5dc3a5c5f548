//! Without a framework: hyper's connection builder, HTTP/1.1 and HTTP/2 on one port, and a graceful shutdown.
//!
//! Run `cargo run --example hyper`; it prints what to try. Ctrl-C ends the streams and then the server. It listens on port
//! 8000, or on the one that you set in `PORT` (0 takes a free one).

use std::{env, error::Error, time::Duration};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_sse::{Event, PublishError, Publisher, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let publisher = Publisher::new();
    let hub = publisher.clone();
    // The layer answers requests that match its route, and passes all others to this service.
    let hit = service_fn(move |request: Request<_>| hit(hub.clone(), request));
    let service =
        ServiceBuilder::new().layer(SseLayer::new(publisher.clone()).route("/events/{channel}")?).service(hit);

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}\n  curl -N http://{address}/events/hits  # reads");
    println!("  curl http://{address}/  # publishes, run it in another terminal");
    let (builder, connections) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = tokio::signal::ctrl_c() => break,
        };
        // Without `TCP_NODELAY` the kernel may hold a small event back for up to 40 ms.
        _ = stream.set_nodelay(true);
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        let connection = connections.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }

    // hyper waits for open responses, and a stream does not end by itself: so end the streams too.
    let grace = Duration::from_secs(5);
    _ = tokio::join!(publisher.shutdown(grace), tokio::time::timeout(grace, connections.shutdown()));
    Ok(())
}

async fn hit<B>(publisher: Publisher, request: Request<B>) -> Result<Response<Full<Bytes>>, PublishError> {
    let sent = publisher.channel("hits").send(Event::text(request.uri().path())).await?;
    Ok(Response::new(format!("sent to {} readers\n", sent.reached).into()))
}
