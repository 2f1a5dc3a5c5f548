//! OpenAI's chat completions.

use std::{borrow::Cow, time::SystemTime};

use serde_json::{Value, json};

use super::{Delta, Dialect, Outcome, splice};
use crate::{
    serve::Output,
    wire::{encoded::EncodedEvent, event::Event},
};

/// The dialect of [OpenAI's chat completions][spec], with `stream: true`.
///
/// Each event is a `chat.completion.chunk`, which a [`Completion`] makes. The end of a run that is [done](Outcome::Done) is
/// `[DONE]`. Any other end is an error object, which the official clients raise as an `APIError`; its `code` is the outcome in
/// one word. There is no resuming in this protocol: a client that asks for a run gets it from its beginning, unless it sends
/// the id of its last event all the same.
///
/// [spec]: https://platform.openai.com/docs/api-reference/chat-streaming
#[derive(Debug, Clone, Copy, Default)]
pub struct ChatCompletions;

impl Dialect for ChatCompletions {
    fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
        let end = match outcome {
            Outcome::Done => "[DONE]".to_owned(),
            other => {
                let kind = if *other == Outcome::Stopped { "stopped" } else { "server_error" };
                let (message, code) = (other.message(), other.as_str());
                json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }).to_string()
            }
        };
        out.replace(source, Event::text(end));
    }

    /// Merges chunks of equal shape with a single choice that adds nothing but content, or nothing but arguments of a tool call.
    fn delta<'a>(_name: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        splice::delta(data, text_of(data)?, &[])
    }

    fn with_text<'a>(data: &'a str, text: &str) -> Cow<'a, str> {
        text_of(data).map_or(data.into(), |path| splice::with_text(data, path, text))
    }
}

/// Where the text of a chunk is, if it has one and nothing beside it that adds to the answer.
fn text_of(data: &str) -> Option<&'static [&'static str]> {
    const CONTENT: &[&str] = &["choices", "0", "delta", "content"];
    const ARGUMENTS: &[&str] = &["choices", "0", "delta", "tool_calls", "0", "function", "arguments"];
    let only = |path: &[&str], members: &[&str]| splice::has_only(data, path, members);
    if !splice::has_one(data, &CONTENT[..1]) {
        None
    } else if only(&CONTENT[..3], &["role", "content"]) {
        Some(CONTENT)
    } else {
        // The first chunk of a call, which has its name, stays as it is.
        let is_call = only(&ARGUMENTS[..3], &["role", "tool_calls"])
            && splice::has_one(data, &ARGUMENTS[..4])
            && only(&ARGUMENTS[..5], &["index", "function"])
            && only(&ARGUMENTS[..6], &["arguments"]);
        is_call.then_some(ARGUMENTS)
    }
}

/// Makes the chunks of a chat completion.
///
/// ```
/// use tower_sse::runs::{Completion, RunError, Writer};
///
/// async fn answer(run: Writer) -> Result<(), RunError> {
///     let completion = Completion::new(run.id(), "my-model");
///     for word in ["Hello", ", ", "world"] {
///         run.send(completion.delta(word)).await?;
///     }
///     run.send(completion.finish("stop")).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Completion {
    id: String,
    model: String,
    created: u64,
}

impl Completion {
    /// A completion with this id, of this model, created now.
    pub fn new(id: impl Into<String>, model: impl Into<String>) -> Self {
        let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { id: id.into(), model: model.into(), created }
    }

    /// The chunk that adds a text to the answer.
    pub fn delta(&self, text: impl AsRef<str>) -> Event {
        self.chunk(&json!({ "role": "assistant", "content": text.as_ref() }), &Value::Null)
    }

    /// The last chunk, which says why the answer ends: `stop`, `length`, or another reason of the protocol.
    pub fn finish(&self, reason: &str) -> Event {
        self.chunk(&json!({}), &reason.into())
    }

    /// A chunk with any `delta`, such as `{"tool_calls": [..]}`, and a reason to finish or `null`.
    pub fn chunk(&self, delta: &Value, finish_reason: &Value) -> Event {
        let chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        });
        Event::text(chunk.to_string())
    }
}
