//! Events whose name is the `type` of their data.

use serde_json::Value;

use crate::wire::{event::Event, name::EventName};

/// An event whose name is its `type`.
pub(super) fn named(event: &Value) -> Event {
    name(Event::text(event.to_string()), event)
}

/// An event with a `sequence_number`, which comes first, so that it is soon found.
pub(super) fn numbered(number: u64, event: &Value) -> Event {
    let data = match event.as_object() {
        Some(members) if !members.is_empty() => format!("{{\"sequence_number\":{number},{}", &event.to_string()[1..]),
        _ => format!("{{\"sequence_number\":{number}}}"),
    };
    name(Event::text(data), event)
}

fn name(event: Event, value: &Value) -> Event {
    match value["type"].as_str().and_then(|kind| EventName::try_from(kind).ok()) {
        Some(name) => event.name(name),
        None => event,
    }
}
