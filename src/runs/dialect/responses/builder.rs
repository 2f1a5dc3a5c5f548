//! The events of a response, numbered.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{runs::dialect::named::numbered, wire::event::Event};

/// Makes the events of a response, and numbers them in the order in which it makes them. Send them in that order.
///
/// It keeps the items of the response, so that [`completed`](Self::completed) has all of it.
///
/// ```
/// use serde_json::json;
/// use tower_sse::runs::{ModelResponse, RunError, Writer};
///
/// async fn answer(run: Writer) -> Result<(), RunError> {
///     let mut response = ModelResponse::new(run.id(), "my-model");
///     run.send(response.created()).await?;
///     run.send_all(response.text_start()).await?;
///     run.send(response.text_delta("Hello")).await?;
///     run.send_all(response.text_end()).await?;
///     response.set("usage", json!({ "input_tokens": 3, "output_tokens": 1, "total_tokens": 4 }));
///     run.send(response.completed()).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ModelResponse {
    object: Value,
    items: BTreeMap<u64, Value>,
    /// The text that is not complete: the index of its item, and what there is of it.
    text: Option<(u64, String)>,
    /// The number of the next event.
    next: u64,
}

impl ModelResponse {
    /// A response with this id, which has to be that of the run, of this model, created now.
    pub fn new(id: &str, model: &str) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { object: object(id, model, created), items: BTreeMap::new(), text: None, next: 0 }
    }

    /// Sets a member of the response object, such as `usage` or `metadata`. The events that have the object have it from now
    /// on.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.object[name] = value.into();
    }

    /// The first event.
    pub fn created(&mut self) -> Event {
        let response = self.object.clone();
        self.event(json!({ "type": "response.created", "response": response }))
    }

    /// A text begins: a message of the assistant that has one part.
    pub fn text_start(&mut self) -> [Event; 2] {
        let index = self.items.last_key_value().map_or(0, |(last, _)| last + 1);
        self.text = Some((index, String::new()));
        let item = self.message(index, "in_progress", json!([]));
        let at = self.position(index);
        [
            self.event(json!({ "type": "response.output_item.added", "output_index": index, "item": item })),
            self.event(with(at, json!({ "type": "response.content_part.added", "part": part("") }))),
        ]
    }

    /// A text goes on.
    pub fn text_delta(&mut self, delta: impl AsRef<str>) -> Event {
        let (index, text) = self.text.get_or_insert_default();
        text.push_str(delta.as_ref());
        let at = position(&self.object, *index);
        self.event(with(at, json!({ "type": "response.output_text.delta", "delta": delta.as_ref(), "logprobs": [] })))
    }

    /// The text ends.
    pub fn text_end(&mut self) -> [Event; 3] {
        let (index, text) = self.text.take().unwrap_or_default();
        let (at, part) = (self.position(index), part(&text));
        let item = self.message(index, "completed", json!([part]));
        [
            self.event(with(at.clone(), json!({ "type": "response.output_text.done", "text": text, "logprobs": [] }))),
            self.event(with(at, json!({ "type": "response.content_part.done", "part": part }))),
            self.event(json!({ "type": "response.output_item.done", "output_index": index, "item": item })),
        ]
    }

    /// The last event, with the whole response.
    pub fn completed(&mut self) -> Event {
        self.set("status", "completed");
        self.set("output", self.items.values().cloned().collect::<Value>());
        let response = self.object.clone();
        self.event(json!({ "type": "response.completed", "response": response }))
    }

    /// Any event of the protocol, such as one of a function call. Its `type` is also the event's name, and it gets a
    /// `sequence_number`.
    pub fn event(&mut self, event: Value) -> Event {
        if let ("response.output_item.added" | "response.output_item.done", Some(index)) =
            (event["type"].as_str().unwrap_or_default(), event["output_index"].as_u64())
        {
            self.items.insert(index, event["item"].clone());
        }
        self.next += 1;
        numbered(self.next - 1, &event)
    }

    fn position(&self, index: u64) -> Value {
        position(&self.object, index)
    }

    fn message(&self, index: u64, status: &str, content: Value) -> Value {
        let id = self.position(index)["item_id"].take();
        json!({ "id": id, "type": "message", "role": "assistant", "status": status, "content": content })
    }
}

/// What the events of a text say of where it is.
fn position(response: &Value, index: u64) -> Value {
    let id = format!("msg_{index}_{}", response["id"].as_str().unwrap_or_default());
    json!({ "item_id": id, "output_index": index, "content_index": 0 })
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

/// Adds the members of one object to another.
fn with(mut object: Value, mut more: Value) -> Value {
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object_mut()) {
        object.append(more);
    }
    object
}

/// A response object of a response that has just begun.
pub(super) fn object(id: &str, model: &str, created: u64) -> Value {
    json!({
        "id": id, "object": "response", "created_at": created, "status": "in_progress", "model": model, "output": [],
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "parallel_tool_calls": true,
        "temperature": null, "tool_choice": "auto", "tools": [], "top_p": null,
    })
}
