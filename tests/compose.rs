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
