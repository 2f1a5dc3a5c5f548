//! What a Rust team writes today: axum's `Sse` over a `tokio::sync::broadcast` for each channel. This is a careful
//! version: its history is under the same lock, so that nothing is lost or repeated between replay and live, and a
//! reader that lagged gets a gap.
//!
//! An event for one client goes through the channel's `broadcast` and every reader's filter, as this design has no
//! other way; `axum_queue` has one.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use axum::{
    Router,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
    routing::get,
};
use futures_util::{
    Stream, StreamExt as _,
    future::ready,
    stream::{self, select_all},
};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::{
    Settings,
    history::{Ask, History, Item, gap},
    publish::{self, Hub},
};

struct Channels {
    settings: Settings,
    ids: AtomicU64,
    by_name: Mutex<HashMap<String, Arc<Channel>>>,
}

type Channel = Mutex<Log>;

struct Log {
    history: History,
    live: broadcast::Sender<Arc<Item>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channels {
    fn channel(&self, name: &str) -> Arc<Channel> {
        let mut by_name = lock(&self.by_name);
        if let Some(channel) = by_name.get(name) {
            return channel.clone();
        }
        let log =
            Log { history: History::new(self.settings.history), live: broadcast::Sender::new(self.settings.history) };
        by_name.entry(name.to_owned()).or_insert(Arc::new(Mutex::new(log))).clone()
    }
}

impl Hub for Arc<Channels> {
    async fn publish(&self, channel: &str, client: Option<&str>, data: String, wants_id: bool) -> Option<String> {
        let channel = self.channel(channel);
        let mut log = lock(&channel);
        let item = Item::new(&self.ids, client, &data);
        log.history.push(item.clone());
        let id = wants_id.then(|| item.id.to_string());
        // It fails if nobody reads the channel.
        let _ = log.live.send(item);
        id
    }
}

pub fn run(settings: Settings) -> io::Result<()> {
    let channels = Arc::new(Channels { settings, ids: AtomicU64::new(0), by_name: Mutex::default() });
    let router = Router::new()
        .route("/sse/{channel}", get(one))
        .route("/sse/{channel}/{client}", get(one))
        .route("/multi", get(many))
        .with_state(channels.clone());
    publish::run(settings, channels, |listener| publish::serve_axum(listener, router))
}

type Events<S> = Sse<axum::response::sse::KeepAliveStream<S>>;

fn events<S: Stream<Item = Result<Event, Infallible>> + Send + 'static>(channels: &Channels, stream: S) -> Events<S> {
    Sse::new(stream).keep_alive(KeepAlive::new().interval(channels.settings.keep_alive))
}

async fn one(State(channels): State<Arc<Channels>>, ask: Ask) -> Events<impl Stream<Item = Result<Event, Infallible>>> {
    let (replay, live) = {
        let channel = channels.channel(&ask.channels.concat());
        let log = lock(&channel);
        (log.history.after(ask.last_event_id, ask.client.as_deref()), log.live.subscribe())
    };
    let stream = stream::iter(replay).map(Ok).chain(BroadcastStream::new(live)).filter_map(move |item| {
        ready(match item {
            Ok(item) => item.is_for(ask.client.as_deref()).then(|| Ok(item.event())),
            Err(_lagged) => Some(Ok(gap())),
        })
    });
    events(&channels, stream)
}

/// Several channels on one connection. Live events of different channels do not keep their publish order.
async fn many(
    State(channels): State<Arc<Channels>>,
    ask: Ask,
) -> Events<impl Stream<Item = Result<Event, Infallible>>> {
    let (mut replay, mut live) = (Vec::new(), Vec::new());
    for name in &ask.channels {
        let channel = channels.channel(name);
        let log = lock(&channel);
        replay.extend(log.history.after(ask.last_event_id, None));
        live.push(BroadcastStream::new(log.live.subscribe()));
    }
    replay.sort_by_key(|item| item.id);
    let stream = stream::iter(replay).map(Ok).chain(select_all(live)).filter_map(|item| {
        ready(match item {
            Ok(item) => item.is_for(None).then(|| Ok(item.event())),
            Err(_lagged) => Some(Ok(gap())),
        })
    });
    events(&channels, stream)
}
