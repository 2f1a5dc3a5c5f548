//! The SDKs of LLM vendors, which are not an `EventSource`: they take the end of an answer for a complete answer. Only a strict
//! body tells them whether an answer is complete, and only a status tells them why there is none.

#[allow(dead_code)]
mod client;
mod dialect;

use std::{env, io::Write as _, net::Ipv4Addr, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::Response, http::Uri, routing::post, serve::ListenerExt};
use client::{Outcome, Program, Registry, Report, Request};
use dialect::Dialect;
use tokio::{net::TcpListener, time::timeout};
use tower_sse::{ChannelName, Event, Grant, OpenOptions, Publisher, SseBody, Start};

/// A test that waits this long has failed. This is a limit, not a measurement.
const STUCK: Duration = Duration::from_secs(60);
const CHANNEL: ChannelName = ChannelName::from_static("answer");
/// The length of the answer, and of what is published of it before the shutdown.
const WHOLE: usize = 3_598;
const PART: usize = 690;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sdk {
    NpmOpenai,
    NpmAnthropic,
    NpmAi,
    PythonOpenai,
}

impl Sdk {
    /// `None` if it is not installed.
    fn program(self) -> Option<Program> {
        let registry = match self {
            Self::PythonOpenai => Registry::PyPi,
            Self::NpmOpenai | Self::NpmAnthropic | Self::NpmAi => Registry::Npm,
        };
        registry.has(self.names().0).then(|| Program::start(registry).expect("it is installed"))
    }

    /// Its package, and the file that uses it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::NpmOpenai => ("openai", "openai"),
            Self::NpmAnthropic => ("@anthropic-ai/sdk", "anthropic"),
            Self::NpmAi => ("ai", "ai"),
            Self::PythonOpenai => ("openai", "openai_client"),
        }
    }
}

/// A server whose answers are strict, or not.
struct Server {
    publisher: Publisher,
    options: OpenOptions,
    strict: bool,
}

impl Server {
    /// Serves, and has one client ask, while `publish` publishes. `None` if the client is not installed.
    async fn ask(self, sdk: Sdk, publish: impl AsyncFnOnce(&Publisher)) -> Option<Report> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let publisher = self.publisher.clone();
        let app = Router::new().fallback_service(post(answer).with_state(Arc::new(self)));
        let listener = listener.tap_io(|tcp| tcp.set_nodelay(true).unwrap());
        let served = tokio::spawn(async { axum::serve(listener, app).await });
        let Some(program) = sdk.program() else {
            let required = env::var_os("TOWER_SSE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
            assert!(!required, "{sdk:?} is not installed");
            // Not with `eprintln`, which the test harness hides when a test passes.
            _ = writeln!(std::io::stderr(), "\nLEFT OUT: a test with {sdk:?}, which is not installed\n");
            return None;
        };
        let (package, file) = sdk.names();
        let request = Request { package: package.into(), file: file.into(), act: "ask", url, ..Request::default() };
        let client = async { program.send(request).await.report().await };
        let (report, ()) = tokio::join!(client, publish(&publisher));
        served.abort();
        Some(report)
    }
}

async fn answer(State(server): State<Arc<Server>>, uri: Uri, _prompt: String) -> Response<SseBody> {
    let Server { publisher, options, strict } = &*server;
    match options.open(publisher, Grant::new([CHANNEL]), None).await {
        Ok(subscription) => {
            let body = SseBody::new(subscription).transform(Dialect::of(uri.path()));
            if *strict { body.strict().into_response() } else { body.into_response() }
        }
        Err(error) if *strict => SseBody::refused_strictly(publisher, &error),
        Err(error) => SseBody::refused(publisher, &error),
    }
}

fn server(strict: bool) -> Server {
    let options = OpenOptions::new().start(Start::Earliest);
    // The SDKs retry after a refusal, and soon give up.
    let publisher = Publisher::builder().reconnect(Duration::ZERO, Duration::ZERO).build();
    Server { publisher, options, strict }
}

/// Publishes the answer, ten characters at a time, from one character to another.
async fn publish(publisher: &Publisher, from: usize, to: usize) {
    for at in (from..to).step_by(10) {
        let token = "lorem ipsum dolor"[..10.min(to - at)].to_owned();
        publisher.channel(CHANNEL).send(Event::text(token)).await.unwrap();
    }
}

/// Waits until the client reads. It is an error if that takes longer than anything here should.
async fn until_connected(publisher: &Publisher) {
    let connected = async {
        while publisher.connections() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(STUCK, connected).await.expect("the client connects");
}

fn is_error(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Error(_))
}

async fn shut_down_in_mid_answer(publisher: &Publisher) {
    publish(publisher, 0, PART).await;
    until_connected(publisher).await;
    assert!(publisher.shutdown(STUCK).await);
}

async fn takes_a_cut_answer_for_a_complete_one_unless_it_is_strict(sdk: Sdk) {
    let Some(report) = server(false).ask(sdk, shut_down_in_mid_answer).await else { return };
    assert!(report.text.len() == PART && !is_error(&report), "{report:?}: this is why a body can be strict");
    let report = server(true).ask(sdk, shut_down_in_mid_answer).await.unwrap();
    assert!(report.text.len() <= PART && is_error(&report), "{report:?}");
}

async fn takes_a_refusal_for_an_empty_answer_unless_it_is_strict(sdk: Sdk) {
    let full = |strict| Server { options: OpenOptions::new().max_per_channel(0), ..server(strict) };
    let Some(report) = full(false).ask(sdk, async |_: &Publisher| ()).await else { return };
    assert!(report.text.is_empty() && !is_error(&report), "{report:?}: this is why a refusal can have a status");
    let report = full(true).ask(sdk, async |_: &Publisher| ()).await.unwrap();
    assert!(report.text.is_empty() && is_error(&report), "{report:?}");
}

async fn gets_a_complete_answer_that_is_strict(sdk: Sdk) {
    let all = async |publisher: &Publisher| {
        publish(publisher, 0, PART).await;
        until_connected(publisher).await;
        publish(publisher, PART, WHOLE - 1).await;
        publisher.channel(CHANNEL).finish(Event::text(".")).await.unwrap();
    };
    let Some(report) = server(true).ask(sdk, all).await else { return };
    assert_eq!((report.text.len(), report.outcome), (WHOLE, Outcome::Complete));
}

macro_rules! sdks {
    ($($name:ident: $sdk:ident,)*) => {
        $(mod $name {
            use super::Sdk;

            #[tokio::test]
            async fn takes_a_cut_answer_for_a_complete_one_unless_it_is_strict() {
                super::takes_a_cut_answer_for_a_complete_one_unless_it_is_strict(Sdk::$sdk).await;
            }

            #[tokio::test]
            async fn takes_a_refusal_for_an_empty_answer_unless_it_is_strict() {
                super::takes_a_refusal_for_an_empty_answer_unless_it_is_strict(Sdk::$sdk).await;
            }

            #[tokio::test]
            async fn gets_a_complete_answer_that_is_strict() {
                super::gets_a_complete_answer_that_is_strict(Sdk::$sdk).await;
            }
        })*
    };
}

sdks! {
    npm_openai: NpmOpenai,
    npm_anthropic: NpmAnthropic,
    npm_ai: NpmAi,
    python_openai: PythonOpenai,
}
