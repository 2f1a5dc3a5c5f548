//! A server that shows how it is doing: with metrics for Prometheus, probes for an orchestrator, and a page for operators.
//!
//! Run it with `cargo run -p observed-example`. Set `REDIS_URL` to put its channels in Redis, such as
//! `redis://127.0.0.1`. Then:
//!
//! - `curl -N http://127.0.0.1:8000/sse/news` reads a channel,
//! - `curl -d hello http://127.0.0.1:8000/say/news` publishes to it,
//! - `curl -N -X POST http://127.0.0.1:8000/ask/run-1` starts a run and reads it,
//! - `curl http://127.0.0.1:8001/metrics` returns the metrics; `/live` and `/ready` answer the probes.
//!
//! With `INSPECT_TOKEN` set, `http://127.0.0.1:8001/inspect` shows who reads what: log in as `admin`, with the token as the
//! password.
//!
//! Everything for operators is served on a separate port, `ADMIN_PORT`, which is 8001 by default. On Ctrl-C, the server
//! reports that it is not ready, waits for `DRAIN_SECS` seconds (0 by default), so that the load balancer notices, and then
//! shuts down.
//!
//! `docs/operate/` has a dashboard for Grafana and alerts for Prometheus.

mod inspect;
mod page;

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::{Response, StatusCode, request::Parts},
    routing::{get, post},
};
use tokio::net::TcpListener;
use tower_sse::{
    Event, Publisher, Redis, SseBody, SseLayer,
    runs::{New, Plain, Runs},
    server::Server,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Before the hub is built: it registers its metrics with this recorder.
    let page = page::install()?;
    let publisher = match env::var("REDIS_URL") {
        Ok(url) => Publisher::builder().backend(Redis::new(&url)?).build(),
        Err(_) => Publisher::new(),
    };
    let runs = Runs::new(publisher.clone(), Plain);

    let streams = SseLayer::new(publisher.clone()).route("/sse/{channel}")?;
    let app = Router::new()
        .route("/say/{channel}", post(say))
        .with_state(publisher.clone())
        .route("/ask/{run}", post(ask).get(follow))
        .with_state(runs.clone())
        .layer(streams);
    let server = Server::new();
    let admin = Router::new()
        .route("/metrics", get(page::metrics))
        .with_state((page, publisher.clone(), server.clone()))
        .route("/ready", get(ready))
        .with_state(publisher.clone())
        // A restart mends nothing that the other page could tell.
        .route("/live", get(|| async { "alive" }))
        .merge(inspect::router(publisher.clone()));

    let listener = listen("PORT", 8000).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let admins = listen("ADMIN_PORT", 8001).await?;
    println!("metrics on http://{}/metrics", admins.local_addr()?);
    tokio::spawn(async move { axum::serve(admins, admin).await });
    let serving = server.serve(listener, app).publisher(&publisher).grace(Duration::from_secs(5));
    serving.with_graceful_shutdown(asked_to_stop(runs)).await?;
    Ok(())
}

async fn listen(variable: &str, default: u16) -> Result<TcpListener, Box<dyn Error>> {
    let port = env::var(variable).map_or(Ok(default), |port| port.parse())?;
    Ok(TcpListener::bind(("127.0.0.1", port)).await?)
}

async fn say(State(publisher): State<Publisher>, Path(channel): Path<String>, text: String) -> (StatusCode, String) {
    match publisher.channel(channel).send(Event::text(text)).await {
        Ok(sent) => (StatusCode::OK, sent.id.to_string()),
        Err(error) if error.is_unavailable() => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// Starts a run, and answers with it. It goes on without its reader.
async fn ask(State(runs): State<Runs<Plain>>, Path(run): Path<String>) -> Response<SseBody> {
    let answer = runs.start(New::run().id(run), async |run| {
        for word in "This answer is made of words that come one by one".split(' ') {
            run.send(Event::text(word)).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    });
    answer.await
}

async fn follow(State(runs): State<Runs<Plain>>, Path(run): Path<String>, parts: Parts) -> Response<SseBody> {
    runs.attach(&run, &parts).await
}

async fn ready(State(publisher): State<Publisher>) -> (StatusCode, String) {
    let health = publisher.health().await;
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, health.to_string())
}

/// Waits for Ctrl-C, and then until the load balancer has noticed and the runs have ended. The streams end after that.
async fn asked_to_stop(runs: Runs<Plain>) {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a signal there is no shutdown.
        std::future::pending::<()>().await;
    }
    let notice = Duration::from_secs(env::var("DRAIN_SECS").ok().and_then(|secs| secs.parse().ok()).unwrap_or(0));
    // From here on the node is not ready, and starts no run.
    tokio::join!(runs.drain(notice), tokio::time::sleep(notice));
}
