//! A node: the test's own program, started again as a server on a port of its own.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{Response, StatusCode, request::Parts},
    routing::{get, post},
};
use tower_sse::{
    Publisher, Redis, SseBody,
    runs::{Conflict, New, OnDrain, Plain, RunError, Runs, Status},
};

use crate::{
    LEASE, WITHIN,
    http::post as ask,
    ledger::{Ledger, Process},
    node_process::{self, NodeProcess},
    producer::{self, Plan},
    proxy::Proxy,
};

pub struct Node {
    pub number: usize,
    /// The proxy between it and Redis.
    pub proxy: Proxy,
    process: Mutex<Option<NodeProcess>>,
    started: AtomicUsize,
    port: AtomicU16,
    ledger: Arc<Mutex<Ledger>>,
}

impl Node {
    pub async fn new(number: usize, redis: u16, ledger: Arc<Mutex<Ledger>>) -> Self {
        let proxy = Proxy::start(redis).await;
        let (process, started, port) = (Mutex::new(None), AtomicUsize::new(0), AtomicU16::new(0));
        let node = Self { number, proxy, process, started, port, ledger };
        node.start();
        node
    }

    pub fn port(&self) -> u16 {
        self.port.load(Ordering::SeqCst)
    }

    pub fn process(&self) -> Process {
        (self.number, self.started.load(Ordering::SeqCst))
    }

    /// Starts a process, which tells the ledger what it does.
    pub fn start(&self) {
        let redis = format!("redis://127.0.0.1:{}", self.proxy.port);
        let number = (self.number, self.started.fetch_add(1, Ordering::SeqCst) + 1);
        let ledger = self.ledger.clone();
        let hear = move |line: String| ledger.lock().unwrap().hear(number, &line);
        let process = NodeProcess::start("node::node_process", &[("RUNS_NODE_REDIS", redis)], Stdio::inherit(), hear);
        self.port.store(process.port, Ordering::SeqCst);
        *self.process.lock().unwrap() = Some(process);
    }

    /// Like `kill -9`.
    pub fn kill(&self) {
        self.process.lock().unwrap().take();
    }

    /// Hands the runs over and exits, as in a deploy.
    pub async fn drain(&self) {
        let _ = ask(self.port(), "/drain", String::new()).await;
        // The process has exited, unless it did not answer.
        self.kill();
    }

    /// Stops the process, or lets it go on. Its connections stay open meanwhile.
    pub fn stop(&self, stops: bool) {
        let Some(pid) = self.process.lock().unwrap().as_ref().map(NodeProcess::id) else { return };
        let signal = if stops { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    }
}

#[test]
#[ignore = "the nodes of the other tests"]
fn node_process() {
    let Ok(redis) = std::env::var("RUNS_NODE_REDIS") else { return };
    std::thread::spawn(producer::notice_stalls);
    node_process::run(serve(&redis));
}

async fn serve(redis: &str) {
    let redis = Redis::builder(redis).timeout(Duration::from_secs(1)).build().unwrap();
    let publisher = Publisher::builder().backend(redis).timeout(Duration::from_secs(2)).build();
    let runs = Runs::new(publisher, Plain)
        .lease(LEASE)
        .grace(Duration::from_millis(300))
        .patience(Duration::from_secs(4))
        .on_drain(OnDrain::HandOver)
        .take_over_within(WITHIN)
        // Longer than the test takes.
        .keep(Duration::from_secs(3_600));
    let app = Router::new()
        .route("/start", post(start))
        .route("/runs/{id}", get(attach))
        .route("/stop", post(stop))
        .route("/take_over", post(take_over))
        .route("/drain", post(drain))
        .route("/status", post(status))
        .with_state(runs);
    let listener = node_process::listen().await;
    axum::serve(listener, app).await.unwrap();
}

type Asked = Query<HashMap<String, String>>;
type Answer = Result<String, (StatusCode, String)>;

async fn start(State(runs): State<Runs>, Query(asked): Asked) -> Response<SseBody> {
    let mut new = New::run().id(&asked["id"]);
    if let Some(thread) = asked.get("thread") {
        new = new.thread(thread);
    }
    let conflict = match &asked["conflict"][..] {
        "interrupt" => Conflict::Interrupt,
        "enqueue" => Conflict::Enqueue,
        _ => Conflict::Reject,
    };
    let plan = Plan::new(runs.publisher().clone(), &asked);
    runs.conflict(conflict).start(new, async move |run| plan.produce(run).await).await
}

async fn take_over(State(runs): State<Runs>, Query(asked): Asked) -> Answer {
    let plan = Plan::new(runs.publisher().clone(), &asked);
    match runs.take_over(&asked["id"], async move |run| plan.produce(run).await).await {
        Ok(()) => Ok(String::new()),
        Err(error) if error.is_conflict() => Err((StatusCode::CONFLICT, error.to_string())),
        Err(error) => Err(unavailable(error)),
    }
}

async fn drain(State(runs): State<Runs>) -> Answer {
    let count = runs.drain(Duration::from_millis(200)).await;
    Ok(count.to_string())
}

async fn attach(State(runs): State<Runs>, Path(id): Path<String>, parts: Parts) -> Response<SseBody> {
    runs.attach(&id, &parts).await
}

async fn stop(State(runs): State<Runs>, Query(asked): Asked) -> Answer {
    runs.stop(&asked["id"]).await.map_err(unavailable)?;
    Ok(String::new())
}

async fn status(State(runs): State<Runs>, Query(asked): Asked) -> Answer {
    Ok(match runs.status(&asked["id"]).await.map_err(unavailable)? {
        Some(Status::Ended(outcome)) => outcome.to_string(),
        Some(_) => "running".to_owned(),
        None => "none".to_owned(),
    })
}

fn unavailable(error: RunError) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
