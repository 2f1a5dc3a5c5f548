//! OpenAI's Responses.

mod builder;
mod requests;

use std::borrow::Cow;

use http::request::Parts;
use serde_json::{Value, json};

pub use self::builder::ModelResponse;
use super::{Delta, Dialect, Outcome, named::numbered, splice};
use crate::{
    runs::names,
    serve::Output,
    wire::{encoded::EncodedEvent, percent},
};

/// The dialect of [OpenAI's Responses][spec], with or without `stream: true`, and with `background: true`.
///
/// A [`ModelResponse`] makes the events, and numbers them. The run's id is the id of the response.
/// [`create`](super::super::Runs::create), [`retrieve`](super::super::Runs::retrieve) and
/// [`cancel`](super::super::Runs::cancel) answer the three requests of the protocol.
///
/// A run that is [done](Outcome::Done) ends with `response.completed`: the one that your producer sends, or else one with the
/// items that are complete. Any other outcome is `response.failed`, or `response.incomplete` with the status `cancelled` if the
/// run was [stopped](Outcome::Stopped), and then an `error` event, which the official clients raise as an `APIError`. Its `code`
/// is the outcome in one word.
///
/// A client goes on with `starting_after`, the `sequence_number` of the last event that it got. The number is a part of the
/// stored event, so that it means the same on every node. `Last-Event-ID` is not used.
///
/// ```
/// use tower_sse::{Publisher, runs::{ModelResponse, Responses, RunError, Runs, Writer}};
///
/// async fn answer(run: Writer) -> Result<(), RunError> {
///     let mut response = ModelResponse::new(run.id(), "my-model");
///     run.send(response.created()).await?;
///     run.send_all(response.text_start()).await?;
///     for word in ["Hello", ", ", "world"] {
///         run.send(response.text_delta(word)).await?;
///     }
///     run.send_all(response.text_end()).await?;
///     run.send(response.completed()).await?;
///     Ok(())
/// }
///
/// let runs = Runs::new(Publisher::new(), Responses::default());
/// ```
///
/// [spec]: https://platform.openai.com/docs/api-reference/responses-streaming
#[derive(Debug, Clone, Default)]
pub struct Responses {
    /// The number of the last event that the client has.
    after: Option<u64>,
    seen: Seen,
}

impl Dialect for Responses {
    fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
        if self.seen.end.is_some() {
            return;
        }
        let events = self.seen.ending(outcome, names::run_in(source.channel()));
        for (number, event) in (self.seen.next..).zip(events) {
            if self.after.is_none_or(|after| number > after) {
                out.replace(source, numbered(number, &event));
            }
        }
    }

    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for event in events {
            self.seen.see(event);
            out.pass(event);
        }
    }

    /// Merges the deltas of one text, of one reasoning, and of the input of one tool. The merged event has the number of the last
    /// one, so that a client goes on after all of them.
    fn delta<'a>(name: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        let is_text = name.is_some_and(|name| TEXTS.contains(&name));
        is_text.then(|| splice::delta(data, &["delta"], &["sequence_number"])).flatten()
    }

    fn with_text<'a>(data: &'a str, text: &str) -> Cow<'a, str> {
        splice::with_text(data, &["delta"], text)
    }

    fn seeks(&mut self, parts: &Parts) -> bool {
        self.after = starting_after(parts);
        self.after.is_some()
    }

    fn has(&mut self, event: &EncodedEvent) -> bool {
        // The outcome has no number of its own: what is told of it is told by `outcome`.
        let has = Outcome::of(event).is_none()
            && number(event).is_none_or(|number| self.after.is_some_and(|after| number <= after));
        if has {
            self.seen.see(event);
        }
        has
    }

    fn last_event_id(&self, _: &Parts) -> Option<Vec<u8>> {
        None
    }
}

/// The events that add to a text.
const TEXTS: [&str; 8] = [
    "response.output_text.delta",
    "response.refusal.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.mcp_call_arguments.delta",
    "response.code_interpreter_call_code.delta",
];

/// What was seen of a response, as far as it matters to its end.
#[derive(Debug, Clone, Default)]
struct Seen {
    created: Option<EncodedEvent>,
    /// The items that are complete.
    items: Vec<EncodedEvent>,
    /// The event with which the producer itself has ended it.
    end: Option<EncodedEvent>,
    /// The number of the next event.
    next: u64,
}

impl Seen {
    fn see(&mut self, event: &EncodedEvent) {
        if let Some(number) = number(event) {
            self.next = number.saturating_add(1);
        }
        match event.name() {
            Some("response.created") => self.created = Some(event.clone()),
            Some("response.output_item.done") => self.items.push(event.clone()),
            Some("response.completed" | "response.failed" | "response.incomplete") => self.end = Some(event.clone()),
            _ => {}
        }
    }

    /// The events that tell an outcome.
    fn ending(&self, outcome: &Outcome, id: &str) -> Vec<Value> {
        let (kind, message) = match outcome {
            Outcome::Done => ("response.completed", None),
            Outcome::Stopped => ("response.incomplete", Some(outcome.message())),
            other => ("response.failed", Some(other.message())),
        };
        let mut events = vec![json!({ "type": kind, "response": self.object(Some(outcome), id) })];
        if let Some(message) = message {
            let (code, param) = (outcome.as_str(), Value::Null);
            // The clients read either form.
            let error = json!({ "type": "server_error", "code": code, "message": message, "param": param });
            events.push(json!({ "type": "error", "code": code, "message": message, "param": param, "error": error }));
        }
        events
    }

    /// The response as it is, or with an outcome.
    fn object(&self, outcome: Option<&Outcome>, id: &str) -> Value {
        if let Some(end) = &self.end {
            return member(end, "response");
        }
        let mut response = self.created.as_ref().map_or(Value::Null, |event| member(event, "response"));
        if !response.is_object() {
            response = builder::object(id, "", 0);
        }
        response["output"] = self.items.iter().map(|event| member(event, "item")).collect();
        let status = match outcome {
            None if self.created.is_none() => "queued",
            None => "in_progress",
            Some(Outcome::Done) => "completed",
            Some(Outcome::Stopped) => {
                response["incomplete_details"] = json!({ "reason": "cancelled" });
                "cancelled"
            }
            Some(other) => {
                response["error"] = json!({ "code": "server_error", "message": other.message() });
                "failed"
            }
        };
        response["status"] = status.into();
        response
    }
}

/// A member of the object that an event has as its data.
fn member(event: &EncodedEvent, name: &str) -> Value {
    serde_json::from_str::<Value>(&event.data()).map(|mut data| data[name].take()).unwrap_or_default()
}

/// The `sequence_number` of an event. A [`ModelResponse`] puts it first, where it is found at once.
fn number(event: &EncodedEvent) -> Option<u64> {
    splice::value(&event.data(), &["sequence_number"])?.parse().ok()
}

fn starting_after(parts: &Parts) -> Option<u64> {
    percent::query_values(parts.uri.query(), "starting_after").last()?.parse().ok()
}
