//! AG-UI.

use std::borrow::Cow;

use http::request::Parts;
use serde_json::{Value, json};

use super::{Delta, Dialect, Outcome, position::Position, splice};
use crate::{
    runs::names,
    serve::Output,
    wire::{encoded::EncodedEvent, event::Event},
};

/// The dialect of [AG-UI][spec], the Agent User Interaction Protocol, over SSE.
///
/// The functions here make the events. Send [`run_started`](Self::run_started) first and leave `RUN_FINISHED` out: it follows
/// from the outcome. A run that is [done](Outcome::Done) ends with `RUN_FINISHED`, and any other one with `RUN_ERROR`, whose
/// `code` is the outcome in one word. If your producer sends a `RUN_FINISHED` of its own, with a result or an interrupt, the
/// dialect adds nothing to it.
///
/// Start the run with the `runId` of the request as its id and the `threadId` as its thread.
///
/// `HttpAgent` can't come back to a run, since its `connect` is not implemented. One that you derive from it can ask for the
/// run or the thread there.
///
/// ```
/// use tower_sse::runs::{AgUi, RunError, Writer};
///
/// async fn answer(run: Writer, thread: &str) -> Result<(), RunError> {
///     run.send_all([AgUi::run_started(thread, run.id()), AgUi::text_start("1")]).await?;
///     for word in ["Hello", ", ", "world"] {
///         run.send(AgUi::text_content("1", word)).await?;
///     }
///     run.send(AgUi::text_end("1")).await?;
///     Ok(())
/// }
/// ```
///
/// [spec]: https://docs.ag-ui.com/concepts/events
#[derive(Debug, Clone, Default)]
pub struct AgUi {
    after: Option<Position>,
    started: Option<EncodedEvent>,
    /// The producer itself has told the end.
    has_ended: bool,
}

impl AgUi {
    /// The first event of a run. `run` has to be the id of the run.
    pub fn run_started(thread: &str, run: &str) -> Event {
        Self::event(&json!({ "type": "RUN_STARTED", "threadId": thread, "runId": run }))
    }

    /// A message of the assistant begins. The id tells it from other messages.
    pub fn text_start(message: &str) -> Event {
        Self::event(&json!({ "type": "TEXT_MESSAGE_START", "messageId": message, "role": "assistant" }))
    }

    /// A message goes on. Its text must not be empty.
    pub fn text_content(message: &str, delta: impl AsRef<str>) -> Event {
        let delta = delta.as_ref();
        Self::event(&json!({ "type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": delta }))
    }

    /// A message ends.
    pub fn text_end(message: &str) -> Event {
        Self::event(&json!({ "type": "TEXT_MESSAGE_END", "messageId": message }))
    }

    /// Any event of the protocol, such as one of a tool call or of the state.
    pub fn event(event: &Value) -> Event {
        Event::text(event.to_string())
    }

    fn see(&mut self, event: &EncodedEvent) {
        let data = event.data();
        match splice::string(&data, &["type"]) {
            Some("RUN_STARTED") => {
                self.started = Some(event.clone());
                self.has_ended = false;
            }
            Some("RUN_FINISHED" | "RUN_ERROR") => self.has_ended = true,
            _ => {}
        }
    }

    /// The ids of the run, as it has begun with them.
    fn ids(&self, run: &str) -> (Value, Value) {
        let started = self.started.as_ref().and_then(|event| serde_json::from_str::<Value>(&event.data()).ok());
        started.map_or(("".into(), run.into()), |mut event| (event["threadId"].take(), event["runId"].take()))
    }
}

impl Dialect for AgUi {
    fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
        if self.has_ended {
            return;
        }
        let (thread, run) = self.ids(names::run_in(source.channel()));
        let last = match outcome {
            Outcome::Done => json!({ "type": "RUN_FINISHED", "threadId": thread, "runId": run }),
            other => json!({ "type": "RUN_ERROR", "message": other.message(), "code": other.as_str() }),
        };
        out.replace(source, Self::event(&last));
    }

    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for event in events {
            self.see(event);
            out.pass(event);
        }
    }

    /// Merges what is said in one message, what is reasoned in one, and the arguments of one tool call.
    fn delta<'a>(_name: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        match splice::string(data, &["type"])? {
            "TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CONTENT" | "TOOL_CALL_ARGS" => {
                splice::delta(data, &["delta"], &["timestamp"])
            }
            _ => None,
        }
    }

    fn with_text<'a>(data: &'a str, text: &str) -> Cow<'a, str> {
        splice::with_text(data, &["delta"], text)
    }

    // The end of the run repeats what its beginning says.
    fn seeks(&mut self, parts: &Parts) -> bool {
        self.after = Position::of(self.last_event_id(parts).as_deref());
        self.after.is_some()
    }

    fn has(&mut self, event: &EncodedEvent) -> bool {
        let has = self.after.is_some_and(|after| after.is_at_or_after(event));
        if has {
            self.see(event);
        }
        has
    }
}
