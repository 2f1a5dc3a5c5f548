//! The programs that run the clients: one for those of npm, one for those of PyPI. All tests share the two.

use std::{
    collections::HashMap,
    env,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::oneshot,
    time::timeout,
};

/// A client that is silent for this long has missed the end of its answer. This is a limit, not a measurement.
const SILENT: Duration = Duration::from_secs(40);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registry {
    Npm,
    PyPi,
}

impl Registry {
    /// Whether a package of its clients is installed.
    pub fn has(self, package: &str) -> bool {
        match self {
            Self::Npm => clients().join("node_modules").join(package).exists(),
            Self::PyPi => clients().join("python/bin/python").exists(),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Request {
    pub n: u64,
    pub package: String,
    pub file: String,
    pub act: &'static str,
    pub url: String,
    pub direct: String,
    pub run: String,
    pub thread: String,
    pub prompt: String,
    pub after: Option<String>,
    /// Whether to ask on the page that asked before.
    pub again: bool,
}

/// What a client got, and what it reports about the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Report {
    pub text: String,
    pub outcome: Outcome,
    #[serde(default)]
    pub status: Option<u16>,
    /// The position from which the client can resume.
    #[serde(default)]
    pub position: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Complete,
    Stopped,
    /// There is no answer to get.
    Nothing,
    Error(String),
    /// The client reports nothing. Its program never sends this.
    #[serde(skip)]
    Silence,
}

/// A program that runs clients.
pub struct Program {
    input: tokio::sync::Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, Told>>>,
    _child: Child,
}

/// Where to send the news of a request.
struct Told {
    began: Option<oneshot::Sender<()>>,
    report: oneshot::Sender<Report>,
}

/// A request that a client was sent.
pub struct Asked {
    began: oneshot::Receiver<()>,
    report: oneshot::Receiver<Report>,
}

impl Program {
    /// `None` if it is not installed.
    pub fn start(registry: Registry) -> Option<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let (program, script) = match registry {
            Registry::Npm => ("node".into(), "npm.mjs"),
            Registry::PyPi => (clients().join("python/bin/python"), "pypi.py"),
        };
        let mut command = Command::new(program);
        command.arg(here.join(script)).arg(clients()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().ok()?;
        let waiting: Arc<Mutex<HashMap<u64, Told>>> = Arc::default();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn({
            let waiting = waiting.clone();
            async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    tell(&mut waiting.lock().unwrap(), serde_json::from_str(&line).unwrap());
                }
                // The program has ended: this wakes all that still wait for it.
                waiting.lock().unwrap().clear();
            }
        });
        Some(Self { input: child.stdin.take().unwrap().into(), waiting, _child: child })
    }

    pub async fn send(&self, mut request: Request) -> Asked {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        request.n = NUMBER.fetch_add(1, Ordering::Relaxed);
        let ((began, begins), (report, reported)) = (oneshot::channel(), oneshot::channel());
        self.waiting.lock().unwrap().insert(request.n, Told { began: Some(began), report });
        let line = serde_json::to_string(&request).unwrap() + "\n";
        self.input.lock().await.write_all(line.as_bytes()).await.unwrap();
        Asked { began: begins, report: reported }
    }
}

fn tell(waiting: &mut HashMap<u64, Told>, line: Value) {
    let n = line["n"].as_u64().unwrap();
    if line["began"].is_boolean() {
        let began = waiting.get_mut(&n).and_then(|told| told.began.take());
        _ = began.map(|began| began.send(()));
    } else if let Some(told) = waiting.remove(&n) {
        _ = told.report.send(serde_json::from_value(line).unwrap());
    }
}

impl Asked {
    pub async fn report(self) -> Report {
        match timeout(SILENT, self.report).await {
            Ok(report) => report.expect("the program runs"),
            Err(_) => Report { text: String::new(), outcome: Outcome::Silence, status: None, position: None },
        }
    }

    /// Awaits `happens` once the client has received some of the text, and then the report.
    pub async fn report_after(mut self, happens: impl Future<Output = ()>) -> Report {
        // A client that was refused never begins.
        if timeout(SILENT, &mut self.began).await.is_ok_and(|began| began.is_ok()) {
            happens.await;
        }
        self.report().await
    }
}

/// Where `scripts/install-clients` puts the clients.
fn clients() -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients")
}
