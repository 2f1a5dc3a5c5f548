//! A node: the test's own program, started again as a server. `TOWER_SSE_AGENTS_NODE` has its settings. It serves the runs of
//! every protocol, with a model that does what the prompt says, and obeys the tests under `/control`.

use std::{
    collections::HashMap,
    env,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tower_sse::{
    Limits, Publisher, Redis, Retention,
    runs::{Plain, Runs},
    server,
};

use crate::{
    node_process,
    protocols::{PROTOCOLS, Script, Served},
};

/// How long a node may be silent before it counts as dead. It is long enough for a live node on a busy machine.
const LEASE: Duration = Duration::from_secs(3);

/// How long a call to the store may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// The store, and what all of its keys begin with.
    pub redis: Option<(String, String)>,
    /// The window in which tokens are merged, in milliseconds.
    pub roll_up: u64,
    /// How many bytes of a run are held.
    pub bytes: usize,
    pub max_runs: usize,
    pub max_readers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { redis: None, roll_up: 0, bytes: 4 << 20, max_runs: 10_000, max_readers: 10_000 }
    }
}

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    pub runs: Runs<Plain>,
    gates: Arc<Mutex<HashMap<String, watch::Sender<Gate>>>>,
    /// Tells the node to shut down.
    deployed: Arc<Notify>,
}

/// Where the producer of a run waits for the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    Ahead,
    Reached,
    Open,
}

impl App {
    fn new(settings: &Settings) -> Self {
        let publisher = Publisher::builder()
            .retention(Retention::new().bytes(settings.bytes))
            .limits(Limits::new().subscriptions(settings.max_readers))
            .reconnect(Duration::from_millis(50), Duration::from_millis(100))
            // A run must not fail because the machine is busy with other tests.
            .timeout(PATIENCE);
        let publisher = match &settings.redis {
            None => publisher,
            Some((url, prefix)) => {
                publisher.backend(Redis::builder(url).prefix(prefix).timeout(PATIENCE).build().unwrap())
            }
        };
        let runs = Runs::new(publisher.build(), Plain).lease(LEASE).max_runs(settings.max_runs);
        let runs = runs.roll_up(Duration::from_millis(settings.roll_up));
        Self { runs, gates: Arc::default(), deployed: Arc::default() }
    }

    /// The gate of a run.
    pub fn gate(&self, run: &str) -> watch::Sender<Gate> {
        let mut gates = self.gates.lock().unwrap();
        gates.entry(run.to_owned()).or_insert_with(|| watch::Sender::new(Gate::Ahead)).clone()
    }
}

/// The program's `main`, since the test program has one already. As a test it does nothing.
#[test]
fn serve() {
    let Ok(settings) = env::var("TOWER_SSE_AGENTS_NODE") else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    node_process::run(run(&settings));
}

async fn run(settings: &Settings) {
    let app = App::new(settings);
    let control = Router::new()
        .route("/start/{protocol}", post(start))
        .route("/reached/{run}", get(reached))
        .route("/open/{run}", post(open))
        .route("/stop/{run}", post(stop))
        .route("/readers/{run}", get(readers))
        .route("/refusals", get(refusals))
        .route("/deploy", post(deploy));
    let router = Router::new().nest("/control", control.with_state(app.clone()));
    let router = PROTOCOLS.iter().fold(router, |router, served| router.merge((served.routes)(&app)));
    let listener = node_process::listen().await;
    let shut_down = async move {
        app.deployed.notified().await;
        app.runs.drain(Duration::ZERO).await;
        app.runs.publisher().shutdown(Duration::from_secs(5)).await;
    };
    server::serve(listener, router).with_graceful_shutdown(shut_down).await.unwrap();
    // This ends everything that still runs, such as the standard input's thread.
    std::process::exit(0);
}

/// Starts a run that nobody reads yet.
async fn start(State(app): State<App>, Path(protocol): Path<String>, Json(script): Json<Script>) -> StatusCode {
    match (Served::of(&protocol).start)(app, script).await {
        Ok(_) => StatusCode::CREATED,
        Err(error) => panic!("{error:?}"),
    }
}

/// Answers once the producer has reached its gate.
async fn reached(State(app): State<App>, Path(run): Path<String>) {
    app.gate(&run).subscribe().wait_for(|gate| *gate >= Gate::Reached).await.unwrap();
}

async fn open(State(app): State<App>, Path(run): Path<String>) {
    app.gate(&run).send_replace(Gate::Open);
}

async fn stop(State(app): State<App>, Path(run): Path<String>) {
    app.runs.stop(&run).await.unwrap();
}

/// Answers with how many connections read the run on this node.
async fn readers(State(app): State<App>, Path(run): Path<String>) -> String {
    app.runs.publisher().channel(format!("run/{run}")).connections().to_string()
}

/// Answers with how many readers this node has refused because it had too many.
async fn refusals(State(app): State<App>) -> String {
    app.runs.publisher().stats().limited.to_string()
}

/// Shuts the node down, as SIGTERM does with other servers.
async fn deploy(State(app): State<App>) {
    app.deployed.notify_one();
}
