//! Without a framework: hyper's own connection builder, HTTP/1.1 and HTTP/2 on one port, and a clean end.
//!
//! `cargo run --example hyper`, then `curl -N http://127.0.0.1:8000/events/hits` and, elsewhere, `curl
//! http://127.0.0.1:8000/`, a few times. Ctrl-C ends both.

use std::{error::Error, time::Duration};

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
    let publisher = Publisher::new();
    let hub = publisher.clone();
    // The layer answers the pattern; all else is for this service.
    let hit = service_fn(move |request: Request<_>| hit(hub.clone(), request));
    let service =
        ServiceBuilder::new().layer(SseLayer::new(publisher.clone()).route("/events/{channel}")?).service(hit);

    let listener = TcpListener::bind("127.0.0.1:8000").await?;
    let (builder, connections) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = tokio::signal::ctrl_c() => break,
        };
        // Without it the kernel may hold a small event back, by up to 40 ms.
        _ = stream.set_nodelay(true);
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        let connection = connections.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }

    // First the streams, or the connections would wait for them until the grace is over.
    let grace = Duration::from_secs(5);
    _ = tokio::join!(publisher.shutdown(grace), tokio::time::timeout(grace, connections.shutdown()));
    Ok(())
}

async fn hit<B>(publisher: Publisher, request: Request<B>) -> Result<Response<Full<Bytes>>, PublishError> {
    let sent = publisher.channel("hits").send(Event::text(request.uri().path())).await?;
    Ok(Response::new(format!("told {} readers\n", sent.reached).into()))
}
