//! Nodes that belong together: one, or two with one Redis.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    client::{Asked, Program, Registry, Request},
    node::Settings,
    process::Process,
    protocols::{Script, Step},
    redis,
    rows::Row,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    One,
    Two,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
        }
    }
}

/// A node that starts runs, and the one to which their readers come.
pub struct Nodes {
    a: Process,
    b: Option<Process>,
}

impl Nodes {
    /// Where runs are started.
    pub fn here(&self) -> &Process {
        &self.a
    }

    /// Another node, if there are two.
    pub fn there(&self) -> &Process {
        self.b.as_ref().unwrap_or(&self.a)
    }
}

/// What all columns of a mode share.
pub struct World {
    pub mode: Mode,
    /// Nodes without a limit that matters.
    pub nodes: Nodes,
    /// Nodes that merge tokens.
    pub merging: Nodes,
    /// Nodes that hold less than a whole answer.
    pub small: Nodes,
    /// Nodes that have reached their limit of runs.
    pub full: Nodes,
    redis: Option<redis::Server>,
    programs: Arc<[Option<Program>; 2]>,
}

/// How many bytes of a run the small nodes hold.
const FEW: usize = 16 << 10;

impl World {
    /// `None` if Redis is not installed.
    pub async fn new(mode: Mode, programs: Arc<[Option<Program>; 2]>) -> Option<Self> {
        if mode == Mode::Two && !redis::is_installed() {
            return None;
        }
        // Nothing in this server outlives the test.
        let redis = (mode == Mode::Two).then(|| redis::Server::start_with(&["--appendonly", "no"]));
        let start = |settings| start(redis.as_ref(), settings);
        let nodes = start(Settings::default());
        let merging = start(Settings { roll_up: 5, ..Settings::default() });
        let small = start(Settings { bytes: FEW, ..Settings::default() });
        let full = start(Settings { max_runs: 1, ..Settings::default() });
        for (n, node) in [full.here(), full.there()].into_iter().take(if full.b.is_some() { 2 } else { 1 }).enumerate()
        {
            let holder = Script { run: format!("holder-{n}"), thread: format!("holder-{n}"), steps: vec![Step::Wait] };
            node.start_run("plain", &holder).await;
        }
        Some(Self { mode, nodes, merging, small, full, redis, programs })
    }

    /// Nodes for one cell, which may end them.
    pub fn start(&self, settings: Settings) -> Nodes {
        start(self.redis.as_ref(), settings)
    }

    /// A script with a run of its own.
    pub fn script(&self, steps: &[Step]) -> Script {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        // All ids have one length, so that all answers have, too.
        let n = 1_000_000 + NUMBER.fetch_add(1, Ordering::Relaxed);
        Script { run: format!("run-{n}"), thread: format!("thread-{n}"), steps: steps.to_vec() }
    }

    /// Has a client send the prompt.
    pub async fn ask(&self, row: Row, node: &Process, script: &Script) -> Asked {
        self.send(row, Request { act: "ask", ..self.to(row, node, script) }).await
    }

    /// Has a client ask for a run that exists.
    pub async fn attach(&self, row: Row, node: &Process, script: &Script) -> Asked {
        self.send(row, Request { act: "attach", ..self.to(row, node, script) }).await
    }

    pub fn to(&self, row: Row, node: &Process, script: &Script) -> Request {
        Request {
            package: row.package.to_owned(),
            file: row.file.to_owned(),
            url: node.url(row.protocol),
            direct: node.url(row.protocol),
            run: script.run.clone(),
            thread: script.thread.clone(),
            prompt: serde_json::to_string(script).unwrap(),
            ..Request::default()
        }
    }

    pub async fn send(&self, row: Row, request: Request) -> Asked {
        let program = match row.registry {
            Registry::Npm => &self.programs[0],
            Registry::PyPi => &self.programs[1],
        };
        program.as_ref().expect("it is used").send(request).await
    }
}

fn start(redis: Option<&redis::Server>, settings: Settings) -> Nodes {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let n = NUMBER.fetch_add(1, Ordering::Relaxed);
    let store = redis.map(|redis| (redis.url(), format!("{n}/")));
    let settings = Settings { redis: store, ..settings };
    Nodes { a: Process::start(&settings), b: redis.map(|_| Process::start(&settings)) }
}
