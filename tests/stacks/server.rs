//! The same application on each of the stacks, on a port that the system chooses.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tower::{Layer, Service, service_fn};
use tower_sse::{
    AuthorizeRequest, ChannelName, Denied, Duplicates, Grant, KeepAlive, OpenOptions, Publisher, Route, SseLayer,
    Start, authorizer_fn, server,
};
use warp::Filter;

/// The HTTP stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    Axum,
    Hyper,
    Warp,
    /// A router of axum on the crate's own server.
    OwnAxum,
    /// A service on the crate's own server.
    Own,
}

/// A server that runs until it is told to stop.
pub struct Server {
    pub addr: SocketAddr,
    pub publisher: Publisher,
    /// The crate's own server, on the stacks that use it.
    pub server: server::Server,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Server {
    pub async fn start(stack: Stack, publisher: Publisher) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_default() };
        let layer = layer(publisher.clone());
        let server = server::Server::new();
        let served = match stack {
            Stack::Axum => {
                let app = axum::Router::new().route("/echo", axum::routing::any(echo_axum)).layer(layer);
                tokio::spawn(async {
                    let listener =
                        axum::serve::ListenerExt::tap_io(listener, |stream| stream.set_nodelay(true).unwrap());
                    axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap();
                })
            }
            Stack::Hyper => tokio::spawn(serve(listener, layer.layer(service_fn(echo_hyper)), stopped)),
            Stack::Warp => tokio::spawn(serve(listener, layer.layer(warp::service(echo_warp())), stopped)),
            Stack::OwnAxum => {
                let app = axum::Router::new().route("/echo", axum::routing::any(echo_axum)).layer(layer);
                tokio::spawn(own(server.clone(), listener, app, stopped))
            }
            Stack::Own => tokio::spawn(own(server.clone(), listener, layer.layer(service_fn(echo_hyper)), stopped)),
        };
        Self { addr, publisher, server, stop, served }
    }

    /// Shuts the server down as gracefully as it can, and waits for it.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }
}

/// The routes that all stacks serve.
fn layer(publisher: Publisher) -> SseLayer<impl tower_sse::Authorizer<Future: Send> + Send + Sync + 'static> {
    let live = OpenOptions::new();
    SseLayer::new(publisher)
        .route("/sse/{channel}")
        .and_then(|layer| layer.route("/sse/{channel}/{client_id}"))
        .and_then(|layer| layer.route("/events"))
        .and_then(|layer| layer.route("/my/{client_id}"))
        .and_then(|layer| layer.route(Route::new("/all/{channel}").options(live.clone().start(Start::Earliest))))
        .and_then(|layer| layer.route(Route::new("/last/{channel}").options(live.clone().start(Start::Last(2)))))
        .and_then(|layer| {
            let replace = live.clone().duplicates(Duplicates::Replace);
            layer.route(Route::new("/one/{channel}/{client_id}").options(replace))
        })
        .and_then(|layer| layer.route(Route::new("/full/{channel}").options(live.clone().max_per_channel(1))))
        .and_then(|layer| {
            let often = KeepAlive::every(Duration::from_millis(20)).text(tower_sse::Comment::from_static("idle"));
            layer.route(Route::new("/idle/{channel}").keep_alive(often))
        })
        .and_then(|layer| layer.route(Route::new("/id/{channel}").announce_cursor(true)))
        .and_then(|layer| {
            let strict = Route::new("/strict/{channel}").strict(true);
            layer.route(strict.options(live.clone().start(Start::Earliest).max_per_channel(1)))
        })
        .and_then(|layer| {
            let soon = Duration::from_millis(1);
            layer.route(Route::new("/poll/{channel}").retry(soon).close_after(Duration::from_millis(50)))
        })
        .and_then(|layer| layer.route(Route::new("/shown").show_channel(true)))
        .unwrap()
        .authorizer(authorizer_fn(authorize))
}

/// Anybody may read every channel but `secret`, as any client.
async fn authorize(request: AuthorizeRequest) -> Result<Grant, Denied> {
    const SECRET: ChannelName = ChannelName::from_static("secret");
    if request.channels().contains(&SECRET) {
        return Err(Denied::unauthorized());
    }
    Ok(request.grant().client(request.client().cloned()))
}

async fn serve<S, B>(listener: TcpListener, service: S, stopped: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let (builder, connections) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            () = &mut stopped => break,
        };
        stream.set_nodelay(true).unwrap();
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        let connection = connections.watch(connection.into_owned());
        // A client that hangs up in the middle of a stream, as in many of the tests, is an error here.
        tokio::spawn(async { connection.await.unwrap_or_default() });
    }
    connections.shutdown().await;
}

/// Serves on the crate's own server.
async fn own(
    server: server::Server,
    listener: TcpListener,
    app: impl server::App,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    server.serve(listener, app).grace(Duration::from_secs(20)).with_graceful_shutdown(stopped).await.unwrap();
}

async fn echo_axum(method: http::Method, body: Bytes) -> String {
    format!("{method} {}", String::from_utf8_lossy(&body))
}

async fn echo_hyper<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    if request.uri().path() != "/echo" {
        let mut response = Response::new(Full::default());
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let method = request.method().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(format!("{method} {}", String::from_utf8_lossy(&body)).into()))
}

fn echo_warp() -> impl Filter<Extract = (String,), Error = warp::Rejection> + Clone {
    warp::path!("echo")
        .and(warp::method())
        .and(warp::body::bytes())
        .map(|method, body: Bytes| format!("{method} {}", String::from_utf8_lossy(&body)))
}
