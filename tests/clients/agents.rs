//! Runs with the clients of agents: each gets the exact text, and reports every end that is not the answer's as an error.

use std::{
    env,
    io::Write as _,
    net::Ipv4Addr,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{self, State},
    http::{Response, request::Parts},
    routing::{get, post},
    serve::ListenerExt,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{net::TcpListener, process::Command, time::timeout};
use tower_sse::{
    Publisher, SseBody,
    runs::{AiSdk, ChatCompletions, Completion, New, ProducerError, Runs, Writer},
};

/// A test that waits this long has failed. It does not measure anything.
const STUCK: Duration = Duration::from_secs(60);
/// What is hard to get through unchanged.
const TOKENS: [&str; 12] = [
    "data: x",
    "\n\n",
    "[DONE]",
    "\r",
    "\r\n",
    "\0",
    "\u{2028}\u{2029}",
    "🦀👩‍👩‍👧",
    ": comment\n",
    "id: 7\n",
    "\u{feff}",
    " end ",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    NpmOpenai,
    PythonOpenai,
    AiSdk,
}

/// How a client reports its answer.
#[derive(Debug, Deserialize)]
struct Report {
    text: String,
    ended: Option<String>,
    status: Option<u16>,
    error: Option<String>,
}

impl Client {
    /// `None` if it is not installed.
    fn command(self, url: &str, what: &str) -> Option<Command> {
        // `scripts/install-clients` puts them into the target folder.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = match self {
            Self::NpmOpenai => "openai",
            Self::AiSdk => "ai",
            Self::PythonOpenai => {
                let python = folder.join("python/bin/python");
                let mut command = Command::new(&python);
                command.arg(here.join("python/agent.py")).arg(url);
                return python.exists().then_some(command);
            }
        };
        let mut command = Command::new("node");
        command.arg(here.join("node/agent.mjs")).arg(&folder).arg(package).arg(url).arg(what);
        folder.join("node_modules").join(package).exists().then_some(command)
    }

    async fn run(self, url: &str, what: &str) -> Option<Report> {
        let Some(mut command) = self.command(url, what) else {
            let required = env::var_os("TOWER_SSE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
            assert!(!required, "{self:?} is not installed");
            // Not with `eprintln`, which the test harness hides when a test passes.
            _ = writeln!(std::io::stderr(), "\nLEFT OUT: a test with {self:?}, which is not installed\n");
            return None;
        };
        let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).output();
        let Output { stdout, status, .. } = timeout(STUCK, output).await.expect("it ends").unwrap();
        assert!(status.success(), "{self:?}: {status}");
        Some(serde_json::from_slice(&stdout).unwrap())
    }
}

/// How an answer ends that has sent half of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Fails,
    Panics,
    WhenAsked,
}

#[derive(Clone)]
struct App {
    chat: Runs<AiSdk>,
    completions: Runs<ChatCompletions>,
    end: End,
}

impl App {
    fn new(end: End) -> Self {
        let chat = Runs::new(Publisher::new(), AiSdk);
        Self { completions: chat.dialect(ChatCompletions), chat, end }
    }

