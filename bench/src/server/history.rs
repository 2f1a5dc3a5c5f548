//! What a careful user writes around axum's `Sse`: names, ids and a history to replay. Both axum servers use it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    extract::{FromRequestParts, RawPathParams, RawQuery},
    response::sse,
};
use http::request::Parts;

/// A published event.
pub struct Item {
    pub id: u64,
    pub client: Option<Box<str>>,
    data: Box<str>,
}

impl Item {
    pub fn new(ids: &AtomicU64, client: Option<&str>, data: &str) -> Arc<Self> {
        let id = ids.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(Self { id, client: client.map(Into::into), data: data.into() })
    }

    pub fn is_for(&self, client: Option<&str>) -> bool {
        self.client.is_none() || self.client.as_deref() == client
    }

    pub fn event(&self) -> sse::Event {
        sse::Event::default().id(self.id.to_string()).data(&self.data)
    }
}

/// What a reader gets that was overrun.
pub fn gap() -> sse::Event {
    sse::Event::default().event("gap").data("")
}

/// The last events of a channel.
pub struct History {
    max: usize,
    held: VecDeque<Arc<Item>>,
}

impl History {
    pub fn new(max: usize) -> Self {
        Self { max, held: VecDeque::new() }
    }

    pub fn push(&mut self, item: Arc<Item>) {
        if self.held.len() == self.max {
            self.held.pop_front();
        }
        self.held.push_back(item);
    }

    /// The events held after an id that one reader may see.
    pub fn after(&self, id: Option<u64>, client: Option<&str>) -> Vec<Arc<Item>> {
        let Some(id) = id else { return Vec::new() };
        let first = self.held.partition_point(|item| item.id <= id);
        self.held.range(first..).filter(|item| item.is_for(client)).cloned().collect()
    }
}

/// What a request asks for.
pub struct Ask {
    pub channels: Vec<String>,
    pub client: Option<String>,
    pub last_event_id: Option<u64>,
}

impl<S: Send + Sync> FromRequestParts<S> for Ask {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let mut ask = Self { channels: Vec::new(), client: None, last_event_id: None };
        if let Ok(params) = RawPathParams::from_request_parts(parts, state).await {
            for (name, value) in &params {
                match name {
                    "channel" => ask.channels.push(value.to_owned()),
                    _ => ask.client = Some(value.to_owned()),
                }
            }
        }
        if let Ok(RawQuery(Some(query))) = RawQuery::from_request_parts(parts, state).await {
            let named = query.split('&').filter_map(|pair| pair.strip_prefix("channel="));
            ask.channels.extend(named.map(ToOwned::to_owned));
        }
        let id = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok());
        ask.last_event_id = id.and_then(|id| id.parse().ok());
        Ok(ask)
    }
}
