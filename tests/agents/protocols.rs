//! The protocols that a node serves: what their clients send, what the model's answer is in their words, and where they ask.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{Response, request::Parts},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower_sse::{
    Event, SseBody,
    runs::{AiSdk, ChatCompletions, Completion, Dialect, New, Plain, ProducerError, RunError, Runs, Writer},
};

use crate::node::{App, Gate};

/// What is hard to get through unchanged.
pub const TOKENS: [&str; 12] = [
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

/// What no client may learn.
pub const SECRET: &str = "the model's key is 1234";

/// What the model does. The tests send it as the user's prompt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    pub run: String,
    pub thread: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The first half of the tokens.
    Half,
    /// The other half.
    Rest,
    /// So much that a small node holds no more than this.
    Much,
    /// Waits until the test says so.
    Wait,
    Fail,
    Panic,
}

/// A protocol, as an application serves it.
pub trait Protocol: Dialect {
    /// Under which all of its paths are.
    const NAME: &'static str;
    /// Where its clients ask, and where they ask for a run that exists.
    const ASK: &'static str;
    const AGAIN: &'static str;

    fn new() -> Self;

    /// The user's prompt.
    fn prompt(request: &Value) -> &str;

    /// The events before the answer's text, of a part of it, and after it.
    fn begin(&self, run: &str) -> Vec<Event>;
    fn token(&self, run: &str, text: &str) -> Event;
    fn end(&self, run: &str) -> Vec<Event>;

    /// Answers with a run by what stands in the path.
    fn attach(runs: &Runs<Self>, id: &str, parts: &Parts) -> impl Future<Output = Response<SseBody>> + Send {
        runs.attach(id, parts)
    }
}

impl Protocol for AiSdk {
    const NAME: &'static str = "ai";
    const ASK: &'static str = "/api/chat";
    const AGAIN: &'static str = "/api/chat/{thread}/stream";

    fn new() -> Self {
        Self
    }

    fn prompt(request: &Value) -> &str {
        request["messages"][0]["parts"][0]["text"].as_str().unwrap()
    }

    fn begin(&self, run: &str) -> Vec<Event> {
        vec![Self::start(run), Self::text_start("1")]
    }

    fn token(&self, _: &str, text: &str) -> Event {
        Self::text_delta("1", text)
    }

    fn end(&self, _: &str) -> Vec<Event> {
        vec![Self::text_end("1")]
    }

    fn attach(runs: &Runs<Self>, id: &str, parts: &Parts) -> impl Future<Output = Response<SseBody>> + Send {
        runs.attach_thread(id, parts)
    }
}

impl Protocol for ChatCompletions {
    const NAME: &'static str = "completions";
    const ASK: &'static str = "/v1/chat/completions";
    const AGAIN: &'static str = "/v1/runs/{run}";

    fn new() -> Self {
        Self
    }

    fn prompt(request: &Value) -> &str {
        request["messages"][0]["content"].as_str().unwrap()
    }

    fn begin(&self, _: &str) -> Vec<Event> {
        Vec::new()
    }

    fn token(&self, run: &str, text: &str) -> Event {
        Completion::new(run, "any").delta(text)
    }

    fn end(&self, run: &str) -> Vec<Event> {
        vec![Completion::new(run, "any").finish("stop")]
    }
}

impl Protocol for Plain {
    const NAME: &'static str = "plain";
    const ASK: &'static str = "/runs/{run}";
    const AGAIN: &'static str = "/runs/{run}";

    fn new() -> Self {
        Self
    }

    fn prompt(request: &Value) -> &str {
        request["prompt"].as_str().unwrap()
    }

    fn begin(&self, _: &str) -> Vec<Event> {
        Vec::new()
    }

    /// As JSON, because the standard normalises the line endings of a plain text.
    fn token(&self, _: &str, text: &str) -> Event {
        Event::json(text).unwrap()
    }

