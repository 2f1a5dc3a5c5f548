//! A node: the test's own program, started again as a server on a port of its own.

use std::{
    collections::HashMap,
    error::Error,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    routing::post,
    serve::ListenerExt as _,
};
use tower_sse::{
    BackendError, Batch, ClientId, Event, EventId, IdempotencyKey, KeepAlive, Limits, Publisher, Redis, Retention,
    Route, SseLayer,
};

use crate::{
    common::Random,
    node_process::{self, NodeProcess},
    pages,
    proxy::Proxy,
};

pub struct Nodes(Vec<Node>);

pub struct Node {
    process: Mutex<Option<NodeProcess>>,
    port: AtomicU16,
    /// Whether it insists on a server that evicts keys.
    evicts: bool,
    /// The proxy between it and Redis.
    pub proxy: Proxy,
}

impl Nodes {
    pub async fn start(count: usize, to: u16, evicts: bool) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..count {
            let proxy = Proxy::start(to).await;
            let node = Node { process: Mutex::new(None), port: AtomicU16::new(0), evicts, proxy };
            node.start();
            nodes.push(node);
        }
        Self(nodes)
    }

    pub fn all(&self) -> &[Node] {
        &self.0
    }

    pub fn any(&self, random: &mut Random) -> &Node {
        &self.0[random.below(self.0.len() as u64) as usize]
    }
}

impl Node {
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::SeqCst)
    }

    pub fn start(&self) {
        let redis = format!("redis://127.0.0.1:{}", self.proxy.port);
        let evicts = if self.evicts { "1" } else { "" };
        let variables = [("CLUSTER_NODE_EVICTS", evicts.to_owned()), ("CLUSTER_NODE_REDIS", redis)];
        let process = NodeProcess::start("node::node_process", &variables, Stdio::inherit(), drop);
        self.port.store(process.port, Ordering::SeqCst);
        *self.process.lock().unwrap() = Some(process);
    }

    pub fn kill(&self) {
        self.process.lock().unwrap().take();
    }
}

#[test]
#[ignore = "the nodes of the other tests"]
fn node_process() {
    let Ok(redis) = std::env::var("CLUSTER_NODE_REDIS") else { return };
    node_process::run(serve(&redis));
}

async fn serve(redis: &str) {
    let evicts = std::env::var("CLUSTER_NODE_EVICTS").is_ok_and(|value| !value.is_empty());
    let redis = Redis::builder(redis).allow_eviction(evicts);
    let publisher = Publisher::builder()
        .backend(redis.timeout(Duration::from_secs(1)).build().unwrap())
        .timeout(Duration::from_secs(2))
        .retention(Retention::new().events(1_000_000).bytes(1 << 30))
        .limits(Limits::new().hub_bytes(2 << 30))
        .reconnect(Duration::from_millis(100), Duration::from_millis(300))
        .build();
    let route =
        Route::new("/events/{client_id}").announce_cursor(true).keep_alive(KeepAlive::every(Duration::from_secs(1)));
    let sse = SseLayer::new(publisher.clone()).route(route).unwrap();
    let app = Router::new().route("/publish", post(publish)).merge(pages::routes()).with_state(publisher).layer(sse);
    let listener = node_process::listen().await;
    axum::serve(listener.tap_io(|tcp| _ = tcp.set_nodelay(true)), app).await.unwrap();
}

/// Publishes each line of the text as an event, whose idempotency key it is too: all of them in one step. Answers with their ids, or
/// why they are refused.
async fn publish(
    State(publisher): State<Publisher>,
    Query(asked): Query<HashMap<String, String>>,
    text: String,
) -> Result<String, (StatusCode, String)> {
    if asked.contains_key("ephemeral") {
        return pass(&publisher, &asked, text).await;
    }
    let mut channel = publisher.channel(&asked["channel"]);
    if let Some(fence) = asked.get("fence") {
        channel = channel.fence(fence.parse().unwrap());
    }
    let mut batch = Batch::new();
    for line in text.lines() {
        let mut event = Event::text(line).idempotency_key(IdempotencyKey::try_from(line).unwrap());
        if let Some(except) = asked.get("except") {
            event = event.except(ClientId::try_from(except).unwrap());
        }
        batch = match asked.get("client") {
            Some(client) => batch.event_to(client.as_str(), event),
            None => batch.event(event),
        };
    }
    if let Some(after) = asked.get("after") {
        batch = batch.only_after(EventId::parse(after.as_bytes()).and_then(|id| id.cursor()));
    }
    match channel.send_all(batch).await {
        Ok(sent) => Ok(sent.iter().map(|sent| sent.id.to_string()).collect::<Vec<_>>().join(" ")),
        Err(error) if error.is_unavailable() => Err((StatusCode::SERVICE_UNAVAILABLE, refusal(&error))),
        Err(error) if error.is_fenced() => Err((StatusCode::CONFLICT, String::new())),
        Err(error) if error.is_conflict() => {
            Err((StatusCode::CONFLICT, error.last().map_or("none".into(), |last| last.to_string())))
        }
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// Passes an ephemeral event.
async fn pass(
    publisher: &Publisher,
    asked: &HashMap<String, String>,
    text: String,
) -> Result<String, (StatusCode, String)> {
    let (channel, mut event) = (publisher.channel(&asked["channel"]), Event::text(text).ephemeral());
    if let Some(except) = asked.get("except") {
        event = event.except(ClientId::try_from(except).unwrap());
    }
    let sent = match asked.get("client") {
        Some(client) => channel.send_to(client.as_str(), event).await,
        None => channel.send(event).await,
    };
    sent.map(|sent| sent.id.to_string()).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, refusal(&error)))
}

/// What the operator is told if the store is one that the node refuses.
fn refusal(error: &dyn Error) -> String {
    let refused = error.source().and_then(|error| error.downcast_ref::<BackendError>());
    let cause = refused.filter(|error| error.is_misconfigured()).and_then(|error| error.source());
    cause.map_or_else(|| error.to_string(), |cause| cause.to_string())
}
