//! warp: a filter becomes a tower service, the layer wraps it, and hyper serves both.
//!
//! `cargo run --example warp`, then `curl -N http://127.0.0.1:8000/events/news/ana` and, elsewhere,
//! `curl -d hello http://127.0.0.1:8000/publish/news`.

use std::error::Error;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::Layer;
use tower_sse::{Event, Publisher, SseLayer};
use warp::{Filter, Reply, http::StatusCode};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let publisher = Publisher::new();
    let hub = publisher.clone();
    let filter = warp::path!("publish" / String)
        .and(warp::post())
        .and(warp::body::content_length_limit(64 * 1024))
        .and(warp::body::bytes())
        .then(move |channel, body| publish(hub.clone(), channel, body));
    let streams = SseLayer::new(publisher).route("/events/{channel}/{client_id}")?;
    let service = streams.layer(warp::service(filter));

    let listener = TcpListener::bind("127.0.0.1:8000").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            if let Err(error) = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
            {
                eprintln!("connection: {error}");
            }
        });
    }
}

async fn publish(publisher: Publisher, channel: String, body: warp::hyper::body::Bytes) -> impl Reply {
    let event = Event::text(String::from_utf8_lossy(&body));
    match publisher.channel(channel).send(event).await {
        Ok(sent) => warp::reply::with_status(format!("{}\n", sent.id), StatusCode::OK),
        Err(error) => warp::reply::with_status(format!("{error}\n"), StatusCode::BAD_REQUEST),
    }
}
