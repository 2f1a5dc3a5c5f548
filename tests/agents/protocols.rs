//! The protocols that a node serves: what their clients send, what the model's answer is in their words, and where they ask.

pub mod mcp;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{Response, request::Parts},
    routing::{get, post},
};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower_sse::{
    Event, SseBody,
    runs::{
        AgUi, AiSdk, Anthropic, ChatCompletions, Completion, Dialect, ModelResponse, New, Plain, ProducerError,
        Responses, RunError, Runs, Writer,
    },
};

use crate::node::{App, Gate};

/// Tokens that are hard to get through unchanged.
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
    /// As much as a small node can hold.
    Much,
    /// Waits until the test opens the gate.
    Wait,
    Fail,
    Panic,
}

/// A protocol, as an application serves it.
pub trait Protocol: Dialect + Default {
    /// The prefix of all of its paths.
    const NAME: &'static str;
    /// Where its clients ask, and where they attach to a run that exists.
    const ASK: &'static str;
    const AGAIN: &'static str;
    /// What they add to that for a stream.
    const QUERY: &'static str = "";

    /// What makes the events of an answer.
    type Answer: Answer;

    /// The user's prompt.
    fn prompt(request: &Value) -> &str;

    /// What its clients can ask for besides.
    fn more() -> Router<App> {
        Router::new()
    }

    /// Answers with a run by what stands in the path.
    fn attach(runs: &Runs<Self>, id: &str, parts: &Parts) -> impl Future<Output = Response<SseBody>> + Send {
        runs.attach(id, parts)
    }
}

/// What makes the events of an answer.
pub trait Answer: Send {
    fn new(run: &str) -> Self;

    /// The events before the text, of a part of it, and after it.
    fn begin(&mut self) -> Vec<Event> {
        Vec::new()
    }
    fn token(&mut self, text: &str) -> Event;
    fn end(&mut self) -> Vec<Event> {
        Vec::new()
    }
}

impl Protocol for AiSdk {
    const NAME: &'static str = "ai";
    const ASK: &'static str = "/api/chat";
    const AGAIN: &'static str = "/api/chat/{thread}/stream";

    type Answer = UiMessage;

    fn prompt(request: &Value) -> &str {
        request["messages"][0]["parts"][0]["text"].as_str().unwrap()
    }

    fn attach(runs: &Runs<Self>, id: &str, parts: &Parts) -> impl Future<Output = Response<SseBody>> + Send {
        runs.attach_thread(id, parts)
    }
}

pub struct UiMessage(String);

impl Answer for UiMessage {
    fn new(run: &str) -> Self {
        Self(run.to_owned())
    }

    fn begin(&mut self) -> Vec<Event> {
        vec![AiSdk::start(&self.0), AiSdk::text_start("1")]
    }

    fn token(&mut self, text: &str) -> Event {
        AiSdk::text_delta("1", text)
    }

    fn end(&mut self) -> Vec<Event> {
        vec![AiSdk::text_end("1")]
    }
}

impl Protocol for ChatCompletions {
    const NAME: &'static str = "completions";
    const ASK: &'static str = "/v1/chat/completions";
    const AGAIN: &'static str = "/v1/runs/{run}";

    type Answer = Completion;

    fn prompt(request: &Value) -> &str {
        request["messages"][0]["content"].as_str().unwrap()
    }
}

impl Answer for Completion {
    fn new(run: &str) -> Self {
        Self::new(run, "any")
    }

    fn token(&mut self, text: &str) -> Event {
        self.delta(text)
    }

    fn end(&mut self) -> Vec<Event> {
        vec![self.finish("stop")]
    }
}

impl Protocol for Responses {
    const NAME: &'static str = "responses";
    const ASK: &'static str = "/v1/responses";
    const AGAIN: &'static str = "/v1/responses/{run}";
    const QUERY: &'static str = "?stream=true";

    type Answer = ModelResponse;

    fn prompt(request: &Value) -> &str {
        request["input"].as_str().unwrap()
    }

    fn attach(runs: &Runs<Self>, id: &str, parts: &Parts) -> impl Future<Output = Response<SseBody>> + Send {
        runs.retrieve(id, parts)
    }

    fn more() -> Router<App> {
        let cancel =
            async |State(app): State<App>, Path(id): Path<String>| app.runs.dialect(Self::default()).cancel(&id).await;
        Router::new().route("/v1/responses/{run}/cancel", post(cancel))
    }
}

impl Answer for ModelResponse {
    fn new(run: &str) -> Self {
        Self::new(run, "any")
    }

    fn begin(&mut self) -> Vec<Event> {
        [vec![self.created()], self.text_start().into()].concat()
    }

    fn token(&mut self, text: &str) -> Event {
        self.text_delta(text)
    }

    fn end(&mut self) -> Vec<Event> {
        [self.text_end().into(), vec![self.completed()]].concat()
    }
}

impl Protocol for Anthropic {
    const NAME: &'static str = "messages";
    const ASK: &'static str = "/v1/messages";
    const AGAIN: &'static str = "/v1/runs/{run}";

    type Answer = Message;

    fn prompt(request: &Value) -> &str {
        request["messages"][0]["content"].as_str().unwrap()
    }
}

pub struct Message(String);

impl Answer for Message {
    fn new(run: &str) -> Self {
        Self(run.to_owned())
    }

    fn begin(&mut self) -> Vec<Event> {
        vec![Anthropic::start(&self.0, "any"), Anthropic::text_start(0)]
    }

