//! The application behind the proxy, which can be stopped and started again as in a deployment.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::Request;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tower::{ServiceBuilder, ServiceExt};
use tower_sse::{
    KeepAlive, Publisher, Route, SseLayer,
    server::{RequestBody, Server},
};

/// How soon a reader reconnects after a cut.
pub const RETRY: Duration = Duration::from_millis(200);

/// It speaks HTTP/1.1 and HTTP/2 with prior knowledge on one port.
pub struct App {
    pub publisher: Publisher,
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    serving: Option<JoinHandle<()>>,
}

impl App {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut app = Self { publisher: Publisher::new(), address, asked: Arc::default(), serving: None };
        app.serve(listener);
        app
    }

    /// Closes the listener and every connection. The hub stays, as it would with a remote backend.
    pub async fn stop(&mut self) {
        let serving = self.serving.take().expect("it is running");
        serving.abort();
        _ = serving.await;
    }

    /// Listens on the same port again.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    /// The request targets that arrived, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn serve(&mut self, listener: TcpListener) {
        // Keep-alives are far apart, so that none pushes an event through.
        let route = Route::new("/events/{channel}/{client_id}")
            .keep_alive(KeepAlive::every(Duration::from_secs(600)))
            .retry(RETRY);
        let asked = self.asked.clone();
        let streams = SseLayer::new(self.publisher.clone()).route(route).unwrap().into_service();
        let service = ServiceBuilder::new()
            .map_request(move |request: Request<RequestBody>| {
                asked.lock().unwrap().push(request.uri().to_string());
                request
            })
            .service(streams)
            .map_err(|never: Infallible| never);
        let server = Server::new();
        self.serving = Some(tokio::spawn(async move {
            // The connections are dropped with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                connections.spawn(server.serve_connection(stream, service.clone()));
            }
        }));
    }
}
