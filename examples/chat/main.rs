//! A chat and an agent on one page: run `cargo run --features server --example chat`, then open
//! <http://127.0.0.1:8000>.
//!
//! `PORT` is the port to listen on (8000; 0 takes a free one), `KEEPALIVE_SECS` how long a stream may be idle before it
//! gets a comment (15). If `AUTH_TOKEN` is set, reading and publishing both need it: it is visible ASCII without
//! spaces, and goes into `Authorization: Bearer`, or for a stream into `?access_token=`.

mod agent;
mod publish;
mod refused;
mod token;

use std::{env, error::Error, time::Duration};

use axum::{Router, middleware::from_fn_with_state, response::Html, routing::get};
use token::Token;
use tokio::net::TcpListener;
use tower_http::cors::{AllowHeaders, CorsLayer};
use tower_sse::{KeepAlive, Publisher, Route, SseLayer, server};

/// How long streams and requests may take to end.
const GRACE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse::<u16>())?;
    let idle = env::var("KEEPALIVE_SECS").map_or(Ok(15), |seconds| seconds.parse())?;
    let publisher = Publisher::new();
    let route = Route::new("/sse/{channel}/{client_id}")
        .keep_alive(KeepAlive::every(Duration::from_secs(idle)))
        .retry(Duration::from_secs(1));
    let streams = SseLayer::new(publisher.clone()).route(route)?;
    let page = Router::new().route("/", get(|| async { Html(include_str!("chat.html")) }));
    let publishing = publish::routes(publisher.clone());
    let app = match env::var("AUTH_TOKEN").ok().map(Token::new) {
        None => page.merge(publishing).layer(streams),
        Some(token) => {
            // The streams' authorizer protects streams alone, and a layer around the routes protects routes alone.
            let publishing = publishing.route_layer(from_fn_with_state(token.clone(), Token::require));
            page.merge(publishing).layer(streams.authorizer(token.authorizer()))
        }
    };
    // Around everything, streams too. `*` would not allow the header `authorization`.
    let app = app.layer(CorsLayer::permissive().allow_headers(AllowHeaders::mirror_request()));

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // A connection that is stalled, or that sends a request for ever, is cut off when the grace is over.
    server::serve(listener, app).publisher(&publisher).grace(GRACE).with_graceful_shutdown(interrupted()).await?;
    Ok(())
}

/// Ctrl-C, or SIGTERM where there is such a thing.
async fn interrupted() {
    let ctrl_c = async { _ = tokio::signal::ctrl_c().await };
    #[cfg(unix)]
    if let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! { () = ctrl_c => {}, _ = term.recv() => {} };
    }
    ctrl_c.await
}