    fn end(&self, _: &str) -> Vec<Event> {
        Vec::new()
    }
}

pub fn routes(app: &App) -> Router {
    Router::new().merge(of::<AiSdk>(app)).merge(of::<ChatCompletions>(app)).merge(of::<Plain>(app))
}

/// Starts a run of a protocol.
pub async fn start(app: &App, protocol: &str, script: Script) -> Result<String, RunError> {
    match protocol {
        AiSdk::NAME => spawn::<AiSdk>(app.clone(), script).await,
        ChatCompletions::NAME => spawn::<ChatCompletions>(app.clone(), script).await,
        Plain::NAME => spawn::<Plain>(app.clone(), script).await,
        other => panic!("{other}"),
    }
}

/// The path under which a client asks for a run that exists.
pub fn again(protocol: &str, script: &Script) -> String {
    let path = match protocol {
        AiSdk::NAME => AiSdk::AGAIN,
        ChatCompletions::NAME => ChatCompletions::AGAIN,
        Plain::NAME => Plain::AGAIN,
        other => panic!("{other}"),
    };
    path.replace("{run}", &script.run).replace("{thread}", &script.thread)
}

fn of<P: Protocol>(app: &App) -> Router {
    let router = Router::new().route(P::ASK, post(ask::<P>)).route(P::AGAIN, get(attach::<P>));
    Router::new().nest(&format!("/{}", P::NAME), router.with_state(app.clone()))
}

async fn ask<P: Protocol>(State(app): State<App>, Json(request): Json<Value>) -> Response<SseBody> {
    let script: Script = serde_json::from_str(P::prompt(&request)).unwrap();
    let runs = app.runs.dialect(P::new());
    runs.start(script.to_run(), move |run| answer::<P>(app, script, run)).await
}

async fn spawn<P: Protocol>(app: App, script: Script) -> Result<String, RunError> {
    let runs = app.runs.clone();
    runs.spawn(script.to_run(), move |run| answer::<P>(app, script, run)).await
}

async fn attach<P: Protocol>(State(app): State<App>, Path(id): Path<String>, parts: Parts) -> Response<SseBody> {
    P::attach(&app.runs.dialect(P::new()), &id, &parts).await
}

impl Script {
    fn to_run(&self) -> New {
        New::run().id(&self.run).thread(&self.thread)
    }
}

/// Does what the script says.
async fn answer<P: Protocol>(app: App, script: Script, run: Writer) -> Result<(), ProducerError> {
    let protocol = P::new();
    run.send_all(protocol.begin(run.id())).await?;
    for step in script.steps {
        match step {
            Step::Half => say(&protocol, &run, &TOKENS[..TOKENS.len() / 2]).await?,
            Step::Rest => say(&protocol, &run, &TOKENS[TOKENS.len() / 2..]).await?,
            Step::Much => say(&protocol, &run, &[&*"much".repeat(256); 40]).await?,
            Step::Wait => wait(&app, &run).await,
            Step::Fail => return Err(SECRET.into()),
            Step::Panic => panic!("{SECRET}"),
        }
    }
    run.send_all(protocol.end(run.id())).await?;
    Ok(())
}

async fn say<P: Protocol>(protocol: &P, run: &Writer, tokens: &[&str]) -> Result<(), RunError> {
    for token in tokens {
        run.send(protocol.token(run.id(), token)).await?;
    }
    Ok(())
}

/// Waits until the test opens the gate, or the run is to end.
async fn wait(app: &App, run: &Writer) {
    let gate = app.gate(run.id());
    gate.send_if_modified(|gate| {
        let ahead = *gate == Gate::Ahead;
        if ahead {
            *gate = Gate::Reached;
        }
        ahead
    });
    let mut gate = gate.subscribe();
    tokio::select! {
        _ = gate.wait_for(|gate| *gate == Gate::Open) => {}
        () = run.stopped() => {}
    }
}
