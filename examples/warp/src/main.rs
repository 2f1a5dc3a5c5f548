//! With warp: a filter becomes a tower service, the layer wraps it, and hyper serves both.
//!
//! Run `cargo run -p warp-example`; it prints what to try. It listens on port 8000, or on the one that you set in `PORT`
//! (0 takes a free one). The example is a package of its own so that the other examples build without warp.

use std::{env, error::Error, str};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tower::Layer;
use tower_sse::{Event, PublishError, Publisher, SseLayer};
use warp::{Filter, Reply, http::StatusCode};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let publisher = Publisher::new();
    let hub = publisher.clone();
    let filter = warp::path!("publish" / String)
        .and(warp::post())
        .and(warp::body::content_length_limit(64 * 1024))
        .and(warp::body::bytes())
        .then(move |channel, body| publish(hub.clone(), channel, body));
    let streams = SseLayer::new(publisher).route("/events/{channel}/{client_id}")?;
    let service = streams.layer(warp::service(filter));

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}\n  curl -N http://{address}/events/news/ana  # reads");
    println!("  curl -d hello http://{address}/publish/news  # publishes, run it in another terminal");
    loop {
        let (stream, _) = listener.accept().await?;
        // Without `TCP_NODELAY` the kernel may hold a small event back for up to 40 ms.
        _ = stream.set_nodelay(true);
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
    let (status, text) = match (decode(&channel), str::from_utf8(&body)) {
        (None, _) => (StatusCode::BAD_REQUEST, "the channel's name is badly encoded".into()),
        (_, Err(error)) => (StatusCode::BAD_REQUEST, error.to_string()),
        (Some(channel), Ok(text)) => match publisher.channel(channel).send(Event::text(text)).await {
            Ok(sent) => (StatusCode::OK, sent.id.to_string()),
            Err(error) => (status(&error), with_cause(&error)),
        },
    };
    warp::reply::with_status(text + "\n", status)
}

/// Decodes a path segment, which warp does not do. It is as strict as the layer is with its own segments.
fn decode(segment: &str) -> Option<String> {
    let hex = |rest: &str| rest.len() > 1 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let sound = segment.split('%').skip(1).all(hex);
    sound.then(|| percent_decode_str(segment).decode_utf8().ok().map(Into::into)).flatten()
}

fn status(error: &PublishError) -> StatusCode {
    match error {
        error if error.is_invalid_text() => StatusCode::BAD_REQUEST,
        error if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
        error if error.is_finished() => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Adds the error's source, which says what is wrong with a channel's name.
fn with_cause(error: &PublishError) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
