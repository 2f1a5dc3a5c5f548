//! The clients: a browser, and programs that print what they receive.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sseer::event_stream::EventStream;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{driver::Browser, engine::Engine, server::Received};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Chromium,
    Firefox,
    WebKit,
    CurlHttp1,
    CurlHttp2,
    NpmEventsource,
    NpmEventsourceClient,
    NpmEventSourcePolyfill,
    NpmFetchEventSource,
    /// The same with the check of the response from its documentation.
    NpmFetchEventSourceChecked,
    PythonHttpxSse,
    PythonSseclient,
    RustEventsourceClient,
}

impl Kind {
    /// Whether it resumes with the id of an event that it has not seen completely. By the standard an `id` line sets
    /// "the last event ID buffer"; only when the event is dispatched does the client "set the last event ID string of
    /// the event source to the value of the last event ID buffer".
    pub fn commits_early(self) -> bool {
        self == Self::NpmFetchEventSource
    }

    /// Whether it takes a head that breaks off for a complete one, and closes for good if that has no content type.
    pub fn takes_half_a_head(self) -> bool {
        matches!(self, Self::Chromium | Self::Firefox)
    }

    /// Whether it waits for half a second or more before it reconnects, whatever `retry:` says, and longer after a
    /// broken head.
    pub fn is_slow(self) -> bool {
        matches!(self, Self::Firefox | Self::NpmEventSourcePolyfill)
    }

    /// Whether a 204 stops it: "a client can be told to stop reconnecting using the HTTP 204 No Content response code".
    pub fn stops_at_204(self) -> bool {
        !matches!(self, Self::RustEventsourceClient | Self::NpmEventSourcePolyfill)
    }

    fn browser(self) -> Option<Engine> {
        match self {
            Self::Chromium => Some(Engine::Chromium),
            Self::Firefox => Some(Engine::Firefox),
            Self::WebKit => Some(Engine::WebKit),
            _ => None,
        }
    }

    /// The command that starts it; curl is started for each connection instead.
    fn command(self) -> Option<Command> {
        // `scripts/install-clients` puts them into the target folder.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let node = |package: &str| {
            let installed = folder.join("node_modules").join(package).exists();
            installed.then(|| {
                let mut node = Command::new("node");
                node.arg(here.join("node/client.cjs")).arg(&folder).arg(package);
                node
            })
        };
        let program = |path: PathBuf| path.exists().then(|| Command::new(path));
        let python = |script: &str| {
            program(folder.join("python/bin/python")).map(|mut python| {
                python.arg(here.join("python").join(script));
                python
            })
        };
        match self {
            Self::Chromium | Self::Firefox | Self::WebKit | Self::CurlHttp1 | Self::CurlHttp2 => None,
            Self::NpmEventsource => node("eventsource"),
            Self::NpmEventsourceClient => node("eventsource-client"),
            Self::NpmEventSourcePolyfill => node("event-source-polyfill"),
            Self::NpmFetchEventSource => node("@microsoft/fetch-event-source"),
            Self::NpmFetchEventSourceChecked => node("@microsoft/fetch-event-source").map(|mut node| {
                node.env("CHECKED", "1");
                node
            }),
            Self::PythonHttpxSse => python("client.py"),
            Self::PythonSseclient => python("sseclient_client.py"),
            Self::RustEventsourceClient => program(folder.join("rust/debug/tower-sse-rust-client")),
        }
    }
}

pub enum Client {
    Browser(Browser),
    Curl(Curl),
    Program { lines: Lines<BufReader<ChildStdout>>, _process: Child },
}

