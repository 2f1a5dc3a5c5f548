//! Layers of tower and tower-http around the stream: each does its work, and none holds an event back.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    compression::CompressionLayer, cors::CorsLayer, sensitive_headers::SetSensitiveHeadersLayer, timeout::TimeoutLayer,
    trace::TraceLayer, validate_request::ValidateRequestHeaderLayer,
};
use tower_sse::{AuthorizeRequest, ClientId, Denied, Event, Publisher, SseLayer, authorizer_fn};

type Inner = Response<Full<Bytes>>;

/// The layer around a service that answers with a page, which is large enough to be compressed.
fn sse(
    publisher: &Publisher,
) -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<tower_sse::SseBody<Full<Bytes>>>,
    Error = Infallible,
    Future: Send,
> + Clone {
    let page = service_fn(|_: Request<Empty<Bytes>>| async {
        let page = Response::builder().header(header::CONTENT_TYPE, "text/html");
        Ok::<Inner, Infallible>(page.body(Full::from("page ".repeat(1000))).unwrap())
    });
    SseLayer::new(publisher.clone()).route("/sse/{channel}").unwrap().layer(page)
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path)
}

/// The bytes of the next frame.
async fn frame<B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin>(body: &mut B) -> Bytes {
    body.frame().await.expect("a frame").expect("no error").into_data().expect("data")
}

/// Asserts what every stream has to do through a layer: begin at once, and deliver each event at once.
async fn assert_streams<B>(publisher: &Publisher, response: Response<B>)
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = Box::pin(response.into_body());
    assert_eq!(frame(&mut body).await, "retry: 3000\n:\n");
    for text in ["one", "two"] {
        let sent = publisher.channel("chat").send(Event::text(text)).await.unwrap();
        assert_eq!(sent.reached, 1);
        assert_eq!(frame(&mut body).await, format!("data: {text}\nid: {}\n\n", sent.id));
    }
}

#[tokio::test]
async fn compression_leaves_streams_alone_and_compresses_the_rest() {
    let publisher = Publisher::new();
    let service = ServiceBuilder::new().layer(CompressionLayer::new()).service(sse(&publisher));
    let accept = (header::ACCEPT_ENCODING, "gzip, br");
    let request = get("/sse/chat").header(accept.0.clone(), accept.1).body(Empty::new()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers().get(header::CONTENT_ENCODING), None);
    assert_streams(&publisher, response).await;
    let request = get("/").header(accept.0, accept.1).body(Empty::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert!(response.headers().contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn cors_headers_are_on_the_stream() {
    let publisher = Publisher::new();
    let origin = HeaderValue::from_static("https://app.example");
    let cors = CorsLayer::new().allow_origin(origin.clone()).allow_credentials(true);
    let service = ServiceBuilder::new().layer(cors).service(sse(&publisher));
    let request = get("/sse/chat").header(header::ORIGIN, &origin).body(Empty::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    assert_streams(&publisher, response).await;
}

#[tokio::test]
async fn tracing_sees_the_stream_and_passes_it_on() {
    let publisher = Publisher::new();
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let chunks = seen.clone();
    let trace = TraceLayer::new_for_http().on_body_chunk(move |_: &Bytes, _: Duration, _: &tracing::Span| {
        chunks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let service = ServiceBuilder::new().layer(trace).service(sse(&publisher));
    assert_streams(&publisher, service.oneshot(get("/sse/chat").body(Empty::new()).unwrap()).await.unwrap()).await;
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_on_the_response_does_not_end_the_stream() {
    let publisher = Publisher::new();
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(1));
    let service = ServiceBuilder::new().layer(timeout).service(sse(&publisher));
    let response = service.oneshot(get("/sse/chat").body(Empty::new()).unwrap()).await.unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_streams(&publisher, response).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_on_the_response_ends_an_authorizer_that_hangs() {
    let publisher = Publisher::new();
    let hangs = authorizer_fn(|_: AuthorizeRequest| std::future::pending::<Result<_, Denied>>());
    let layer = SseLayer::new(publisher).route("/sse/{channel}").unwrap().authorizer(hangs);
    let inner = service_fn(|_: Request<Empty<Bytes>>| async { Ok::<Inner, Infallible>(Response::default()) });
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(1));
    let service = ServiceBuilder::new().layer(timeout).layer(layer).service(inner);
    let response = service.oneshot(get("/sse/chat").body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn an_auth_layer_outside_decides_first() {
    let publisher = Publisher::new();
    #[expect(deprecated, reason = "still what tower-http offers for one fixed token")]
    let auth = ValidateRequestHeaderLayer::bearer("secret");
    let service = ServiceBuilder::new()
        .layer(SetSensitiveHeadersLayer::new([header::AUTHORIZATION]))
        .layer(auth)
        .service(sse(&publisher));
    let denied = service.clone().oneshot(get("/sse/chat").body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(denied.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(publisher.stats().opened, 0);
    let request = get("/sse/chat").header(header::AUTHORIZATION, "Bearer secret").body(Empty::new()).unwrap();
    assert_streams(&publisher, service.oneshot(request).await.unwrap()).await;
}

#[tokio::test]
async fn extensions_of_an_outer_layer_reach_the_authorizer() {
    #[derive(Clone)]
    struct User(&'static str);

    let publisher = Publisher::new();
    let authorizer = authorizer_fn(|request: AuthorizeRequest| async move {
        let user = request.extensions().get::<User>().ok_or_else(Denied::unauthorized)?;
        Ok::<_, Denied>(request.grant().client(ClientId::from_static(user.0)))
    });
    let layer = SseLayer::new(publisher.clone()).route("/sse/{channel}").unwrap().authorizer(authorizer);
    let inner = service_fn(|_: Request<Empty<Bytes>>| async { Ok::<Inner, Infallible>(Response::default()) });
    let service = layer.layer(inner);
    let denied = service.clone().oneshot(get("/sse/chat").body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(denied.status(), StatusCode::UNAUTHORIZED);
    let request = get("/sse/chat").extension(User("ana")).body(Empty::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(publisher.channel("chat").clients()[0].0, "ana");
    assert_streams(&publisher, response).await;
}
