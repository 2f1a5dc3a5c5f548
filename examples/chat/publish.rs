//! The requests that publish: an event that anybody posts, and a prompt to the agent.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tower_sse::{ConnectionId, Event, EventName, Publisher};

use crate::{
    agent,
    refused::{Refused, bad_request, not_json},
};

pub fn routes(publisher: Publisher) -> Router {
    Router::new()
        .route("/send/{channel}", post(send))
        .route("/agent/send/{conversation_id}", post(start_agent))
        .with_state(publisher)
}

#[derive(Deserialize)]
struct Sending {
    event: Option<String>,
    to: Option<String>,
    /// The connection of the page that sends the event. It does not get the event, because it shows it already.
    connection: Option<String>,
    /// Whether only connected readers get the event.
    #[serde(default)]
    ephemeral: bool,
}

/// Publishes the JSON unchanged. After a 503, try again: the store of a backend did not answer.
async fn send(
    State(publisher): State<Publisher>,
    Path(channel): Path<String>,
    Query(sending): Query<Sending>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let name = EventName::try_from(sending.event.as_deref().unwrap_or("message")).map_err(bad_request)?;
    let json: &RawValue = serde_json::from_slice(&body).map_err(|error| not_json("the body is not JSON", error))?;
    let mut event = Event::json(json).map_err(bad_request)?.name(name);
    if let Some(connection) = sending.connection {
        event = event.except_connection(ConnectionId::try_from(connection).map_err(bad_request)?);
    }
    if sending.ephemeral {
        event = event.ephemeral();
    }
    let channel = publisher.channel(channel);
    let sent = match sending.to {
        Some(client) => channel.send_to(client, event).await?,
        None => channel.send(event).await?,
    };
    Ok(Json(json!({ "status": "ok", "id": sent.id.to_string() })))
}

/// Answers at once. The run is a task of this node, which publishes its tokens to the channel `agent`.
async fn start_agent(
    State(publisher): State<Publisher>,
    Path(cid): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let prompt =
        serde_json::from_slice(&body).map_err(|error| not_json(r#"expected JSON such as {"prompt":".."}"#, error))?;
    tokio::spawn(agent::run(publisher.channel("agent"), cid.clone(), prompt));
    Ok(Json(json!({ "status": "ok", "cid": cid })))
}