    async fn serve(&self) -> String {
        let app = Router::new()
            .route("/api/chat", post(chat))
            .route("/api/chat/{id}/stream", get(resume))
            .route("/v1/chat/completions", post(completions))
            .with_state(self.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(|tcp| tcp.set_nodelay(true).unwrap());
        tokio::spawn(async { axum::serve(listener, app).await });
        url
    }

    /// Waits until so many connections read the answer.
    async fn until_read_by(&self, readers: usize) {
        while self.chat.publisher().connections() < readers {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Goes on after half of the tokens as the test wants.
async fn halfway(end: End, run: &Writer) -> Result<(), ProducerError> {
    match end {
        End::Whole => Ok(()),
        End::Fails => Err("the model's key is 1234".into()),
        End::Panics => panic!("the model's key is 1234"),
        End::WhenAsked => {
            run.stopped().await;
            std::future::pending().await
        }
    }
}

async fn chat(State(app): State<App>, Json(request): Json<Value>) -> Response<SseBody> {
    let new = New::run().thread(request["id"].as_str().unwrap());
    let runs = app.chat.grace(Duration::ZERO);
    runs.start(new, async move |run| {
        run.send_all([AiSdk::start(run.id()), AiSdk::text_start("1")]).await?;
        for (n, token) in TOKENS.iter().enumerate() {
            if n == TOKENS.len() / 2 {
                halfway(app.end, &run).await?;
            }
            run.send(AiSdk::text_delta("1", token)).await?;
        }
        run.send(AiSdk::text_end("1")).await?;
        Ok(())
    })
    .await
}

async fn resume(State(app): State<App>, extract::Path(id): extract::Path<String>, parts: Parts) -> Response<SseBody> {
    app.chat.attach_thread(&id, &parts).await
}

async fn completions(State(app): State<App>, Json(_): Json<Value>) -> Response<SseBody> {
    let runs = app.completions.grace(Duration::ZERO);
    runs.start(New::run().thread("chat"), async move |run| {
        let completion = Completion::new(run.id(), "any");
        for (n, token) in TOKENS.iter().enumerate() {
            if n == TOKENS.len() / 2 {
                halfway(app.end, &run).await?;
            }
            run.send(completion.delta(token)).await?;
        }
        run.send(completion.finish("stop")).await?;
        Ok(())
    })
    .await
}

fn half() -> String {
    TOKENS[..TOKENS.len() / 2].concat()
}

async fn gets_the_exact_text(client: Client) {
    let url = App::new(End::Whole).serve().await;
    let Some(report) = client.run(&url, "ask").await else { return };
    assert_eq!((report.text, report.error), (TOKENS.concat(), None));
    assert_eq!(report.ended.unwrap(), if client == Client::AiSdk { "finish" } else { "stop" });
}

async fn reports_a_producer_that_fails_without_its_text(client: Client) {
    for end in [End::Fails, End::Panics] {
        let url = App::new(end).serve().await;
        let Some(report) = client.run(&url, "ask").await else { return };
        assert!(half().starts_with(&report.text), "{report:?}");
        let error = report.error.expect("it reports an error");
        assert!(error.contains("the run failed") && !error.contains("1234"), "{error}");
    }
}

async fn reports_a_deploy(client: Client) {
    let app = App::new(End::WhenAsked);
    let url = app.serve().await;
    if client.command(&url, "").is_none() {
        return drop(client.run(&url, "").await);
    }
    let deploy = async {
        app.until_read_by(1).await;
        app.chat.drain(Duration::ZERO).await
    };
    let (report, drained) = tokio::join!(client.run(&url, "ask"), deploy);
    assert_eq!(drained, 1);
    let report = report.unwrap();
    assert!(report.error.unwrap().contains("shut down"));
}

async fn reports_a_second_request_of_a_chat(client: Client) {
    let app = App::new(End::WhenAsked);
    let url = app.serve().await;
    let other = async |run: Writer| {
        run.stopped().await;
        Ok(())
    };
    app.chat.spawn(New::run().thread("chat"), other).await.unwrap();
    let Some(report) = client.run(&url, "ask").await else { return };
    assert_eq!(report.text, "");
    let error = report.error.expect("it reports an error");
    assert!(report.status == Some(409) || error.contains("another run of the thread is active"), "{error}");
}

async fn is_told_that_its_run_was_stopped(client: Client) {
    let app = App::new(End::WhenAsked);
    let url = app.serve().await;
    if client.command(&url, "").is_none() {
        return drop(client.run(&url, "").await);
    }
    let stop = async {
        app.until_read_by(1).await;
        app.chat.stop_thread("chat").await.unwrap();
    };
    let (report, ()) = tokio::join!(client.run(&url, "ask"), stop);
    let report = report.unwrap();
    match client {
        // As after its own `stop()`: it shows what there is.
        Client::AiSdk => assert_eq!((report.text, report.error), (half(), None)),
        Client::NpmOpenai | Client::PythonOpenai => assert!(report.error.unwrap().contains("stopped")),
    }
}

macro_rules! clients {
    ($($name:ident: $client:ident,)*) => {
        $(mod $name {
            clients! { @cases $client:
                gets_the_exact_text,
                reports_a_producer_that_fails_without_its_text,
                reports_a_deploy,
                reports_a_second_request_of_a_chat,
                is_told_that_its_run_was_stopped,
            }
        })*
    };
    (@cases $client:ident: $($case:ident,)*) => {
        $(#[tokio::test]
        async fn $case() {
            super::$case(super::Client::$client).await;
        })*
    };
}

clients! {
    npm_openai: NpmOpenai,
    python_openai: PythonOpenai,
    ai_sdk: AiSdk,
}

#[tokio::test]
async fn a_page_of_the_ai_sdk_that_comes_late_gets_the_whole_answer() {
    let app = App::new(End::Whole);
    let url = app.serve().await;
    let Some(none) = Client::AiSdk.run(&url, "resume").await else { return };
    assert_eq!((none.text, none.error), (String::new(), None), "no answer is under way");

    let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
    let producer = async move |run: Writer| {
        run.send_all([AiSdk::start(run.id()), AiSdk::text_start("1")]).await?;
        for token in TOKENS {
            run.send(AiSdk::text_delta("1", token)).await?;
        }
        wait.await?;
        run.send_all([AiSdk::text_delta("1", "late"), AiSdk::text_end("1")]).await?;
        Ok(())
    };
    app.chat.spawn(New::run().thread("chat"), producer).await.unwrap();
    let rest = async {
        app.until_read_by(1).await;
        go_on.send(()).unwrap();
    };
    let (report, ()) = tokio::join!(Client::AiSdk.run(&url, "resume"), rest);
    let report = report.unwrap();
    assert_eq!((report.text, report.error), (TOKENS.concat() + "late", None));
    assert_eq!(report.ended.as_deref(), Some("finish"));
}
