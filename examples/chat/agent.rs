//! Stands in for a model: quotes the prompt word by word.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower_sse::{Channel, Event, EventName, PublishError};

#[derive(Deserialize)]
pub struct Prompt {
    prompt: String,
}

/// Publishes one event per word of the answer. `cid`, the conversation, is in each, so that a reader of the channel can
/// tell several runs apart.
pub async fn run(channel: Channel, cid: String, Prompt { prompt }: Prompt) -> Result<(), PublishError> {
    let event = |name, data: Value| Event::text(data.to_string()).name(EventName::from_static(name));
    let answer = format!("You said: “{prompt}”. I am only an example, but each of these words came as its own event.");
    channel.send(event("agent.start", json!({ "cid": cid, "status": "started" }))).await?;
    for token in answer.split_inclusive(' ') {
        sleep(Duration::from_millis(40)).await;
        channel.send(event("agent.token", json!({ "cid": cid, "token": token }))).await?;
    }
    channel.send(event("agent.done", json!({ "cid": cid, "status": "done" }))).await?;
    Ok(())
}
