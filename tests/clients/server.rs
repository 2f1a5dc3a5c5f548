//! The server. It publishes all the time, and for each reader an event before it answers and one after, so that there
//! is something to replay and something live.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{Html, Response},
    routing::get,
};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::watch};
use tower_http::cors::CorsLayer;
use tower_sse::{Event, EventName, OpenOptions, Publisher, Retention, Route, SseLayer, Start, server};

/// An event as a client reports it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Received {
    pub name: String,
    pub data: String,
    pub id: String,
}

pub struct Server {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    publisher: Publisher,
    sent: Mutex<Vec<Received>>,
    finished: AtomicBool,
    answered: watch::Sender<HashMap<u16, usize>>,
}

impl Server {
    /// A server that publishes all the time.
    pub async fn start() -> Self {
        let server = Self::start_quiet().await;
        tokio::spawn({
            let shared = server.shared.clone();
            async move {
                while !shared.finished.load(Ordering::SeqCst) {
                    shared.publish(false);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        server
    }

    /// A server that publishes only when a reader connects.
    pub async fn start_quiet() -> Self {
        let publisher = Publisher::builder().retention(Retention::new().events(100_000)).build();
        let soon = |pattern: &str| Route::new(pattern).retry(Duration::from_millis(1));
        let all = |pattern: &str| soon(pattern).options(OpenOptions::new().start(Start::Earliest));
        let layer = SseLayer::new(publisher.clone())
            .route(all("/all/{channel}"))
            .and_then(|layer| layer.route(all("/declared/{channel}").declare_charset(true)))
            .and_then(|layer| layer.route(soon("/announced/{channel}").announce_cursor(true)))
            .unwrap();
        let shared = Arc::new(Shared {
            publisher,
            sent: Mutex::default(),
            finished: AtomicBool::new(false),
            answered: watch::Sender::default(),
        });
        let app = Router::new()
            .route("/", get(|| async { Html("<!doctype html><title>client</title>") }))
            .layer(layer)
            .layer(middleware::from_fn_with_state(shared.clone(), publish))
            // For a page of another origin. Its requests need no preflight, thanks to the form of ids.
            .layer(CorsLayer::new().allow_origin(tower_http::cors::Any));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async { server::serve(listener, app).await });
        Self { port, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Everything that was published.
    pub fn sent(&self) -> Vec<Received> {
        self.shared.sent.lock().unwrap().clone()
    }

    pub fn publish(&self) {
        self.shared.publish(false);
    }

    /// Publishes the last event.
    pub async fn finish(&self) {
        self.shared.finished.store(true, Ordering::SeqCst);
        self.shared.publish(true);
    }

    pub fn answered(&self, status: u16) -> usize {
        self.shared.answered.borrow().get(&status).copied().unwrap_or_default()
    }

    pub async fn until_answered(&self, status: u16, times: usize) {
        let often = |answered: &HashMap<u16, usize>| answered.get(&status).is_some_and(|&n| n >= times);
        self.shared.answered.subscribe().wait_for(often).await.unwrap();
    }
}

impl Shared {
    fn publish(&self, last: bool) {
        // Publishing happens under the list's lock, so that the list is in publish order.
        let mut sent = self.sent.lock().unwrap();
        if !last && self.finished.load(Ordering::SeqCst) {
            return;
        }
        let n = sent.len();
        let data = match n % 8 {
            0 => String::new(),
            1 => format!("{n}\nof two lines"),
            2 => format!("🦀 {n} é"),
            3 => format!(" {n}: \n\n"),
            _ => n.to_string(),
        };
        let name = match n % 3 {
            _ if last => Some(EventName::from_static("end")),
            0 => Some(EventName::from_static("token")),
            _ => None,
        };
        let event = Event::text(&data);
        let event = match &name {
            Some(name) => event.name(name.clone()),
            None => event,
        };
        let channel = self.publisher.channel("chat");
        let publish = async {
            match last {
                true => channel.finish(event).await,
                false => channel.send(event).await,
            }
        };
        let published = futures_util::FutureExt::now_or_never(tokio::task::coop::unconstrained(publish));
        let id = published.expect("in process it is ready at once").unwrap().id.to_string();
        sent.push(Received { name: name.map_or("message".into(), |name| name.to_string()), data, id });
    }
}

async fn publish(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/" {
        return next.run(request).await;
    }
    shared.publish(false);
    let response = next.run(request).await;
    shared.publish(false);
    let status = response.status().as_u16();
    shared.answered.send_modify(|answered| *answered.entry(status).or_default() += 1);
    response
}
