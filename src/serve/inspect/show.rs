//! What an operator sees, as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::ask::{After, Events};
use crate::{
    authorize::InspectGrant,
    error::BackendError,
    hub::{
        Page,
        inspect::{ReaderInfo, Search, Summary},
    },
    publisher::{Channel, Publisher},
    serve::refused::{self, Refused},
    wire::{
        encoded::EncodedEvent,
        name::{ChannelName, ClientId},
    },
};

/// How many bytes of an event's data are shown.
const SHOWN: usize = 4096;

pub(super) async fn overview(publisher: &Publisher, grant: &InspectGrant, uptime: Duration) -> Value {
    let health = publisher.health().await;
    json!({
        "scope": scope(publisher),
        "ready": health.is_ready(),
        "health": health.to_string(),
        "level_lag_seconds": health.level_lag.as_secs_f64(),
        "seconds": uptime.as_secs_f64(),
        "stats": publisher.stats().numbers().map(|(name, number)| (name.to_owned(), Value::from(number))).collect::<Value>(),
        "may": { "events": grant.allows_events(), "disconnect": grant.allows_disconnect() },
    })
}

/// Returns what the lists cover: this node, or everything.
fn scope(publisher: &Publisher) -> &'static str {
    if publisher.is_one_of_several() { "node" } else { "process" }
}

pub(super) async fn channels(publisher: &Publisher, search: &Search) -> Value {
    let found = publisher.search(search).await;
    let channel = |summary: &Summary| {
        json!({
            "channel": summary.name.as_str(),
            "readers": summary.readers,
            "events": summary.events,
            "bytes": summary.bytes,
            "finished": summary.finished,
        })
    };
    json!({
        "scope": scope(publisher),
        "channels": found.channels.iter().map(channel).collect::<Value>(),
        "all": found.all,
    })
}

pub(super) fn readers(publisher: &Publisher, name: &ChannelName, from: u32, limit: usize) -> Value {
    let channel = publisher.channel(name);
    let (readers, next) = channel.readers(from, limit);
    // By the clock of the hub.
    let now = Instant::now().into_std();
    let reader = |reader: &ReaderInfo| {
        json!({
            "client": reader.client.as_ref().map(ClientId::as_str),
            "connection": reader.connection.as_ref().map(AsRef::<str>::as_ref),
            "seconds": now.saturating_duration_since(reader.since).as_secs_f64(),
            "events": reader.events,
            "several": reader.of_several,
        })
    };
    json!({
        "scope": scope(publisher),
        "readers": readers.iter().map(reader).collect::<Value>(),
        "all": channel.connections(),
        "next": next,
    })
}

pub(super) async fn events(publisher: &Publisher, which: &Events) -> Result<Value, Refused> {
    let channel = publisher.channel(&which.channel);
    let after = match &which.after {
        After::Newest => {
            let newest = newest(&channel, which.client.as_ref(), which.limit);
            return Ok(json!({ "scope": scope(publisher), "events": shown(&newest) }));
        }
        After::Start => None,
        After::Id(id) => Some(id.clone()),
    };
    let page: Result<Page, BackendError> = match &which.client {
        None => channel.read(after, which.limit).await,
        Some(client) => channel.read_for(client, after, which.limit).await,
    };
    let page = page.map_err(|_| unavailable(publisher))?;
    Ok(json!({
        "scope": "store",
        "events": shown(&page.events),
        "next": page.next.to_string(),
        "caught_up": page.caught_up,
        "finished": page.finished,
        "gap": page.gap.map(|gap| gap.reason.as_str()),
    }))
}

fn newest(channel: &Channel, client: Option<&ClientId>, limit: usize) -> Vec<EncodedEvent> {
    match client {
        None => channel.recent(limit),
        Some(client) => channel.recent_for(client, limit),
    }
}

fn shown(events: &[EncodedEvent]) -> Value {
    let event = |event: &EncodedEvent| {
        let data = event.data();
        let shown = data.char_indices().take_while(|(at, char)| at + char.len_utf8() <= SHOWN).map(|(_, char)| char);
        let shown: String = shown.collect();
        json!({ "id": event.id().to_string(), "event": event.name(), "data": shown, "bytes": data.len() })
    };
    events.iter().map(event).collect()
}

/// The answer if the backend fails. A client has been disconnected on this node nevertheless.
pub(super) fn unavailable(publisher: &Publisher) -> Refused {
    refused::later(publisher, "the backend is not available", json!({ "reason": "unavailable" }))
}
