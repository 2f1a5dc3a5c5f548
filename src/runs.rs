//! Runs: answers that outlive their readers, with one writer and one outcome, on any node.
//!
//! A *run* is one production of events, such as the answer of an agent. It has a producer, which your application writes, and
//! goes on when its readers leave. Each reader gets all of it, from the beginning or after what it has, on whichever node. At
//! the end it has an [`Outcome`], of which readers are told in the protocol of their client: the [`Dialect`].
//!
//! This is the backend of a resumable `useChat`:
//!
//! ```
//! use axum::{Json, Router, extract::{Path, State}, http::{Response, StatusCode, request::Parts}, routing::{get, post}};
//! use serde_json::Value;
//! use tower_sse::{Publisher, SseBody, runs::{AiSdk, New, Runs}};
//!
//! # fn ask_the_model(_: &Value) -> Vec<String> { Vec::new() }
//! type Answer = Result<Response<SseBody>, StatusCode>;
//!
//! async fn chat(State(runs): State<Runs<AiSdk>>, Json(request): Json<Value>) -> Answer {
//!     let chat = request["id"].as_str().ok_or(StatusCode::BAD_REQUEST)?;
//!     let answer = runs.start(New::run().thread(chat), async move |run| {
//!         run.send_all([AiSdk::start(run.id()), AiSdk::text_start("1")]).await?;
//!         for token in ask_the_model(&request["messages"]) {
//!             run.send(AiSdk::text_delta("1", token)).await?;
//!         }
//!         run.send(AiSdk::text_end("1")).await?;
//!         Ok(())
//!     });
//!     Ok(answer.await)
//! }
//!
//! async fn resume(State(runs): State<Runs<AiSdk>>, Path(chat): Path<String>, parts: Parts) -> Response<SseBody> {
//!     runs.attach_thread(&chat, &parts).await
//! }
//!
//! let app: Router = Router::new()
//!     .route("/api/chat", post(chat))
//!     .route("/api/chat/{id}/stream", get(resume))
//!     .with_state(Runs::new(Publisher::new(), AiSdk));
//! ```
//!
//! # One writer
//!
//! The id of a run can be started once, on all nodes together: a second start is a conflict. At most one run of a *thread*,
//! such as a chat, is active; [`Conflict`] says what becomes of another one. Every append carries a
//! [fence](crate::Channel::fence).
//!
//! # One outcome
//!
//! The outcome is the run's last event, and is written in the same step as the end of its channel:
//!
//! | outcome | when |
//! | --- | --- |
//! | [`Done`](Outcome::Done) | the producer returned `Ok` |
//! | [`Failed`](Outcome::Failed) | it returned an error, or panicked |
//! | [`Stopped`](Outcome::Stopped) | somebody [stopped](Runs::stop) the run |
//! | [`Drained`](Outcome::Drained) | its node was [drained](Runs::drain), as for a deploy |
//! | [`Lost`](Outcome::Lost) | its task was dropped, or its node died or was cut off |
//!
//! With a backend, a node that has runs says three times in a [lease](Runs::lease) that it is alive. A node on which somebody
//! reads or waits for a run of another node notices when that falls silent, at the latest two seconds after the lease, and ends
//! its runs as lost, under a higher fence: if the old producer wakes up, nothing that it sends gets in. While the store does
//! not answer, nobody is lost. A run that nobody reads or asks for stays as it is until somebody does.
//!
//! A run has one writer at a time. If its node is drained, the run can be [handed over](Runs::on_drain) to another node, which
//! writes under a higher fence.
//!
//! # Dialects
//!
//! | dialect | clients | done | stopped | failed, lost, drained | goes on after | no such run |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | [`AiSdk`] | the AI SDK | `finish`, `[DONE]` | `abort`, `[DONE]` | `error`, `[DONE]` | `Last-Event-ID` | 204 |
//! | [`ChatCompletions`] | OpenAI | `[DONE]` | error object | error object | `Last-Event-ID` | 404 |
//! | [`Responses`] | OpenAI | `response.completed` | `response.incomplete`, `error` | `response.failed`, `error` | `starting_after` | 404 |
//! | [`Anthropic`] | Anthropic | `message_stop` | `error` | `error` | `Last-Event-ID` | 404 |
//! | [`AgUi`] | AG-UI | `RUN_FINISHED` | `RUN_ERROR` | `RUN_ERROR` | `Last-Event-ID` | 404 |
//! | [`Mcp`] | MCP | the result | error response | error response | `Last-Event-ID` | 410 |
//! | [`Plain`] | `EventSource` | `run.outcome` | `run.outcome` | `run.outcome` | `Last-Event-ID` | 404 |
//!
//! Of these clients, only `EventSource` and those of MCP send a `Last-Event-ID` by itself. Except with [`Plain`], an answer that is cut breaks off,
//! so that the client reports an error. If the beginning of the run is gone, the answer is a 410.
//!
//! # What it costs
//!
//! A run is a task and a channel. A start is one append, and with a thread one more and two questions; the end is one append,
//! with a thread two. A run that is idle costs nothing: nothing polls, and a node says that it is alive for all of its runs
//! together.
//!
//! A late reader gets what is held in few events, merged by the [rule](Dialect::delta) of the dialect. A node keeps the merged
//! form of the 32 runs that were joined last, at most about 256 KiB of each, on top of what the hub counts. A reader that has
//! caught up gets every event by itself.
//!
//! # Channels
//!
//! The run `7` is the channel `run/7`, and can be read like any other. Its first event is named `run.started`, and its last one
//! `run.outcome`. The channel `thread/7` remembers which run of a thread is active, and through the channel `runs` the nodes
//! tell each other what they have to. A route that serves any channel by its name serves these, too.

mod active;
mod answer;
mod control;
mod deploy;
mod dialect;
mod error;
mod finish;
mod follow;
mod handle;
mod handover;
mod head;
mod late;
mod lease;
mod local;
mod merge;
mod names;
mod new;
mod outcome;
mod produce;
mod race;
mod roll_up;
mod settings;
mod starting;
mod status;
mod talk;
mod thread;
mod writer;

pub use self::{
    dialect::{
        AgUi, AiSdk, Anthropic, ChatCompletions, Completion, Delta, Dialect, Mcp, ModelResponse, Plain, Responses,
    },
    error::RunError,
    handle::Runs,
    new::New,
    outcome::Outcome,
    settings::{Conflict, OnDrain, ProducerError},
    status::Status,
    writer::Writer,
};
