//! The layer fits the stacks that it is made for. Most of these tests only have to compile.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    compression::CompressionLayer, cors::CorsLayer, timeout::TimeoutLayer, trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};
use tower_sse::*;

fn layer() -> SseLayer {
    SseLayer::new(Publisher::new()).route("/sse/{channel}/{client_id}").unwrap()
}

fn is_shareable<T: Clone + Send + Sync + 'static>(_: &T) {}

/// The bounds that a server has on a service.
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
        // A stream of the handler's own.
        .route("/own", axum::routing::post(own_stream))
        .layer(layer)
        .layer(CorsLayer::permissive())
        .layer(TraceLayer::new_for_http());
    let response = app.clone().oneshot(Request::post("/send").body("hello".to_owned()).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    let response = app.oneshot(Request::post("/own").body(String::new()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
}

async fn own_stream() -> Response<SseBody> {
    let grant = Grant::new([ChannelName::from_static("own")]);
    Subscription::open(&Publisher::new(), grant).await.unwrap().into()
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
async fn around_any_service_whatever_its_body() {
    struct NoBodyAtAll;
    let inner = service_fn(async |_: Request<NoBodyAtAll>| Err::<Response<NoBodyAtAll>, _>("broken"));
    let service = layer().layer_around(inner);
    assert_eq!(service.oneshot(Request::new(NoBodyAtAll)).await.err().unwrap(), "broken");
}

/// What a server with the layer answers to the bytes of an HTTP/1.1 request, until nothing more arrives.
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
async fn the_bytes_over_http_1() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\ntower-sse: 1;keep-alive=15000\r\n";
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

// In axum: every claim in `SseLayer`'s documentation.

/// What a router answers to a GET: `sse` for a stream, or else its status and text.
async fn answer_of(app: axum::Router, path: &str) -> String {
    let response = app.oneshot(Request::get(path).body(axum::body::Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        assert_eq!(status, 200);
        return "sse".to_owned();
    }
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    format!("{} {text}", status.as_u16())
}

const STREAM: &str = "/sse/a/ana";

async fn page() -> &'static str {
    "page"
}

async fn fallback() -> &'static str {
    "fallback"
}

fn router() -> axum::Router {
    axum::Router::new().route("/page", axum::routing::get(page))
}

/// Like [`router`], with another path.
fn other() -> axum::Router {
    axum::Router::new().route("/other", axum::routing::get(page))
}

#[tokio::test]
async fn in_axum_the_layer_comes_last() {
    for (app, else_) in
        [(router().layer(layer()), "404 "), (router().fallback(fallback).layer(layer()), "200 fallback")]
    {
        assert_eq!(answer_of(app.clone(), STREAM).await, "sse");
        assert_eq!(answer_of(app.clone(), "/page").await, "200 page");
        assert_eq!(answer_of(app, "/else").await, else_);
    }
    let app = router().layer(layer()).route("/later", axum::routing::get(page));
    assert_eq!(answer_of(app, STREAM).await, "sse", "a route that comes later takes nothing away");
}

#[tokio::test]
async fn in_axum_an_auth_layer_protects_streams_only_if_it_is_added_after_theirs() {
    use axum::{
        extract::Request,
        middleware::{Next, from_fn},
        response::{IntoResponse, Response},
    };
    async fn signed_in(request: Request, next: Next) -> Response {
        match request.headers().contains_key("cookie") {
            true => next.run(request).await,
            false => StatusCode::UNAUTHORIZED.into_response(),
        }
    }
    let publisher = Publisher::new();
    let sse = || SseLayer::new(publisher.clone()).route("/sse/{channel}/{client_id}").unwrap();
    let protected = router().layer(sse()).layer(from_fn(signed_in));
    assert_eq!(answer_of(protected.clone(), "/page").await, "401 ");
    assert_eq!(answer_of(protected, STREAM).await, "401 ");
    assert_eq!(publisher.stats().opened, 0, "a request that is denied opens nothing");
    // As the documentation warns, these protect everything but the streams.
    for open in [router().layer(from_fn(signed_in)).layer(sse()), router().route_layer(from_fn(signed_in)).layer(sse())]
    {
        assert_eq!(answer_of(open.clone(), "/page").await, "401 ");
        assert_eq!(answer_of(open, STREAM).await, "sse");
    }
}

#[tokio::test]
async fn in_axum_a_router_with_the_layer_goes_into_another() {
    assert_eq!(answer_of(other().merge(router().layer(layer())), STREAM).await, "sse");
    let own_fallback = router().fallback(fallback).layer(layer());
    assert_eq!(answer_of(other().merge(own_fallback.clone()), STREAM).await, "sse");
    assert_eq!(answer_of(other().nest("/live", own_fallback), &format!("/live{STREAM}")).await, "sse");
    for outer in [other(), other().fallback(fallback)] {
        let app = outer.nest_service("/live", router().layer(layer()));
        assert_eq!(answer_of(app.clone(), &format!("/live{STREAM}")).await, "sse");
        assert_ne!(answer_of(app, STREAM).await, "sse");
    }
}

#[tokio::test]
async fn in_axum_the_layer_goes_around_a_whole_router() {
    // The router answers another method on a stream's path.
    let post = || router().route(STREAM, axum::routing::post(page));
    for app in [post(), post().fallback(fallback), other().merge(post())] {
        let app = axum::Router::new().fallback_service(layer().layer(app));
        assert_eq!(answer_of(app.clone(), STREAM).await, "sse");
        assert_eq!(answer_of(app.clone(), "/page").await, "200 page");
        let response = app.oneshot(Request::post(STREAM).body(axum::body::Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "page");
    }
}

#[tokio::test]
async fn in_axum_these_placements_have_no_streams() {
    for (app, path, answer) in [
        (router().route_layer(layer()), STREAM, "404 "),
        (router().fallback(fallback).route_layer(layer()), STREAM, "200 fallback"),
        (router().layer(layer()).fallback(fallback), STREAM, "200 fallback"),
        (other().nest("/live", router().layer(layer())), "/live/sse/a/ana", "404 "),
        (router().layer(layer()).merge(other()), STREAM, "404 "),
        (router().layer(layer()).merge(other().fallback(fallback)), STREAM, "200 fallback"),
        (other().fallback(fallback).merge(router().layer(layer())), STREAM, "200 fallback"),
    ] {
        assert_eq!(answer_of(app, path).await, answer);
    }
}

#[tokio::test]
async fn in_axum_streams_are_a_service_of_their_own() {
    let service = || layer().into_service();
    is_shareable(&service());
    is_servable(service());
    let app = router().route_service("/sse/{channel}/{client_id}", service()).nest_service("/live", service());
    assert_eq!(answer_of(app.clone(), STREAM).await, "sse");
    assert_eq!(answer_of(app.clone(), &format!("/live{STREAM}")).await, "sse");
    assert_eq!(answer_of(app.clone(), "/page").await, "200 page");
    assert_eq!(
        answer_of(app.clone(), "/live/else").await,
        r#"404 {"status":404,"title":"Not Found","type":"about:blank"}"#
    );
    assert_eq!(answer_of(app, "/else").await, "404 ");
}

#[tokio::test]
async fn a_service_of_streams_alone_says_what_else_it_takes() {
    for (method, path, status, allow, empty) in [
        ("POST", STREAM, 405, Some("GET,HEAD"), false),
        ("OPTIONS", STREAM, 405, Some("GET,HEAD"), false),
        ("POST", "/else", 404, None, false),
        ("HEAD", "/else", 404, None, true),
        ("HEAD", STREAM, 200, None, true),
    ] {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let response = layer().into_service().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.headers().get("allow").map(|allow| allow.to_str().unwrap()), allow, "{method} {path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), empty, "{method} {path}");
    }
}

/// The documentation's example of a stream of the handler's own, in axum.
#[tokio::test]
async fn in_axum_a_handler_has_its_own_streams() {
    use axum::extract::{Path, State};
    async fn own(
        State(publisher): State<Publisher>,
        Path(channel): Path<String>,
        headers: http::HeaderMap,
        uri: http::Uri,
    ) -> Response<SseBody> {
        let grant = Grant::new([ChannelName::try_from(channel).unwrap()]);
        match OpenOptions::new().open(&publisher, grant, last_event_id(&headers, &uri).as_deref()).await {
            Ok(subscription) => SseBody::new(subscription).announce_cursor(true).into_response(),
            Err(error) => SseBody::refused(&publisher, &error),
        }
    }
    let publisher = Publisher::new();
    let id = publisher.channel("a").finish(Event::text("last")).await.unwrap().id;
    let app = axum::Router::new().route("/own/{channel}", axum::routing::get(own)).with_state(publisher);
    assert_eq!(answer_of(app.clone(), "/own/b").await, "sse");
    assert_eq!(answer_of(app.clone(), "/own/a").await, "sse");
    assert_eq!(answer_of(app, &format!("/own/a?last_event_id={id}")).await, "204 ");
}

#[tokio::test]
async fn axum_takes_an_authorizer_that_is_sync() {
    let yes = || authorizer_fn(|request: AuthorizeRequest| async move { Ok::<_, Denied>(request.grant()) });
    let erased = tower::util::BoxCloneSyncService::new(yes());
    // The buffer's worker owns the service that is not `Sync`.
    let buffered = tower::buffer::Buffer::new(tower::util::BoxCloneService::new(yes()), 16);
    assert_eq!(answer_of(router().layer(layer().authorizer(erased)), STREAM).await, "sse");
    assert_eq!(answer_of(router().layer(layer().authorizer(buffered)), STREAM).await, "sse");
}

#[test]
fn public_types_are_send_and_sync_where_they_should_be() {
    fn send_sync_unpin<T: Send + Sync + Unpin>() {}
    send_sync_unpin::<Publisher>();
    send_sync_unpin::<Subscription>();
    send_sync_unpin::<SseBody>();
    send_sync_unpin::<SseBody<Full<Bytes>>>();
    send_sync_unpin::<SseLayer>();
    send_sync_unpin::<SseService<()>>();
    send_sync_unpin::<SseService<NotFound>>();
    send_sync_unpin::<SseFuture<NotFound, Request<Full<Bytes>>>>();
    send_sync_unpin::<BearerFuture<std::future::Ready<Result<Grant, Denied>>>>();
    send_sync_unpin::<Event>();
    send_sync_unpin::<EncodedEvent>();
    send_sync_unpin::<Grant>();
    send_sync_unpin::<Denied>();
    send_sync_unpin::<Route>();
    send_sync_unpin::<AuthorizeRequest>();
    // A boxed inner body leaves the body `Unpin`, and one that is only `Send` leaves it `Send`.
    fn send<T: Send>(_: &T) {}
    send(&SseBody::<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>::default());
}

#[tokio::test]
async fn a_futures_debug_output_names_its_state() {
    let mut service = layer().into_service();
    let mut debug = |method: &str, path: &str| {
        format!("{:?}", service.call(Request::builder().method(method).uri(path).body(()).unwrap()))
    };
    assert_eq!(debug("GET", STREAM), r#"SseFuture { state: "asking", .. }"#);
    assert_eq!(debug("GET", "/sse/%zz/ana"), r#"SseFuture { state: "answered", .. }"#);
    assert_eq!(debug("POST", STREAM), r#"SseFuture { state: "inner", .. }"#);
}

#[test]
fn a_response_that_passes_through_takes_no_more_than_a_small_stream() {
    let body = size_of::<SseBody<Full<Bytes>>>();
    assert!(body <= 168, "{body}");
    // Most of it is a request on its way to the authorizer or to the inner service.
    let future = size_of::<SseFuture<NotFound, Request<Incoming>>>();
    assert!(future <= 368, "{future}");
}
