//! The layer fits the stacks that it is made for: most of this is to compile.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    compression::CompressionLayer, cors::CorsLayer, timeout::TimeoutLayer, trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};
use tower_sse::*;

fn layer() -> SseLayer {
    SseLayer::new(Publisher::new()).route("/sse/{channel}/{client_id}").unwrap()
}

fn is_shareable<T: Clone + Send + Sync + 'static>(_: &T) {}

/// What a server asks of a service's types.
fn is_servable<S, B>(service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (io, _) = tokio::io::duplex(64);
    let io = hyper_util::rt::TokioIo::new(io);
    let builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
    drop(async move { builder.serve_connection(io, TowerToHyperService::new(service)).await.map_err(drop) });
}

#[tokio::test]
async fn around_an_axum_router() {
    let layer = layer().authorizer(authorizer_fn(|_| async { Err::<Grant, _>(Denied::forbidden()) }));
    is_shareable(&layer);
    let app: axum::Router = axum::Router::new()
        .route("/send", axum::routing::post(async |body: String| body))
        // A handler's own stream.
        .route("/own", axum::routing::post(async || -> Response<SseBody> { todo!() }))
        .layer(layer)
        .layer(CorsLayer::permissive())
        .layer(TraceLayer::new_for_http());
    let response = app.oneshot(Request::post("/send").body("hello".to_owned()).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn around_a_warp_filter() {
    use warp::Filter;
    let service = ServiceBuilder::new().layer(layer()).service(warp::service(warp::path("send").map(|| "hello")));
    is_shareable(&service);
    is_servable(service.clone());
    let request = Request::get("/send").body(Empty::<Bytes>::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn under_hyper_and_tower_https_layers() {
    let inner =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello"))));
    let bare = layer().layer_around(inner);
    is_servable(bare.clone());
    let stacked = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::permissive())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
        .layer(ValidateRequestHeaderLayer::accept("text/event-stream"))
        .layer(CompressionLayer::new())
        .service(bare);
    is_servable(stacked);
}

trait Around: Sized {
    fn layer_around<S>(self, inner: S) -> SseService<S>;
}

impl Around for SseLayer {
    fn layer_around<S>(self, inner: S) -> SseService<S> {
        tower::Layer::layer(&self, inner)
    }
}

#[tokio::test]
async fn around_anything_whatever_its_bodies_are() {
    struct NoBodyAtAll;
    let inner = service_fn(async |_: Request<NoBodyAtAll>| Err::<Response<NoBodyAtAll>, _>("broken"));
    let service = layer().layer_around(inner);
    assert_eq!(service.oneshot(Request::new(NoBodyAtAll)).await.err().unwrap(), "broken");
}

/// What a server on the layer answers to the bytes of an HTTP/1.1 request, until nothing more comes.
async fn answer_to(request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let inner =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner"))));
    let service = TowerToHyperService::new(layer().layer_around(inner));
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let io = hyper_util::rt::TokioIo::new(server);
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.auto_date_header(false);
    let server = tokio::spawn(builder.serve_connection(io, service).into_future());
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_secs(1), client.read_buf(&mut answer)).await {}
    server.abort();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn over_http_1_the_bytes_are_these() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n";
    let answer = answer_to("GET /sse/a/ana HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(answer, format!("{HEAD}transfer-encoding: chunked\r\n\r\nE\r\nretry: 3000\n:\n\r\n"));
    assert_eq!(answer_to("HEAD /sse/a/ana HTTP/1.1\r\nhost: x\r\n\r\n").await, format!("{HEAD}\r\n"));

    let answer = answer_to("GET /sse/a/%zz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (head, problem) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", problem.len())), "{answer}");
    assert!(serde_json::from_str::<serde_json::Value>(problem).is_ok(), "{answer}");

    let answer = answer_to("POST /sse/a/ana HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ninner");
}

#[test]
fn an_idle_stream_costs_some_hundreds_of_bytes() {
    let size = size_of::<SseBody<Full<Bytes>>>();
    assert!(size <= 400, "{size}");
}
