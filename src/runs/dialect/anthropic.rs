//! Anthropic's messages.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Delta, Dialect, Outcome, named::named, splice};
use crate::{
    serve::Output,
    wire::{encoded::EncodedEvent, event::Event},
};

/// The dialect of [Anthropic's messages][spec], with `stream: true`.
///
/// The functions here make the events of a message. Send [`start`](Self::start) first and [`finish`](Self::finish) last, and
/// leave `message_stop` out: the dialect sends it for a run that is [done](Outcome::Done). Any other outcome is an `error`
/// event, which the official clients raise as an `APIError`. Clients skip the keep-alives of the stream, so it needs no `ping`.
///
/// The protocol has no way to resume. A client that asks for a run gets it from its beginning, or after the event whose id it
/// sends in `Last-Event-ID`.
///
/// ```
/// use tower_sse::runs::{Anthropic, RunError, Writer};
///
/// async fn answer(run: Writer) -> Result<(), RunError> {
///     run.send_all([Anthropic::start(run.id(), "my-model"), Anthropic::text_start(0)]).await?;
///     for word in ["Hello", ", ", "world"] {
///         run.send(Anthropic::text_delta(0, word)).await?;
///     }
///     run.send_all([Anthropic::block_stop(0), Anthropic::finish("end_turn", 3)]).await?;
///     Ok(())
/// }
/// ```
///
/// [spec]: https://docs.anthropic.com/en/api/messages-streaming
#[derive(Debug, Clone, Copy, Default)]
pub struct Anthropic;

impl Anthropic {
    /// The first event of a message, with its id and its model. To say how many tokens the prompt has, send an
    /// [`event`](Self::event) of your own instead.
    pub fn start(id: &str, model: &str) -> Event {
        let message = json!({
            "id": id, "type": "message", "role": "assistant", "model": model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 0, "output_tokens": 0 },
        });
        Self::event(&json!({ "type": "message_start", "message": message }))
    }

    /// A text begins. It is the content block with this index; a message counts its blocks from 0.
    pub fn text_start(index: usize) -> Event {
        let block = json!({ "type": "text", "text": "" });
        Self::event(&json!({ "type": "content_block_start", "index": index, "content_block": block }))
    }

    /// A text goes on.
    pub fn text_delta(index: usize, text: impl AsRef<str>) -> Event {
        let delta = json!({ "type": "text_delta", "text": text.as_ref() });
        Self::event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }))
    }

    /// A text or another content block ends.
    pub fn block_stop(index: usize) -> Event {
        Self::event(&json!({ "type": "content_block_stop", "index": index }))
    }

    /// The last event, with why the message ends, such as `end_turn` or `max_tokens`, and how many tokens it has.
    pub fn finish(stop_reason: &str, output_tokens: u64) -> Event {
        let delta = json!({ "stop_reason": stop_reason, "stop_sequence": null });
        Self::event(&json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": output_tokens } }))
    }

    /// Any event of the protocol, such as one of a tool's input. Its `type` is also the event's name, as clients expect.
    pub fn event(event: &Value) -> Event {
        named(event)
    }
}

impl Dialect for Anthropic {
    fn outcome(&mut self, outcome: &Outcome, source: &EncodedEvent, out: &mut Output) {
        let last = match outcome {
            Outcome::Done => json!({ "type": "message_stop" }),
            other => json!({ "type": "error", "error": { "type": "api_error", "message": other.message() } }),
        };
        out.replace(source, Self::event(&last));
    }

    /// Merges the deltas of one text, of one thought, and of the input of one tool.
    fn delta<'a>(name: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        if name != Some("content_block_delta") {
            return None;
        }
        splice::delta(data, text_of(data)?, &[])
    }

    fn with_text<'a>(data: &'a str, text: &str) -> Cow<'a, str> {
        text_of(data).map_or(data.into(), |path| splice::with_text(data, path, text))
    }
}

/// Where the text of a delta is, if it has nothing else.
fn text_of(data: &str) -> Option<&'static [&'static str]> {
    TEXTS.into_iter().find(|path| splice::has_only(data, &["delta"], &["type", path[1]]))
}

/// Where the text of a delta can be.
const TEXTS: [&[&str]; 3] = [&["delta", "text"], &["delta", "thinking"], &["delta", "partial_json"]];
