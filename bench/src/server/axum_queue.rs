//! The other usual design: axum's `Sse` over a queue for each connection, which the publisher fills in a loop.

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
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Settings,
    history::{Ask, History, Item},
    publish::{self, Hub},
};

struct Channels {
    settings: Settings,
    ids: AtomicU64,
    by_name: Mutex<HashMap<String, Arc<Channel>>>,
}

type Channel = Mutex<Log>;
type Queue = mpsc::Sender<Arc<Item>>;

struct Log {
    history: History,
    readers: Vec<Queue>,
    /// The readers of each client, for events that are for it only.
    by_client: HashMap<String, Vec<Queue>>,
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
        let history = History::new(self.settings.history);
        let log = Log { history, readers: Vec::new(), by_client: HashMap::new() };
        by_name.entry(name.to_owned()).or_insert(Arc::new(Mutex::new(log))).clone()
    }
}

/// Drops a reader that is gone or whose queue is full; it reconnects with its last id.
fn send(readers: &mut Vec<Queue>, item: &Arc<Item>) {
    readers.retain(|queue| queue.try_send(item.clone()).is_ok());
}

impl Hub for Arc<Channels> {
    async fn publish(&self, channel: &str, client: Option<&str>, data: String, wants_id: bool) -> Option<String> {
        let channel = self.channel(channel);
        let mut log = lock(&channel);
        let item = Item::new(&self.ids, client, &data);
        log.history.push(item.clone());
        match client {
            None => send(&mut log.readers, &item),
            Some(client) => {
                if let Some(readers) = log.by_client.get_mut(client) {
                    send(readers, &item);
                }
            }
        }
        wants_id.then(|| item.id.to_string())
    }
}

pub fn run(settings: Settings) -> io::Result<()> {
    let channels = Arc::new(Channels { settings, ids: AtomicU64::new(0), by_name: Mutex::default() });
    let router = Router::new()
        .route("/sse/{channel}", get(read))
        .route("/sse/{channel}/{client}", get(read))
        .route("/multi", get(read))
        .with_state(channels.clone());
    publish::run(settings, channels, |listener| publish::serve_axum(listener, router))
}

async fn read(
    State(channels): State<Arc<Channels>>,
    ask: Ask,
) -> Sse<axum::response::sse::KeepAliveStream<impl Stream<Item = Result<Event, Infallible>>>> {
    let (queue, live) = mpsc::channel(channels.settings.history);
    let mut replay = Vec::new();
    for name in &ask.channels {
        let channel = channels.channel(name);
        let mut log = lock(&channel);
        replay.extend(log.history.after(ask.last_event_id, ask.client.as_deref()));
        // Removes readers that left while nothing was published.
        if log.readers.len() == log.readers.capacity() {
            log.readers.retain(|queue| !queue.is_closed());
        }
        log.readers.push(queue.clone());
        if let Some(client) = &ask.client {
            log.by_client.entry(client.clone()).or_default().push(queue.clone());
        }
    }
    replay.sort_by_key(|item| item.id);
    let stream = stream::iter(replay).chain(ReceiverStream::new(live)).map(|item| Ok(item.event()));
    Sse::new(stream).keep_alive(KeepAlive::new().interval(channels.settings.keep_alive))
}
