//! A chat and an agent on one page: run `cargo run --features server --example chat`, then open
//! <http://127.0.0.1:8000>. Or use curl: read a channel as the client `ana`, publish JSON to the channel, publish to `ana`
//! alone, and ask the agent, whose answer arrives on the channel `agent`:
//!
//! ```sh
//! curl -N http://127.0.0.1:8000/sse/lobby/ana
//! curl -d '"hello"' http://127.0.0.1:8000/send/lobby
//! curl -d '"only for you"' 'http://127.0.0.1:8000/send/lobby?to=ana'
//! curl -d '{"prompt":"hello"}' http://127.0.0.1:8000/agent/send/1
//! ```
//!
//! Set `PORT` to listen on another port than 8000 (0 takes a free one), and `KEEPALIVE_SECS` to change after how many idle
//! seconds a stream gets a comment (15). If you set `AUTH_TOKEN`, reading and publishing require this token. It is visible
//! ASCII without spaces. Send it as `Authorization: Bearer ..`, or for a stream as `?access_token=..`.

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

/// How long streams and requests may take to end at a shutdown.
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
            // The authorizer of the streams protects only streams, and a layer around the routes protects only routes.
            let publishing = publishing.route_layer(from_fn_with_state(token.clone(), Token::require));
            page.merge(publishing).layer(streams.authorizer(token.authorizer()))
        }
    };
    // This goes around everything, including streams. `*` would not allow the header `authorization`.
    let app = app.layer(CorsLayer::permissive().allow_headers(AllowHeaders::mirror_request()));

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // After the grace period, the server cuts off connections that stall, or that never finish a request.
    server::serve(listener, app).publisher(&publisher).grace(GRACE).with_graceful_shutdown(interrupted()).await?;
    Ok(())
}

/// Waits for Ctrl-C, or for SIGTERM on systems that have it.
async fn interrupted() {
    let ctrl_c = async { _ = tokio::signal::ctrl_c().await };
    #[cfg(unix)]
    if let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! { () = ctrl_c => {}, _ = term.recv() => {} };
    }
    ctrl_c.await
}