impl Client {
    /// `None`, after saying so loudly, if it is not installed. A browser starts from a page of `origin`.
    pub async fn start(kind: Kind, url: &str, origin: &str) -> Option<Self> {
        let client = match (kind, kind.browser()) {
            (_, Some(engine)) => Self::browse(engine, url, origin).await,
            (Kind::CurlHttp1, _) => Curl::new(url, "--http1.1").await.map(Self::Curl),
            (Kind::CurlHttp2, _) => Curl::new(url, "--http2-prior-knowledge").await.map(Self::Curl),
            _ => kind.command().and_then(|mut command| {
                let spawned = command.arg(url).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
                let mut process = spawned.ok()?;
                let lines = BufReader::new(process.stdout.take().unwrap()).lines();
                Some(Self::Program { lines, _process: process })
            }),
        };
        if client.is_none() {
            let required = env::var_os("TOWER_SSE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
            assert!(!required, "{kind:?} is not installed");
            // Not with `eprintln`, which the test harness hides when a test passes.
            _ = writeln!(std::io::stderr(), "\nLEFT OUT: a test with {kind:?}, which is not installed\n");
        }
        client
    }

    async fn browse(engine: Engine, url: &str, origin: &str) -> Option<Self> {
        let browser = Browser::of(engine).await?;
        browser.open(origin).await;
        let script = "window.got = [];
            window.source = new EventSource(arguments[0]);
            for (const name of ['message', 'token', 'gap', 'goodbye', 'cursor', '-', 'end']) {
                source.addEventListener(name, (event) => {
                    got.push({ name: event.type, data: event.data, id: event.lastEventId });
                });
            }";
        browser.run(script, vec![json!(url)]).await;
        Some(Self::Browser(browser))
    }

    /// Everything that it received, once it got the event named `end`.
    pub async fn until_end(&mut self) -> Vec<Received> {
        match self {
            Self::Browser(browser) => {
                let got = browser.until("got.at(-1)?.name === 'end' && got").await;
                serde_json::from_value(got).unwrap()
            }
            Self::Curl(curl) => curl.until_end().await,
            Self::Program { lines, .. } => {
                let mut got: Vec<Received> = Vec::new();
                while got.last().is_none_or(|event| event.name != "end") {
                    let line = lines.next_line().await.unwrap().expect("it goes on until the end");
                    got.push(serde_json::from_str(&line).unwrap());
                }
                got
            }
        }
    }

    /// Waits until it knows that nothing more will come.
    pub async fn until_closed(&mut self) {
        match self {
            Self::Browser(browser) => _ = browser.until("source.readyState === EventSource.CLOSED").await,
            Self::Curl(curl) => while !curl.ask().await {},
            Self::Program { lines, .. } => {
                let line = lines.next_line().await.unwrap().expect("it says that it is closed");
                assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), "closed");
            }
        }
    }
}

/// curl in a loop, as in a script: each response is read to its end, and the next request has the id of its last event.
/// curl does not parse events, `sseer` does.
pub struct Curl {
    url: String,
    protocol: &'static str,
    got: Vec<Received>,
    task: Option<tokio::task::JoinHandle<Self>>,
}

impl Curl {
    async fn new(url: &str, protocol: &'static str) -> Option<Self> {
        Command::new("curl").arg("--version").output().await.ok()?;
        let mut curl = Self { url: url.to_owned(), protocol, got: Vec::new(), task: None };
        let mut asking = Self { url: curl.url.clone(), protocol, got: Vec::new(), task: None };
        curl.task = Some(tokio::spawn(async move {
            while asking.got.last().is_none_or(|event| event.name != "end") {
                asking.ask().await;
            }
            asking
        }));
        Some(curl)
    }

    async fn until_end(&mut self) -> Vec<Received> {
        *self = self.task.take().expect("asked for once").await.unwrap();
        self.got.clone()
    }

    /// Sends one request, and returns whether it was told to stop.
    async fn ask(&mut self) -> bool {
        let mut command = Command::new("curl");
        command.args(["--silent", "--no-buffer", "--write-out", "%{stderr}%{http_code}", self.protocol]);
        command.args(["--header", "Accept: text/event-stream"]);
        if let Some(last) = self.got.last() {
            command.arg("--header").arg(format!("Last-Event-ID: {}", last.id));
        }
        command.arg(&self.url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let (mut body, mut status) = (Vec::new(), String::new());
        let (mut out, mut err) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        let (read, told) = tokio::join!(out.read_to_end(&mut body), err.read_to_string(&mut status));
        (_, _) = (read.unwrap(), told.unwrap());
        process.wait().await.unwrap();
        self.take(body).await;
        status == "204"
    }

    async fn take(&mut self, body: Vec<u8>) {
        let pieces = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(body))]);
        let mut events = EventStream::new(pieces);
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            self.got.push(Received {
                name: event.event.to_string(),
                data: event.data.to_string(),
                id: event.id.to_string(),
            });
        }
    }
}
