//! A node: the test's own program, started again as a server on a port of its own.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
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
    producer::{self, Plan},
    proxy::Proxy,
};

pub struct Node {
    pub number: usize,
    /// The proxy between it and Redis.
    pub proxy: Proxy,
    child: Mutex<Option<Child>>,
    started: AtomicUsize,
    port: AtomicU16,
    ledger: Arc<Mutex<Ledger>>,
}

impl Node {
    pub async fn new(number: usize, redis: u16, ledger: Arc<Mutex<Ledger>>) -> Self {
        let proxy = Proxy::start(redis).await;
        let (child, started, port) = (Mutex::new(None), AtomicUsize::new(0), AtomicU16::new(0));
        let node = Self { number, proxy, child, started, port, ledger };
        node.start();
        node
    }

    pub fn port(&self) -> u16 {
        self.port.load(Ordering::SeqCst)
    }

    pub fn process(&self) -> Process {
        (self.number, self.started.load(Ordering::SeqCst))
    }

    /// Starts a process that runs until it is killed, or until this process is gone and its standard input ends.
    pub fn start(&self) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["node::node_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env("RUNS_NODE_REDIS", format!("redis://127.0.0.1:{}", self.proxy.port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let process = (self.number, self.started.fetch_add(1, Ordering::SeqCst) + 1);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.ok()?.strip_prefix("listening on ")?.parse().ok()).unwrap();
        self.port.store(port, Ordering::SeqCst);
        *self.child.lock().unwrap() = Some(child);
        let ledger = self.ledger.clone();
        // What a process has said before it is killed is still in the pipe.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| ledger.lock().unwrap().hear(process, &line))
        });
    }

    /// Like `kill -9`.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Like a deploy: the process hands its runs over, and exits.
    pub async fn drain(&self) {
        let _ = ask(self.port(), "/drain", String::new()).await;
        // It has exited, unless it did not answer.
        self.kill();
    }

    /// Stops the process, or lets it go on. Meanwhile its connections stay open.
    pub fn stop(&self, stops: bool) {
        let Some(pid) = self.child.lock().unwrap().as_ref().map(Child::id) else { return };
        let signal = if stops { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
#[ignore = "the nodes of the other tests"]
fn node_process() {
    let Ok(redis) = std::env::var("RUNS_NODE_REDIS") else { return };
    std::thread::spawn(|| {
        let _ = std::io::stdin().lines().last();
        std::process::exit(0);
    });
    std::thread::spawn(producer::notice_stalls);
    tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap().block_on(serve(&redis));
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
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap().port());
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
