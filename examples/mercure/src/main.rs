//! A Mercure hub. Run it with
//!
//! ```sh
//! MERCURE_PUBLISHER_JWT_KEY='!ChangeThisMercureHubJWTSecretKey!' cargo run -p mercure-example
//! ```
//!
//! and let your application publish to `http://127.0.0.1:8000/.well-known/mercure`. `MERCURE_SUBSCRIBER_JWT_KEY` is the key
//! of the subscribers' tokens, if it is another one. With `ISSUER` and `AUDIENCE`, tokens are those of version 1.0, and have to
//! name these as `iss` and `aud`. `PORT` is the port to listen on (8000; 0 takes a free one).
//! `CORS_ORIGINS` are the origins, separated by spaces, whose pages may subscribe. With `REDIS_URL`, several hubs share their
//! updates.

use std::{env, error::Error};

use axum::{
    Router,
    http::{Method, header},
    response::Html,
    routing::get,
    serve::ListenerExt,
};
use mercure_example::Hub;
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;
use tower_sse::{Publisher, Redis};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let publisher_key = env::var("MERCURE_PUBLISHER_JWT_KEY").map_err(|_| "set MERCURE_PUBLISHER_JWT_KEY")?;
    let subscriber_key = env::var("MERCURE_SUBSCRIBER_JWT_KEY").unwrap_or_else(|_| publisher_key.clone());
    let publisher = match env::var("REDIS_URL") {
        Ok(url) => Publisher::builder().backend(Redis::new(&url)?).build(),
        Err(_) => Publisher::new(),
    };
    let hub = match (env::var("ISSUER"), env::var("AUDIENCE")) {
        (Ok(issuer), Ok(hub)) => Hub::version_1(publisher.clone(), &publisher_key, &subscriber_key, &issuer, &hub)?,
        _ => Hub::new(publisher.clone(), &publisher_key, &subscriber_key)?,
    };
    let app = Router::new()
        .route("/", get(async || Html("<!doctype html><title>hub</title>A hub for Mercure.")))
        .merge(hub.router())
        .layer(cors(&env::var("CORS_ORIGINS").unwrap_or_default())?);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}/.well-known/mercure", listener.local_addr()?);
    let server = axum::serve(listener.tap_io(|tcp| _ = tcp.set_nodelay(true)), app);
    let stop = publisher.clone();
    server
        .with_graceful_shutdown(async move {
            _ = tokio::signal::ctrl_c().await;
            stop.shutdown(std::time::Duration::from_secs(5)).await;
        })
        .await?;
    Ok(())
}

/// Pages of these origins may send the cookie. Never let all origins do that.
fn cors(origins: &str) -> Result<CorsLayer, header::InvalidHeaderValue> {
    let origins = origins.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?;
    Ok(CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CACHE_CONTROL, header::HeaderName::from_static("last-event-id")])
        .expose_headers(["last-event-id", "mercure-last-event-id"].map(header::HeaderName::from_static)))
}
