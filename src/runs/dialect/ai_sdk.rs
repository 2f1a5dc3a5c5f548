//! The UI message stream of the AI SDK.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{Delta, Dialect, Outcome, splice};
use crate::{
    serve::Output,
    wire::{encoded::EncodedEvent, event::Event},
};

/// The dialect of the [AI SDK's UI message stream][spec], version 1, which `useChat` reads.
///
/// Each event is a part of the stream, which the functions here make. Send `start` first and leave `finish` out: it follows from
/// the outcome. A run that is [done](Outcome::Done) ends with a `finish` part, one that was [stopped](Outcome::Stopped) with an
/// `abort` part, and any other with an `error` part. `[DONE]` comes last. `useChat` shows a text that was stopped as it is, as after
/// its own `stop()`.
///
/// A chat that has no active run is a 204, as `useChat({ resume: true })` expects.
///
/// ```
/// use tower_sse::runs::{AiSdk, RunError, Writer};
///
/// async fn answer(run: Writer) -> Result<(), RunError> {
///     run.send_all([AiSdk::start(run.id()), AiSdk::text_start("text")]).await?;
///     for word in ["Hello", ", ", "world"] {
///         run.send(AiSdk::text_delta("text", word)).await?;
///     }
///     run.send(AiSdk::text_end("text")).await?;
///     Ok(())
/// }
/// ```
///
/// [spec]: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
#[derive(Debug, Clone, Copy, Default)]
pub struct AiSdk;

impl AiSdk {
    /// The first part of an answer, with the id of the message.
    pub fn start(message_id: impl AsRef<str>) -> Event {
        Self::part(&json!({ "type": "start", "messageId": message_id.as_ref() }))
    }

    /// A text begins. The id tells it from other texts of the message.
    pub fn text_start(id: &str) -> Event {
        Self::part(&json!({ "type": "text-start", "id": id }))
    }

    /// A text goes on.
    pub fn text_delta(id: &str, delta: impl AsRef<str>) -> Event {
        Self::part(&json!({ "type": "text-delta", "id": id, "delta": delta.as_ref() }))
    }

    /// A text ends.
    pub fn text_end(id: &str) -> Event {
        Self::part(&json!({ "type": "text-end", "id": id }))
    }

    /// Any part of the protocol, such as one of a tool.
    pub fn part(part: &Value) -> Event {
        Event::text(part.to_string())
    }
}

impl Dialect for AiSdk {
    fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
        let last = match outcome {
            Outcome::Done => json!({ "type": "finish" }),
            Outcome::Stopped => json!({ "type": "abort" }),
            other => json!({ "type": "error", "errorText": other.message() }),
        };
        out.replace(source, Self::part(&last));
        out.replace(source, Event::text("[DONE]"));
    }

    /// Merges the deltas of one text, of one reasoning, and of the input of one tool.
    fn delta<'a>(_name: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        splice::delta(data, text_of(data)?, &[])
    }

    fn with_text<'a>(data: &'a str, text: &str) -> Cow<'a, str> {
        text_of(data).map_or(data.into(), |path| splice::with_text(data, path, text))
    }

    fn headers(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static("x-vercel-ai-ui-message-stream"), HeaderValue::from_static("v1"));
    }

    fn absent(&self) -> StatusCode {
        StatusCode::NO_CONTENT
    }
}

/// Where the text of a part is, if it is one of several.
fn text_of(data: &str) -> Option<&'static [&'static str]> {
    match splice::string(data, &["type"])? {
        "text-delta" | "reasoning-delta" => Some(&["delta"]),
        "tool-input-delta" => Some(&["inputTextDelta"]),
        _ => None,
    }
}