    fn token(&mut self, text: &str) -> Event {
        Anthropic::text_delta(0, text)
    }

    fn end(&mut self) -> Vec<Event> {
        vec![Anthropic::block_stop(0), Anthropic::finish("end_turn", 9)]
    }
}

impl Protocol for AgUi {
    const NAME: &'static str = "ag-ui";
    const ASK: &'static str = "/agent";
    const AGAIN: &'static str = "/runs/{run}";

    type Answer = UiText;

    fn prompt(request: &Value) -> &str {
        request["messages"][0]["content"].as_str().unwrap()
    }
}

pub struct UiText(String);

impl Answer for UiText {
    fn new(run: &str) -> Self {
        Self(run.to_owned())
    }

    fn begin(&mut self) -> Vec<Event> {
        vec![AgUi::run_started("any", &self.0), AgUi::text_start("1")]
    }

    fn token(&mut self, text: &str) -> Event {
        AgUi::text_content("1", text)
    }

    fn end(&mut self) -> Vec<Event> {
        vec![AgUi::text_end("1")]
    }
}

impl Protocol for Plain {
    const NAME: &'static str = "plain";
    const ASK: &'static str = "/runs/{run}";
    const AGAIN: &'static str = "/runs/{run}";

    type Answer = Texts;

    fn prompt(request: &Value) -> &str {
        request["prompt"].as_str().unwrap()
    }
}

/// Each part of the text is JSON, because the standard normalises the line endings of a plain text.
pub struct Texts;

impl Answer for Texts {
    fn new(_: &str) -> Self {
        Self
    }

    fn token(&mut self, text: &str) -> Event {
        Event::json(text).unwrap()
    }
}

/// All protocols.
pub const PROTOCOLS: [Served; 7] = [
    Served::new::<AiSdk>(),
    Served::new::<ChatCompletions>(),
    Served::new::<Responses>(),
    Served::new::<Anthropic>(),
    Served::new::<AgUi>(),
    mcp::SERVED,
    Served::new::<Plain>(),
];

/// A protocol, as a node serves it.
#[derive(Clone, Copy)]
pub struct Served {
    pub name: &'static str,
    again: [&'static str; 2],
    /// Answers its clients.
    pub routes: fn(&App) -> Router,
    /// Starts a run that nobody reads yet.
    pub start: fn(App, Script) -> BoxFuture<'static, Result<String, RunError>>,
}

impl Served {
    const fn new<P: Protocol>() -> Self {
        Self {
            name: P::NAME,
            again: [P::AGAIN, P::QUERY],
            routes: |app| {
                let router =
                    Router::new().route(P::ASK, post(ask::<P>)).route(P::AGAIN, get(attach::<P>)).merge(P::more());
                Router::new().nest(&format!("/{}", P::NAME), router.with_state(app.clone()))
            },
            start: |app, script| {
                let runs = app.runs.clone();
                let started = async move { runs.spawn(script.to_run(), |run| answer::<P>(app, script, run)).await };
                Box::pin(started)
            },
        }
    }

    pub fn of(name: &str) -> Self {
        PROTOCOLS.into_iter().find(|served| served.name == name).expect("it is one of them")
    }

    /// The path under which a client asks for a run that exists.
    pub fn again(self, script: &Script) -> String {
        self.again.concat().replace("{run}", &script.run).replace("{thread}", &script.thread)
    }
}

async fn ask<P: Protocol>(State(app): State<App>, Json(request): Json<Value>) -> Response<SseBody> {
    let script: Script = serde_json::from_str(P::prompt(&request)).unwrap();
    let runs = app.runs.dialect(P::default());
    runs.start(script.to_run(), move |run| answer::<P>(app, script, run)).await
}

async fn attach<P: Protocol>(State(app): State<App>, Path(id): Path<String>, parts: Parts) -> Response<SseBody> {
    P::attach(&app.runs.dialect(P::default()), &id, &parts).await
}

impl Script {
    fn to_run(&self) -> New {
        New::run().id(&self.run).thread(&self.thread)
    }
}

/// Makes the answer that the script describes.
async fn answer<P: Protocol>(app: App, script: Script, run: Writer) -> Result<(), ProducerError> {
    let mut answer = P::Answer::new(run.id());
    run.send_all(answer.begin()).await?;
    act(&app, script.steps, &mut answer, &run).await?;
    run.send_all(answer.end()).await?;
    Ok(())
}

/// Does what the script says.
async fn act(app: &App, steps: Vec<Step>, answer: &mut impl Answer, run: &Writer) -> Result<(), ProducerError> {
    take(app, steps, answer, run).await.inspect_err(|error| eprintln!("{}: {error:?}", run.id()))
}

async fn take(app: &App, steps: Vec<Step>, answer: &mut impl Answer, run: &Writer) -> Result<(), ProducerError> {
    for step in steps {
        match step {
            Step::Half => say(answer, run, &TOKENS[..TOKENS.len() / 2]).await?,
            Step::Rest => say(answer, run, &TOKENS[TOKENS.len() / 2..]).await?,
            Step::Much => say(answer, run, &[&*"much".repeat(256); 40]).await?,
            Step::Wait => wait(app, run).await,
            Step::Fail => return Err(SECRET.into()),
            Step::Panic => panic!("{SECRET}"),
        }
    }
    Ok(())
}

async fn say(answer: &mut impl Answer, run: &Writer, tokens: &[&str]) -> Result<(), RunError> {
    for token in tokens {
        run.send(answer.token(token)).await?;
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
