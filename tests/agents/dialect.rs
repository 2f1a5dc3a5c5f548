//! What each SDK expects of an answer, made of tokens.

use serde_json::{Value, json};
use tower_sse::{EncodedEvent, EndReason, Event, EventName, Output, Transform};

#[derive(Debug, Clone, Copy)]
pub enum Dialect {
    Openai,
    Anthropic,
    Ai,
}

impl Dialect {
    pub fn of(path: &str) -> Self {
        match path {
            "/v1/chat/completions" => Self::Openai,
            "/v1/messages" => Self::Anthropic,
            "/api/chat" => Self::Ai,
            path => panic!("{path}"),
        }
    }

    fn event(self, value: &Value) -> Event {
        let event = Event::json(value).unwrap();
        match self {
            // Its events have their type as their name, too.
            Self::Anthropic => event.name(EventName::try_from(value["type"].as_str().unwrap()).unwrap()),
            Self::Openai | Self::Ai => event,
        }
    }

    fn token(self, text: &str) -> Value {
        match self {
            Self::Openai => json!({
                "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "any",
                "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
            }),
            Self::Anthropic => json!({
                "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text },
            }),
            Self::Ai => json!({ "type": "text-delta", "id": "1", "delta": text }),
        }
    }
}

impl Transform for Dialect {
    fn begin(&mut self, out: &mut Output) {
        let head = match self {
            Self::Openai => vec![],
            Self::Anthropic => vec![
                json!({ "type": "message_start", "message": {
                    "id": "1", "type": "message", "role": "assistant", "model": "any", "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 1, "output_tokens": 1 },
                }}),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            ],
            Self::Ai => vec![json!({ "type": "start" }), json!({ "type": "text-start", "id": "1" })],
        };
        head.iter().for_each(|value| out.send(self.event(value)));
    }

    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        for event in events {
            out.replace(event, self.event(&self.token(&event.data())));
        }
    }

    fn end(&mut self, reason: EndReason, out: &mut Output) {
        if reason != EndReason::Finished {
            return out.notice();
        }
        let tail = match self {
            Self::Openai => vec![],
            Self::Anthropic => vec![
                json!({ "type": "content_block_stop", "index": 0 }),
                json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 9 } }),
                json!({ "type": "message_stop" }),
            ],
            Self::Ai => vec![json!({ "type": "text-end", "id": "1" }), json!({ "type": "finish" })],
        };
        tail.iter().for_each(|value| out.send(self.event(value)));
        if !matches!(self, Self::Anthropic) {
            out.send(Event::text("[DONE]"));
        }
    }
}
