//! One named test for each thing that the layer promises over HTTP: on `SseService` itself, in virtual time.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::*;

type Inner = Full<Bytes>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Reply = Response<SseBody<Inner>>;
type Stream = Pin<Box<SseBody<Inner>>>;

const TEAPOT: StatusCode = StatusCode::IM_A_TEAPOT;
const SECOND: Duration = Duration::from_secs(1);
const PREAMBLE: &str = "retry: 3000\n:\n";
/// An announced cursor, up to the id.
const CURSOR: &str = "event: cursor\ndata: \nid: ";

/// The routes that most tests need.
fn layer(publisher: &Publisher) -> SseLayer {
    ["/sse/{channel}", "/sse/{channel}/{client_id}", "/events"]
        .into_iter()
        .try_fold(SseLayer::new(publisher.clone()), SseLayer::route)
        .unwrap()
}

/// Sends a request through a layer; the service within answers with a 418 and the request's body.
async fn send<A: Authorizer>(layer: &SseLayer<A>, request: Request<&'static str>) -> Reply {
    let inner = service_fn(|request: Request<&'static str>| async move {
        let mut response = Response::new(Full::from(request.into_body()));
        *response.status_mut() = TEAPOT;
        response.headers_mut().insert("x-inner", HeaderValue::from_static("yes"));
        Ok::<_, Infallible>(response)
    });
    layer.layer(inner).oneshot(request).await.unwrap()
}

fn get(uri: &str) -> Request<&'static str> {
    Request::get(uri).body("").unwrap()
}

fn with(mut request: Request<&'static str>, name: &'static str, value: &[u8]) -> Request<&'static str> {
    request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    request
}

/// Opens a stream and reads its preamble.
async fn open<A: Authorizer>(layer: &SseLayer<A>, request: Request<&'static str>) -> Stream {
    let response = send(layer, request).await;
    assert_eq!(response.status(), 200);
    let mut stream = Box::pin(response.into_body());
    assert_eq!(next(&mut stream).await.unwrap(), PREAMBLE);
    stream
}

/// The next chunk of a stream; `None` at its end.
async fn next(stream: &mut Stream) -> Option<String> {
    let frame = timeout(SECOND, stream.frame()).await.expect("a frame, or the end")?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

/// Asserts that nothing arrives for a second.
async fn assert_quiet(stream: &mut Stream) {
    assert!(timeout(SECOND, stream.frame()).await.is_err(), "something arrived");
}

/// Everything that arrives until nothing does for a second, or until the end.
async fn drain(stream: &mut Stream) -> String {
    let mut all = String::new();
    while let Ok(Some(frame)) = timeout(SECOND, stream.frame()).await {
        all.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    all
}

async fn whole<B>(response: Response<SseBody<B>>) -> Bytes
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn publish(publisher: &Publisher, channel: &str, text: &str) -> String {
    publisher.channel(channel).send(Event::text(text)).await.unwrap().id.to_string()
}

/// The data of each event in `text`, in order.
fn data(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}

fn assert_stream_headers<B: http_body::Body<Data = Bytes, Error: Into<BoxError>>>(response: &Response<SseBody<B>>) {
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-cache, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert!(headers["tower-sse"].to_str().unwrap().starts_with('1'));
    assert_eq!(headers.len(), 4, "{headers:?}");
    assert_eq!(response.body().size_hint().exact(), None);
}

async fn assert_problem<B>(response: Response<SseBody<B>>, status: StatusCode) -> serde_json::Value
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let problem: serde_json::Value = serde_json::from_slice(&whole(response).await).unwrap();
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["title"], status.canonical_reason().unwrap());
    problem
}

/// Asserts that a stream only says when to reconnect, within the hub's spread.
async fn assert_come_back<B>(response: Response<SseBody<B>>, millis: std::ops::RangeInclusive<u64>)
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    assert_stream_headers(&response);
    let body = String::from_utf8(whole(response).await.to_vec()).unwrap();
    let retry = body.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix('\n')).unwrap();
    assert!(millis.contains(&retry.parse().unwrap()), "{retry}");
}

// GET on a configured pattern

#[tokio::test(start_paused = true)]
async fn a_get_on_a_pattern_is_a_stream_with_its_first_bytes_at_once() {
    let publisher = Publisher::new();
    let response = send(&layer(&publisher), get("/sse/a")).await;
    assert_stream_headers(&response);
    assert!(!response.body().is_end_stream());
    let mut stream = Box::pin(response.into_body());
    let first = futures_util::FutureExt::now_or_never(stream.frame()).expect("at once").unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), PREAMBLE);
    assert_quiet(&mut stream).await;
    publish(&publisher, "a", "hello").await;
    assert_eq!(data(&next(&mut stream).await.unwrap()), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn a_route_sets_the_retry_hint() {
    let publisher = Publisher::new();
    let layer = SseLayer::new(publisher)
        .route(Route::new("/off/{channel}").retry(None))
        .and_then(|layer| layer.route(Route::new("/ten/{channel}").retry(10 * SECOND)))
        .unwrap();
    for (uri, preamble) in [("/off/a", ":\n"), ("/ten/a", "retry: 10000\n:\n")] {
        let mut stream = Box::pin(send(&layer, get(uri)).await.into_body());
        assert_eq!(next(&mut stream).await.unwrap(), preamble);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_spreads_the_times_after_which_clients_reconnect() {
    let layer = SseLayer::new(Publisher::new())
        .route(Route::new("/range/{channel}").retry(2 * SECOND..4 * SECOND))
        .and_then(|layer| layer.route(Route::new("/inclusive/{channel}").retry(2 * SECOND..=4 * SECOND)))
        .and_then(|layer| layer.route(Route::new("/short/{channel}").retry(SECOND..SECOND + Duration::from_millis(1))))
        .and_then(|layer| layer.route(Route::new("/empty/{channel}").retry(4 * SECOND..2 * SECOND)))
        .unwrap();
    let times = async |uri: &str| {
        let mut times = Vec::new();
        for _ in 0..100 {
            let mut stream = Box::pin(send(&layer, get(uri)).await.into_body());
            let preamble = next(&mut stream).await.unwrap();
            let time = preamble.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n:\n")).unwrap();
            times.push(time.parse::<u64>().unwrap());
        }
        times
    };
    for uri in ["/range/a", "/inclusive/a"] {
        let mut times = times(uri).await;
        assert!(times.iter().all(|time| (2_000..=4_000).contains(time)), "{times:?}");
        times.sort_unstable();
        times.dedup();
        assert!(times.len() > 50, "a hundred streams have only {} times: {times:?}", times.len());
    }
    assert_eq!(times("/short/a").await, [1_000; 100]);
    assert_eq!(times("/empty/a").await, [4_000; 100]);
}

/// Clients that wait with `setTimeout` hold the time in a signed 32-bit integer, and reconnect at once for anything
/// longer.
#[tokio::test(start_paused = true)]
async fn no_retry_exceeds_the_longest_timer_of_clients() {
    let publisher = Publisher::builder().reconnect(Duration::MAX, Duration::MAX).build();
    let route = Route::new("/sse/{channel}").retry(Duration::MAX).options(OpenOptions::new().max_per_channel(1));
    let layer = SseLayer::new(publisher.clone()).route(route).unwrap();
    let mut stream = Box::pin(send(&layer, get("/sse/a")).await.into_body());
    let event = Event::text("x").retry(Duration::from_millis(u64::from(u32::MAX)));
    publisher.channel("a").send(event).await.unwrap();
    let full = whole(send(&layer, get("/sse/a")).await).await;
    publisher.shutdown(Duration::ZERO).await;
    let sent = drain(&mut stream).await + std::str::from_utf8(&full).unwrap();
    let retries: Vec<&str> = sent.lines().filter_map(|line| line.strip_prefix("retry: ")).collect();
    assert_eq!(retries, ["2147483647"; 4], "of the route, an event, the shutdown and the limit");
}

#[tokio::test(start_paused = true)]
async fn a_route_can_announce_its_cursor_so_that_a_drop_before_the_first_event_resumes() {
    let publisher = Publisher::new();
    let before = publish(&publisher, "a", "before").await;
    let layer = SseLayer::new(publisher.clone()).route(Route::new("/sse/{channel}").announce_cursor(true)).unwrap();
    let mut stream = Box::pin(send(&layer, get("/sse/a")).await.into_body());
    let preamble = next(&mut stream).await.unwrap();
    let id = preamble
        .strip_prefix("retry: 3000\n")
        .and_then(|rest| rest.strip_prefix(CURSOR))
        .and_then(|rest| rest.strip_suffix("\n\n"))
        .unwrap();
    assert_eq!(id, before);
    drop(stream);
    publish(&publisher, "a", "between").await;
    let mut stream = open(&layer, with(get("/sse/a"), "last-event-id", id.as_bytes())).await;
    assert_eq!(data(&drain(&mut stream).await), ["between"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_has_its_id_last_and_ends_in_the_only_blank_line() {
    let publisher = Publisher::new();
    let mut stream = open(&layer(&publisher), get("/sse/a")).await;
    let event = Event::text("x\ny").name(EventName::from_static("named"));
    let id = publisher.channel("a").send(event).await.unwrap().id;
    assert_eq!(next(&mut stream).await.unwrap(), format!("event: named\ndata: x\ndata: y\nid: {id}\n\n"));
}

#[tokio::test(start_paused = true)]
async fn a_slash_in_a_name_is_percent_encoded() {
    let publisher = Publisher::new();
    let layer = layer(&publisher).route("/deep/{*channel}").unwrap();
    let mut encoded = open(&layer, get("/sse/a%2Fb%20c")).await;
    let mut deep = open(&layer, get("/deep/a/b%20c")).await;
    publish(&publisher, "a/b c", "hello").await;
    assert_eq!(data(&next(&mut encoded).await.unwrap()), ["hello"]);
    assert_eq!(data(&next(&mut deep).await.unwrap()), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_channel_is_read_whatever_the_query_says() {
    let publisher = Publisher::new();
    let news = Route::new("/news").channel(ChannelName::from_static("news"));
    let layer = SseLayer::new(publisher.clone()).route(news).unwrap();
    let mut stream = open(&layer, get("/news?channel=secret")).await;
    publish(&publisher, "secret", "no").await;
    publish(&publisher, "news", "yes").await;
    assert_eq!(data(&drain(&mut stream).await), ["yes"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_nothing_of_its_request() {
    let publisher = Publisher::new();
    let (extension, buffer) = (Arc::new(()), Bytes::from(b"secret".to_vec()));
    let mut request = with(get("/sse/a/ana?x=1"), "last-event-id", b"unknown");
    request.extensions_mut().insert(extension.clone());
    request.headers_mut().insert("x-pinned", HeaderValue::from_maybe_shared(buffer.clone()).unwrap());
    request.headers_mut().insert("last-event-id", HeaderValue::from_maybe_shared(buffer.clone()).unwrap());
    assert!(!buffer.is_unique());
    let stream = send(&layer(&publisher), request).await;
    assert_eq!(Arc::strong_count(&extension), 1);
    assert!(buffer.is_unique());
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_body_frees_the_subscription_at_once() {
    let publisher = Publisher::new();
    let stream = open(&layer(&publisher), get("/sse/a")).await;
    assert_eq!(publisher.channel("a").connections(), 1);
    drop(stream);
    assert_eq!(publisher.connections(), 0);
}

#[tokio::test]
async fn a_route_can_declare_the_charset() {
    let publisher = Publisher::new();
    let route = Route::new("/declared/{channel}").declare_charset(true);
    let layer = layer(&publisher).route(route).unwrap();
    for (uri, expected) in [("/declared/a", "text/event-stream; charset=utf-8"), ("/sse/a", "text/event-stream")] {
        for method in [Method::GET, Method::HEAD] {
            let request = Request::builder().method(method).uri(uri).body("").unwrap();
            assert_eq!(send(&layer, request).await.headers()["content-type"], expected);
        }
    }
}

// Last-Event-ID

#[tokio::test(start_paused = true)]
async fn the_last_event_id_resumes_from_the_header_and_from_the_query() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    let first = publish(&publisher, "a", "1").await;
    publish(&publisher, "a", "2").await;
    let mut stream = open(&layer, with(get("/sse/a"), "last-event-id", first.as_bytes())).await;
    assert_eq!(data(&drain(&mut stream).await), ["2"]);
    let mut stream = open(&layer, get(&format!("/sse/a?last_event_id={first}"))).await;
    assert_eq!(data(&drain(&mut stream).await), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn the_header_wins_over_the_query_unless_it_is_empty() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    let first = publish(&publisher, "a", "1").await;
    let second = publish(&publisher, "a", "2").await;
    publish(&publisher, "a", "3").await;
    let uri = format!("/sse/a?last_event_id={first}");
    let mut stream = open(&layer, with(get(&uri), "last-event-id", second.as_bytes())).await;
    assert_eq!(data(&drain(&mut stream).await), ["3"]);
    let mut stream = open(&layer, with(get(&uri), "last-event-id", b"")).await;
    assert_eq!(data(&drain(&mut stream).await), ["2", "3"]);
}

/// Polyfills can't set the header everywhere, and append the id to the URL that the page gave them.
#[tokio::test(start_paused = true)]
async fn a_polyfill_that_reconnects_with_the_id_in_the_query_misses_nothing() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    let first = publish(&publisher, "a", "1").await;
    let second = publish(&publisher, "a", "2").await;
    publish(&publisher, "a", "3").await;
    for name in ["lastEventId", "last-event-id", "Last-Event-ID", "lastEventID"] {
        let mut stream = open(&layer, get(&format!("/sse/a?{name}={second}"))).await;
        assert_eq!(data(&drain(&mut stream).await), ["3"], "{name}");
        let mut stream = open(&layer, get(&format!("/sse/a?last_event_id={first}&{name}={second}"))).await;
        assert_eq!(data(&drain(&mut stream).await), ["3"], "{name} after the page's own");
    }
    let last = publisher.channel("a").finish(Event::text("4")).await.unwrap().id;
    assert_eq!(send(&layer, get(&format!("/sse/a?lastEventId={last}"))).await.status(), 204);
}

#[tokio::test(start_paused = true)]
async fn a_garbage_id_gives_a_gap_and_never_an_error() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    publish(&publisher, "a", "held").await;
    let long = "x".repeat(5000);
    for garbage in ["%zz", "%", "%ff%fe", "nonsense", "0123456789ab-1", "%00", "-1", "a+b", &long] {
        let mut stream = open(&layer, get(&format!("/sse/a?last_event_id={garbage}"))).await;
        let text = drain(&mut stream).await;
        assert!(text.starts_with("event: gap\n"), "{garbage}: {text}");
    }
    for garbage in [&b"\xff\xfe"[..], b"nonsense", b"\xf0\x9f\xa6\x80", b"{}"] {
        let response = send(&layer, with(get("/sse/a"), "last-event-id", garbage)).await;
        assert_stream_headers(&response);
        let text = drain(&mut Box::pin(response.into_body())).await;
        assert!(text.contains("event: gap\n"), "{garbage:?}: {text}");
    }
}

const SAFARI: &[u8] = b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
    Version/17.4 Safari/605.1.15";
const CHROME: &[u8] =
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0 Safari/537.36";

/// WebKit keeps the beginning of a cut event over the reconnect, and takes the next bytes for the rest of it.
#[tokio::test(start_paused = true)]
async fn a_stream_to_webkit_begins_with_a_block_that_ends_what_it_has_kept() {
    let publisher = Publisher::new();
    let first = publish(&publisher, "a", "1").await;
    let second = publish(&publisher, "a", "2").await;
    let layer = SseLayer::new(publisher)
        .route("/sse/{channel}")
        .and_then(|layer| layer.route(Route::new("/always/{channel}").webkit_repair(WebKitRepair::Always)))
        .and_then(|layer| layer.route(Route::new("/never/{channel}").webkit_repair(WebKitRepair::Never)))
        .unwrap();
    let first_bytes = async |uri: &str, agent: &[u8], cache: &[u8], id: &str| {
        let request = with(with(get(uri), "user-agent", agent), "cache-control", cache);
        let mut stream = Box::pin(send(&layer, with(request, "last-event-id", id.as_bytes())).await.into_body());
        let preamble = next(&mut stream).await.unwrap();
        (preamble, if id == first { next(&mut stream).await.unwrap() } else { String::new() })
    };
    let rest = format!("data: 2\nid: {second}\n\n");
    let repaired = (format!(":\nevent: -\nid: {first}\n\n{PREAMBLE}"), rest.clone());
    let plain = (PREAMBLE.to_owned(), rest);
    for (uri, agent, cache, expected) in [
        ("/sse/a", SAFARI, &b"no-cache"[..], &repaired),
        // With `fetch`.
        ("/sse/a", SAFARI, b"", &plain),
        ("/sse/a", CHROME, b"no-cache", &plain),
        ("/sse/a", b"node", b"no-cache", &plain),
        ("/always/a", b"node", b"", &repaired),
        ("/never/a", SAFARI, b"no-cache", &plain),
    ] {
        assert_eq!(&first_bytes(uri, agent, cache, &first).await, expected, "{uri}");
    }
    // One that was cut off within its first event has no id, and so has a fresh one; another has one that is not repeated.
    let fresh = first_bytes("/sse/a", SAFARI, b"no-cache", "").await.0;
    assert_eq!(fresh, format!(":\nevent: -\nid: \n\n{PREAMBLE}"));
    assert_eq!(first_bytes("/sse/a", CHROME, b"no-cache", "").await.0, PREAMBLE);
    let unknown = first_bytes("/sse/a", SAFARI, b"no-cache", "un known").await.0;
    assert_eq!(unknown, format!(":\nevent: -\n\n{PREAMBLE}"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_repair_what_webkit_has_kept() {
    let publisher = Publisher::new();
    let subscription = || ready(OpenOptions::new().open(&publisher, grant(&["a"]), None)).unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_bytes(SAFARI).unwrap());
    headers.insert("cache-control", HeaderValue::from_static("no-cache"));
    let repaired = format!(":\nevent: -\nid: order-1\n\n{PREAMBLE}");
    for (repair, id, expected) in [
        (WebKitRepair::Auto, Some(&b"order-1"[..]), &*repaired),
        (WebKitRepair::Auto, None, &format!(":\nevent: -\nid: \n\n{PREAMBLE}")),
        (WebKitRepair::Never, Some(b"order-1"), PREAMBLE),
    ] {
        let mut body = SseBody::new(subscription()).webkit_repair(repair, &headers, id);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
    }
}

// A fresh reader

#[tokio::test(start_paused = true)]
async fn a_new_reader_starts_where_its_route_says() {
    for (start, expected) in [
        (Start::Live, &["4"][..]),
        (Start::Earliest, &["1", "2", "3", "4"]),
        (Start::Last(2), &["2", "3", "4"]),
        (Start::Last(0), &["4"]),
    ] {
        let publisher = Publisher::new();
        for text in ["1", "2", "3"] {
            publish(&publisher, "a", text).await;
        }
        let route = Route::new("/sse/{channel}").options(OpenOptions::new().start(start));
        let layer = SseLayer::new(publisher.clone()).route(route).unwrap();
        let mut stream = open(&layer, get("/sse/a")).await;
        publish(&publisher, "a", "4").await;
        assert_eq!(data(&drain(&mut stream).await), expected, "{start:?}");
    }
}

// Several channels

#[tokio::test(start_paused = true)]
async fn several_channels_in_the_query_are_one_connection() {
    let publisher = Publisher::new();
    let mut stream = open(&layer(&publisher), get("/events?channel=a&channel=b+1&channel=a")).await;
    assert_eq!(publisher.connections(), 1);
    for (channel, text) in [("a", "1"), ("b 1", "2"), ("c", "no"), ("a", "3")] {
        publish(&publisher, channel, text).await;
    }
    assert_eq!(data(&drain(&mut stream).await), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn the_query_adds_no_channel_to_one_in_the_path() {
    let publisher = Publisher::new();
    let mut stream = open(&layer(&publisher), get("/sse/a?channel=b")).await;
    publish(&publisher, "b", "no").await;
    publish(&publisher, "a", "yes").await;
    assert_eq!(data(&drain(&mut stream).await), ["yes"]);
}

#[tokio::test]
async fn a_request_without_channels_is_a_400() {
    let publisher = Publisher::new();
    let problem = assert_problem(send(&layer(&publisher), get("/events?x=1")).await, StatusCode::BAD_REQUEST).await;
    assert_eq!(problem["detail"], "the request names no channel");
}

#[tokio::test]
async fn more_channels_than_the_hub_allows_are_a_400() {
    let publisher = Publisher::builder().limits(Limits::default().channels_per_subscription(2)).build();
    let layer = layer(&publisher);
    let response = send(&layer, get("/events?channel=a&channel=b&channel=c")).await;
    assert_problem(response, StatusCode::BAD_REQUEST).await;
    assert_eq!(send(&layer, get("/events?channel=a&channel=b&channel=a")).await.status(), 200);
    let many: String = (0..4000).map(|n| format!("channel=c{n}&")).collect();
    assert_problem(send(&layer, get(&format!("/events?{many}"))).await, StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn an_authorizer_is_not_asked_about_more_channels_than_the_hub_allows() {
    let publisher = Publisher::builder().limits(Limits::default().channels_per_subscription(2)).build();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let authorizer = authorizer_fn(move |request: AuthorizeRequest| {
        count.fetch_add(request.channels().len(), Ordering::SeqCst);
        async move { Ok::<_, Denied>(request.grant()) }
    });
    let fixed = ["x", "y", "z"].map(ChannelName::from_static);
    let fixed = fixed.into_iter().fold(Route::new("/fixed"), Route::channel);
    let layer = layer(&publisher).route(fixed).unwrap().authorizer(authorizer);
    for (uri, status, expected) in [
        ("/events?channel=a&channel=b", 200, 2),
        ("/events?channel=a&channel=b&channel=c", 400, 2),
        ("/fixed", 400, 2),
        ("/sse/a", 200, 3),
    ] {
        let response = send(&layer, get(uri)).await;
        assert_eq!((response.status().as_u16(), asked.load(Ordering::SeqCst)), (status, expected), "{uri}");
    }
    assert_eq!(publisher.stats().bad_requests, 2);
}

// HEAD

/// Sends a `GET` and a `HEAD`, asserts that status and headers are the same, and returns the status.
async fn status_of_get_and_head<A: Authorizer>(layer: &SseLayer<A>, uri: &str, id: &str) -> u16 {
    let ask = |method| {
        let request = Request::builder().method(method).uri(uri).header("last-event-id", id);
        send(layer, request.body("").unwrap())
    };
    let head = ask(Method::HEAD).await;
    let get = ask(Method::GET).await;
    assert_eq!((head.status(), head.headers()), (get.status(), get.headers()), "{uri}");
    assert_eq!(whole(head).await, "");
    get.status().as_u16()
}

#[tokio::test]
async fn a_head_request_is_answered_like_a_get() {
    let limits = Limits::default().channels_per_subscription(2).subscriptions(2);
    let publisher = Publisher::builder().limits(limits).build();
    let layer = layer(&publisher)
        .route(Route::new("/one/{channel}").options(OpenOptions::new().max_per_channel(1)))
        .and_then(|layer| layer.route("/expired/{channel}"))
        .unwrap()
        .authorizer(authorizer_fn(|request: AuthorizeRequest| async move {
            match request.uri().path() {
                "/sse/secret" => Err(Denied::not_found()),
                "/expired/a" => Ok(request.grant().expires_at(SystemTime::UNIX_EPOCH)),
                _ => Ok(request.grant()),
            }
        }));
    let first = publish(&publisher, "over", "1").await;
    let last = publisher.channel("over").finish(Event::text("2")).await.unwrap().id.to_string();
    for (uri, id, status) in [
        ("/sse/a", "", 200),
        ("/sse/a", "garbage", 200),
        ("/sse/over", "", 200),
        ("/sse/over", &first, 200),
        ("/sse/over", &last, 204),
        ("/sse/a", &format!("{last}-end"), 204),
        ("/events?channel=a&channel=b&channel=c", "", 400),
        ("/events", "", 400),
        ("/sse/%00", "", 400),
        ("/expired/a", "", 401),
        ("/sse/secret", "", 404),
    ] {
        assert_eq!(status_of_get_and_head(&layer, uri, id).await, status, "{uri} {id:?}");
    }
    let reader = open(&layer, get("/sse/a")).await;
    let limited = publisher.stats().limited;
    assert_eq!(status_of_get_and_head(&layer, "/one/a", "").await, 200);
    assert_eq!(publisher.stats().limited, limited + 2, "over the route's limit");
    let another = open(&layer, get("/sse/b")).await;
    assert_eq!(status_of_get_and_head(&layer, "/sse/c", "").await, 200);
    assert_eq!(publisher.stats().limited, limited + 4, "over the hub's limit");
    drop((reader, another));
    publisher.shutdown(Duration::ZERO).await;
    assert_eq!(status_of_get_and_head(&layer, "/sse/a", "").await, 200);
}

#[tokio::test]
async fn a_head_request_takes_no_place_and_replaces_nobody() {
    let publisher = Publisher::new();
    let replace = OpenOptions::new().duplicates(Duplicates::Replace);
    let layer = SseLayer::new(publisher.clone()).route(Route::new("/{channel}/{client_id}").options(replace)).unwrap();
    let mut reader = open(&layer, get("/a/ana")).await;
    let before = publisher.stats();
    for id in ["", "garbage"] {
        let request = Request::head("/a/ana").header("last-event-id", id).body("").unwrap();
        assert_stream_headers(&send(&layer, request).await);
    }
    assert_eq!(format!("{:?}", publisher.stats()), format!("{before:?}"));
    publish(&publisher, "a", "still here").await;
    assert_eq!(data(&next(&mut reader).await.unwrap()), ["still here"]);
}

#[tokio::test]
async fn a_head_request_gets_the_headers_without_body_or_subscription() {
    let publisher = Publisher::new();
    let request = Request::head("/sse/a").body("").unwrap();
    let response = send(&layer(&publisher), request).await;
    assert_stream_headers(&response);
    assert_eq!(publisher.connections(), 0);
    assert_eq!(publisher.stats().opened, 0);
    assert_eq!(whole(response).await, "");
}

#[tokio::test]
async fn a_head_request_is_authorized_too() {
    let publisher = Publisher::new();
    let layer = layer(&publisher).authorizer(authorizer_fn(|_| async { Err::<Grant, _>(Denied::unauthorized()) }));
    let response = send(&layer, Request::head("/sse/a").body("").unwrap()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(whole(response).await, "");
    let response = send(&layer, Request::head("/sse/%zz").body("").unwrap()).await;
    assert_eq!(response.status(), 400);
    assert_eq!(whole(response).await, "");
}

// Another method, or another path

#[tokio::test]
async fn other_methods_and_paths_reach_the_inner_service_untouched() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    for (method, uri) in [
        (Method::POST, "/sse/a"),
        (Method::OPTIONS, "/sse/a"),
        (Method::DELETE, "/sse/%zz"),
        (Method::GET, "/"),
        (Method::GET, "/sse"),
        (Method::GET, "/sse/"),
        (Method::GET, "/sse/a/b/c"),
        (Method::GET, "/SSE/a"),
        (Method::HEAD, "/other"),
    ] {
        let request = Request::builder().method(&method).uri(uri).header("accept", "text/html").body("body").unwrap();
        let response = send(&layer, request).await;
        assert_eq!(response.status(), TEAPOT, "{method} {uri}");
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.body().size_hint().exact(), Some(4));
        assert_eq!(whole(response).await, "body");
    }
}

#[tokio::test]
async fn an_inner_error_is_passed_on() {
    let inner = service_fn(|_: Request<()>| async { Err::<Response<Inner>, _>("broken") });
    let service = layer(&Publisher::new()).layer(inner);
    let error = service.oneshot(Request::new(())).await.err().unwrap();
    assert_eq!(error, "broken");
}

#[tokio::test]
async fn the_inner_instance_that_was_ready_is_the_one_called() {
    /// Panics if it is called before it was ready, as concurrency limits do.
    struct Careful(bool);
    impl Clone for Careful {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Service<Request<()>> for Careful {
        type Response = Response<Inner>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Inner>, Infallible>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: Request<()>) -> Self::Future {
            assert!(std::mem::take(&mut self.0), "called before it was ready");
            std::future::ready(Ok(Response::default()))
        }
    }
    let mut service = layer(&Publisher::new()).layer(Careful(false));
    for _ in 0..2 {
        assert_eq!(service.ready().await.unwrap().call(Request::new(())).await.unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_does_not_wait_for_an_inner_service_that_is_busy() {
    let slow = service_fn(|_: Request<&'static str>| async {
        tokio::time::sleep(60 * SECOND).await;
        Ok::<_, Infallible>(Response::new(Inner::default()))
    });
    let publisher = Publisher::new();
    let limited = layer(&publisher).layer(tower::limit::ConcurrencyLimit::new(slow, 1));
    let start = Instant::now();
    let pages = [0; 2].map(|_| tokio::spawn(limited.clone().oneshot(get("/page"))));
    tokio::task::yield_now().await;
    let stream = limited.clone().oneshot(get("/sse/a")).await.unwrap();
    assert_stream_headers(&stream);
    assert_eq!(start.elapsed(), Duration::ZERO);
    for page in pages {
        assert_eq!(page.await.unwrap().unwrap().status(), 200);
    }
    assert!(start.elapsed() >= 120 * SECOND, "a request that is passed on waits for its turn");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_answers_streams_reserves_no_place_of_the_inner_service() {
    let inner = service_fn(|_: Request<&'static str>| async { Ok::<_, Infallible>(Response::new(Inner::default())) });
    let publisher = Publisher::new();
    let service = layer(&publisher).layer(tower::buffer::Buffer::new(inner, 1));
    let mut streams = service.clone();
    let stream = streams.ready().await.unwrap().call(get("/sse/a")).await.unwrap();
    assert_stream_headers(&stream);
    let page = timeout(SECOND, service.oneshot(get("/page"))).await.expect("there is a place").unwrap();
    assert_eq!(page.status(), 200);
    drop((stream, streams));
}

#[tokio::test]
async fn an_inner_service_that_fails_to_become_ready_fails_the_requests_passed_on() {
    #[derive(Clone)]
    struct Broken;
    impl Service<Request<&'static str>> for Broken {
        type Response = Response<Inner>;
        type Error = &'static str;
        type Future = std::future::Pending<Result<Response<Inner>, &'static str>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Err("broken"))
        }

        fn call(&mut self, _request: Request<&'static str>) -> Self::Future {
            panic!("it is not ready")
        }
    }
    let service = layer(&Publisher::new()).layer(Broken);
    assert_eq!(service.clone().oneshot(get("/page")).await.err(), Some("broken"));
    assert_stream_headers(&service.oneshot(get("/sse/a")).await.unwrap());
}

// Accept

#[tokio::test]
async fn an_accept_header_that_rules_out_streams_is_a_406() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    for accept in [&b"text/html"[..], b"text/event-stream;q=0, */*", b"application/json"] {
        assert_problem(send(&layer, with(get("/sse/a"), "accept", accept)).await, StatusCode::NOT_ACCEPTABLE).await;
    }
    for accept in [&b"text/event-stream"[..], b"*/*", b"text/*;q=0.1, text/html", b""] {
        assert_eq!(send(&layer, with(get("/sse/a"), "accept", accept)).await.status(), 200);
    }
    let two = with(with(get("/sse/a"), "accept", b"text/html"), "accept", b"text/event-stream");
    assert_eq!(send(&layer, two).await.status(), 200);
}

// Denied

#[tokio::test]
async fn a_denial_is_answered_with_its_status_and_counted() {
    let publisher = Publisher::new();
    let denied = [
        Denied::unauthorized().challenge(HeaderValue::from_static("Bearer realm=\"x\"")).detail("who are you"),
        Denied::forbidden(),
        Denied::not_found(),
    ];
    for (denied, status) in denied.into_iter().zip([401, 403, 404]) {
        let layer =
            layer(&publisher).authorizer(authorizer_fn(move |_| std::future::ready(Err::<Grant, _>(denied.clone()))));
        let response = send(&layer, get("/sse/a")).await;
        let challenge = response.headers().get("www-authenticate").cloned();
        assert_eq!(challenge.is_some(), status == 401);
        let problem = assert_problem(response, StatusCode::from_u16(status).unwrap()).await;
        assert_eq!(problem.get("detail").is_some(), status == 401);
    }
    assert_eq!((publisher.stats().denied, publisher.stats().authorizer_failed), (3, 0));
    assert_eq!(publisher.stats().opened, 0);
}

#[tokio::test(start_paused = true)]
async fn an_authorizer_that_fails_panics_or_times_out_grants_nothing_and_is_asked_again_later() {
    let publisher = Publisher::builder().reconnect(2 * SECOND, 4 * SECOND).build();
    let base = || layer(&publisher);
    let failing = base().authorizer(authorizer_fn(|_| async { Err::<Grant, _>(std::io::Error::other("x")) }));
    assert_come_back(send(&failing, get("/sse/a")).await, 2000..=4000).await;
    let panicking = base().authorizer(authorizer_fn(|request: AuthorizeRequest| async move {
        assert!(request.channels().is_empty(), "on purpose");
        Ok::<_, Denied>(request.grant())
    }));
    assert_come_back(send(&panicking, get("/sse/a")).await, 2000..=4000).await;
    let slow = base().authorizer(tower::timeout::Timeout::new(
        authorizer_fn(|_| std::future::pending::<Result<Grant, Denied>>()),
        SECOND,
    ));
    assert_come_back(send(&slow, get("/sse/a")).await, 2000..=4000).await;
    let head = Request::head("/sse/a").body("").unwrap();
    let head = send(&failing, head).await;
    assert_stream_headers(&head);
    assert_eq!(whole(head).await, "");
    let stats = publisher.stats();
    assert_eq!((stats.opened, stats.denied, stats.authorizer_failed), (0, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn the_authorizer_sees_the_request_and_narrows_the_channels() {
    let publisher = Publisher::new();
    let layer = layer(&publisher).authorizer(authorizer_fn(|request: AuthorizeRequest| async move {
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.uri().path(), "/events");
        assert_eq!(request.headers()["x-user"], "ana");
        assert_eq!(request.extensions().get::<u32>(), Some(&7));
        assert_eq!(request.channels().len(), 3);
        Ok::<_, Denied>(request.grant().only(|channel| channel.as_str() != "b"))
    }));
    let mut request = with(get("/events?channel=a&channel=b&channel=c"), "x-user", b"ana");
    request.extensions_mut().insert(7_u32);
    let mut stream = open(&layer, request).await;
    for channel in ["a", "b", "c"] {
        publish(&publisher, channel, channel).await;
    }
    assert_eq!(data(&drain(&mut stream).await), ["a", "c"]);
}

#[tokio::test]
async fn a_grant_of_other_channels_than_requested_is_a_403() {
    let publisher = Publisher::new();
    let layer = layer(&publisher)
        .authorizer(authorizer_fn(|_| async { Ok::<_, Denied>(Grant::new([ChannelName::from_static("secret")])) }));
    assert_problem(send(&layer, get("/sse/a")).await, StatusCode::FORBIDDEN).await;
    assert_eq!(publisher.stats().denied, 1);
}

#[tokio::test(start_paused = true)]
async fn the_grant_decides_who_a_connection_is_and_the_url_does_not() {
    let publisher = Publisher::new();
    let layer = layer(&publisher).authorizer(authorizer_fn(|request: AuthorizeRequest| async move {
        Ok::<_, Denied>(request.grant().client(ClientId::from_static("ana")))
    }));
    let mut stream = open(&layer, get("/sse/a/bob")).await;
    publisher.channel("a").send_to("bob", Event::text("for bob")).await.unwrap();
    publisher.channel("a").send_to("ana", Event::text("for ana")).await.unwrap();
    assert_eq!(data(&drain(&mut stream).await), ["for ana"]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_without_a_client_reads_no_targeted_event() {
    let publisher = Publisher::new();
    let layer = layer(&publisher)
        .authorizer(authorizer_fn(|request: AuthorizeRequest| async move { Ok::<_, Denied>(request.grant()) }));
    let mut stream = open(&layer, get("/sse/a/bob")).await;
    publisher.channel("a").send_to("bob", Event::text("for bob")).await.unwrap();
    assert_quiet(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn without_an_authorizer_the_url_names_the_client() {
    let publisher = Publisher::new();
    let mut stream = open(&layer(&publisher), get("/sse/a/bob%20b")).await;
    publisher.channel("a").send_to("bob b", Event::text("for bob")).await.unwrap();
    publisher.channel("a").send_to("ana", Event::text("for ana")).await.unwrap();
    assert_eq!(data(&drain(&mut stream).await), ["for bob"]);
}

#[tokio::test]
async fn a_bearer_token_is_taken_from_the_header_and_where_enabled_from_the_query() {
    let publisher = Publisher::new();
    let lookup = |token: String, request: AuthorizeRequest| async move {
        if token == "good" { Ok(request.grant()) } else { Err(Denied::unauthorized()) }
    };
    let header_only = layer(&publisher).authorizer(bearer(lookup));
    let both = layer(&publisher).authorizer(bearer(lookup).query_parameter("access_token"));
    assert_eq!(send(&header_only, with(get("/sse/a"), "authorization", b"bearer good")).await.status(), 200);
    assert_eq!(send(&header_only, with(get("/sse/a"), "authorization", b"Bearer bad")).await.status(), 401);
    assert_eq!(send(&header_only, get("/sse/a?access_token=good")).await.status(), 401);
    assert_eq!(send(&both, get("/sse/a?access_token=good")).await.status(), 200);
    let bad_header = with(get("/sse/a?access_token=good"), "authorization", b"Bearer bad");
    assert_eq!(send(&both, bad_header).await.status(), 401);
}

#[tokio::test]
async fn a_grant_that_has_expired_is_a_401() {
    let publisher = Publisher::new();
    let layer = layer(&publisher).authorizer(authorizer_fn(|request: AuthorizeRequest| async move {
        Ok::<_, Denied>(request.grant().expires_at(SystemTime::UNIX_EPOCH))
    }));
    let response = send(&layer, get("/sse/a")).await;
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_problem(response, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_expires_ends_the_stream() {
    let publisher = Publisher::new();
    let layer = layer(&publisher).authorizer(authorizer_fn(|request: AuthorizeRequest| async move {
        Ok::<_, Denied>(request.grant().expires_in(5 * SECOND))
    }));
    let start = Instant::now();
    let mut stream = open(&layer, get("/sse/a")).await;
    let retry = timeout(60 * SECOND, stream.frame()).await.expect("the end").unwrap().unwrap();
    assert!(retry.into_data().unwrap().starts_with(b"retry: "));
    assert!(stream.frame().await.is_none());
    assert!(start.elapsed() >= 5 * SECOND && start.elapsed() < 6 * SECOND);
    assert_eq!(publisher.connections(), 0);
}

// Limits and shutdown

#[tokio::test]
async fn a_stream_over_a_connection_limit_only_says_when_to_reconnect() {
    let publisher =
        Publisher::builder().limits(Limits::default().subscriptions(1)).reconnect(2 * SECOND, 4 * SECOND).build();
    let layer = layer(&publisher);
    let first = send(&layer, get("/sse/a")).await;
    assert_come_back(send(&layer, get("/sse/b")).await, 2000..=4000).await;
    drop(first);
    let mut stream = Box::pin(send(&layer, get("/sse/b")).await.into_body());
    assert_eq!(next(&mut stream).await.unwrap(), PREAMBLE);
}

#[tokio::test]
async fn a_routes_own_limits_are_limits_too() {
    for options in [
        OpenOptions::new().max_per_channel(1),
        OpenOptions::new().max_per_client(1),
        OpenOptions::new().duplicates(Duplicates::Refuse),
    ] {
        let publisher = Publisher::builder().reconnect(2 * SECOND, 4 * SECOND).build();
        let route = Route::new("/sse/{channel}/{client_id}").options(options.clone());
        let layer = SseLayer::new(publisher.clone()).route(route).unwrap();
        let first = send(&layer, get("/sse/a/ana")).await;
        assert_stream_headers(&first);
        assert_come_back(send(&layer, get("/sse/a/ana")).await, 2000..=4000).await;
        assert_eq!(publisher.connections(), 1, "{options:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_opened_during_shutdown_only_says_when_to_reconnect() {
    let publisher = Publisher::builder().reconnect(2 * SECOND, 4 * SECOND).build();
    let layer = layer(&publisher);
    let mut stream = open(&layer, get("/sse/a")).await;
    let (gone, rest) = tokio::join!(publisher.shutdown(10 * SECOND), async {
        let rest = drain(&mut stream).await;
        drop(stream);
        rest
    });
    assert!(gone);
    assert!(rest.starts_with("retry: ") && rest.ends_with('\n') && !rest.contains("\n\n"), "{rest}");
    assert_come_back(send(&layer, get("/sse/a")).await, 2000..=4000).await;
}

// Finished channels

#[tokio::test]
async fn a_finished_channel_with_nothing_left_is_a_204() {
    let publisher = Publisher::new();
    publish(&publisher, "a", "1").await;
    let last = publisher.channel("a").finish(Event::text("last")).await.unwrap().id.to_string();
    let response = send(&layer(&publisher), with(get("/sse/a"), "last-event-id", last.as_bytes())).await;
    assert_eq!(response.status(), 204);
    assert!(!response.headers().contains_key("content-type"));
    assert!(response.body().is_end_stream());
    assert_eq!(whole(response).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_finished_channel_delivers_its_remaining_events_and_ends() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    let mut reader = open(&layer, get("/sse/a")).await;
    let first = publish(&publisher, "a", "1").await;
    publish(&publisher, "a", "2").await;
    publisher.channel("a").finish(Event::text("last")).await.unwrap();
    assert_eq!(data(&drain(&mut reader).await), ["1", "2", "last"]);
    assert!(next(&mut reader).await.is_none());
    let mut latecomer = open(&layer, with(get("/sse/a"), "last-event-id", first.as_bytes())).await;
    assert_eq!(data(&drain(&mut latecomer).await), ["2", "last"]);
    assert!(next(&mut latecomer).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_reader_that_reconnects_gets_a_204() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    let mut stream = open(&layer, get("/sse/a/ana")).await;
    assert_eq!(publisher.disconnect("ana").await.unwrap(), 1);
    let rest = drain(&mut stream).await;
    assert!(rest.starts_with("event: goodbye\n"), "{rest}");
    let id = rest.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    let response = send(&layer, with(get("/sse/a/ana"), "last-event-id", id.as_bytes())).await;
    assert_eq!(response.status(), 204);
}

/// Has `ana` read one event and then disconnects her. Returns what her stream ended with.
async fn sent_away() -> (Publisher, SseLayer, String) {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    let mut stream = open(&layer, get("/sse/a/ana")).await;
    publish(&publisher, "a", "1").await;
    assert_eq!(data(&next(&mut stream).await.unwrap()), ["1"]);
    publisher.disconnect("ana").await.unwrap();
    let rest = drain(&mut stream).await;
    (publisher, layer, rest)
}

/// A client that keeps one last id, such as one on `fetch`, can't show through the query that it restarts on purpose.
#[tokio::test(start_paused = true)]
async fn the_id_in_a_goodbyes_data_reopens_the_stream_wherever_it_is_sent() {
    let (publisher, layer, rest) = sent_away().await;
    let goodbye: serde_json::Value = serde_json::from_str(data(&rest)[0]).unwrap();
    assert_eq!(goodbye["reason"], "disconnected");
    publish(&publisher, "a", "2").await;
    let id = goodbye["last_event_id"].as_str().unwrap();
    for request in [
        with(get("/sse/a/ana"), "last-event-id", id.as_bytes()),
        get(&format!("/sse/a/ana?last_event_id={id}")),
        get(&format!("/sse/a/ana?lastEventId={id}")),
    ] {
        let mut stream = open(&layer, request).await;
        assert_eq!(data(&next(&mut stream).await.unwrap()), ["2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_goodbyes_own_id_resumes_from_the_query_and_stays_a_204_in_the_header() {
    let (publisher, layer, rest) = sent_away().await;
    let id = rest.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap();
    publish(&publisher, "a", "2").await;
    // The query is the page's own decision; the header is the browser's, also with the page's old query.
    let uri = format!("/sse/a/ana?last_event_id={id}");
    let mut stream = open(&layer, get(&uri)).await;
    assert_eq!(drain(&mut stream).await.lines().next().unwrap(), "data: 2");
    let response = send(&layer, with(get(&uri), "last-event-id", id.as_bytes())).await;
    assert_eq!(response.status(), 204);
}

// Bad names

#[tokio::test]
async fn bad_names_are_a_400_and_counted() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    let long = format!("/sse/{}", "x".repeat(256));
    let uris = [
        "/sse//ana",
        "/sse/%zz",
        "/sse/%",
        "/sse/%ff",
        "/sse/%00",
        "/sse/a%0D%0Adata:x",
        "/sse/%C2%85",
        "/sse/a/%ff",
        "/sse/a/%zz",
        "/sse/a/b%7F",
        "/events?channel=",
        "/events?channel",
        "/events?channel=a&channel=%zz",
        "/events?channel=%ff",
        &long,
    ];
    for uri in uris {
        let problem = assert_problem(send(&layer, get(uri)).await, StatusCode::BAD_REQUEST).await;
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{uri}");
    }
    assert_eq!(publisher.stats().bad_requests, u64::try_from(uris.len()).unwrap());
    assert_eq!(publisher.stats().opened, 0);
}

// A body in the request

#[tokio::test]
async fn a_request_that_announces_a_body_is_a_400() {
    let publisher = Publisher::new();
    let layer = layer(&publisher);
    for (header, value) in [("content-length", &b"9"[..]), ("transfer-encoding", b"chunked")] {
        let problem =
            assert_problem(send(&layer, with(get("/sse/a"), header, value)).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["detail"], "a request for a stream can't have a body");
        let head = with(Request::head("/sse/a").body("").unwrap(), header, value);
        assert_eq!(send(&layer, head).await.status(), 400);
        let post = with(Request::post("/sse/a").body("").unwrap(), header, value);
        assert_eq!(send(&layer, post).await.status(), TEAPOT);
    }
    assert_eq!((publisher.stats().bad_requests, publisher.stats().opened), (4, 0));
    assert_stream_headers(&send(&layer, with(get("/sse/a"), "content-length", b"0")).await);
}

// Keep-alive

#[tokio::test(start_paused = true)]
async fn keep_alives_come_when_idle_and_only_then() {
    let publisher = Publisher::new();
    let mut stream = open(&layer(&publisher), get("/sse/a")).await;
    let start = Instant::now();
    for n in 1..=3 {
        let frame = timeout(60 * SECOND, stream.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), ":\n");
        assert_eq!(start.elapsed().as_secs(), 15 * n);
    }
    // While an event is sent every ten seconds, no keep-alive is.
    for n in 0..10 {
        assert!(timeout(10 * SECOND, stream.frame()).await.is_err(), "{n}");
        publish(&publisher, "a", "tick").await;
        assert_eq!(data(&next(&mut stream).await.unwrap()), ["tick"]);
    }
    let last = Instant::now();
    let frame = timeout(60 * SECOND, stream.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), ":\n");
    assert_eq!(last.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_route_sets_its_keep_alive_or_none() {
    let publisher = Publisher::new();
    let text = KeepAlive::every(2 * SECOND).text(Comment::from_static("still here"));
    let layer = SseLayer::new(publisher)
        .route(Route::new("/text/{channel}").keep_alive(text))
        .and_then(|layer| layer.route(Route::new("/off/{channel}").keep_alive(KeepAlive::off())))
        .and_then(|layer| layer.route(Route::new("/zero/{channel}").keep_alive(KeepAlive::every(Duration::ZERO))))
        .unwrap();
    let mut stream = open(&layer, get("/text/a")).await;
    let frame = timeout(3 * SECOND, stream.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), ": still here\n");
    for uri in ["/off/a", "/zero/a"] {
        let mut stream = open(&layer, get(uri)).await;
        assert!(timeout(10_000 * SECOND, stream.frame()).await.is_err(), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_keep_alive_can_be_an_event_that_pages_see_and_that_leaves_the_last_id_alone() {
    let publisher = Publisher::new();
    let ping = || KeepAlive::every(2 * SECOND).event(EventName::from_static("ping"));
    let text = Comment::from_static("still here");
    let layer = SseLayer::new(publisher.clone())
        .route(Route::new("/ping/{channel}").keep_alive(ping()))
        .and_then(|layer| layer.route(Route::new("/both/{channel}").keep_alive(ping().text(text.clone()))))
        .unwrap();
    assert_eq!(
        ping().text(text.clone()),
        KeepAlive::every(2 * SECOND).text(text).event(EventName::from_static("ping"))
    );
    for (uri, expected) in
        [("/ping/a", "event: ping\ndata: \n\n"), ("/both/a", ": still here\nevent: ping\ndata: \n\n")]
    {
        let mut stream = open(&layer, get(uri)).await;
        assert_eq!(timeout(3 * SECOND, stream.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap(), expected);
        publish(&publisher, "a", "x").await;
        assert_eq!(data(&next(&mut stream).await.unwrap()), ["x"]);
        assert_eq!(timeout(3 * SECOND, stream.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap(), expected);
    }
}

// Streams of handlers

#[tokio::test(start_paused = true)]
async fn a_handler_answers_with_a_subscription() {
    let publisher = Publisher::new();
    let grant = || Grant::new([ChannelName::from_static("a")]);
    let response: Response<SseBody> = OpenOptions::new().open(&publisher, grant(), None).await.unwrap().into();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    publish(&publisher, "a", "1").await;
    publisher.channel("a").finish(Event::text("2")).await.unwrap();
    let all = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(all.starts_with(PREAMBLE));
    assert_eq!(data(&all), ["1", "2"]);

    let subscription =
        OpenOptions::new().open(&publisher, Grant::new([ChannelName::from_static("b")]), None).await.unwrap();
    let keep_alive = KeepAlive::every(2 * SECOND).text(Comment::from_static("x"));
    let mut body = Box::pin(SseBody::new(subscription).keep_alive(keep_alive).retry(None));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), ":\n");
    let frame = timeout(3 * SECOND, body.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), ": x\n");
}

/// In process an opening is ready at once.
fn ready<F: Future>(future: F) -> F::Output {
    future.now_or_never().unwrap()
}

/// A handler that does what the layer does.
fn own(publisher: &Publisher, grant: Grant, request: Request<&'static str>) -> Response<SseBody> {
    let last_event_id = last_event_id(request.headers(), request.uri());
    match ready(OpenOptions::new().open(publisher, grant, last_event_id.as_deref())) {
        Ok(subscription) => SseBody::new(subscription).announce_cursor(true).into_response(),
        Err(error) => SseBody::refused(publisher, &error),
    }
}

fn grant(channels: &[&'static str]) -> Grant {
    Grant::new(channels.iter().map(|name| ChannelName::from_static(name)))
}

#[tokio::test]
async fn a_handler_answers_a_refused_opening_as_the_layer_does() {
    let hub = |limits: Limits| Publisher::builder().limits(limits).reconnect(2 * SECOND, 4 * SECOND).build();
    let publisher = hub(Limits::default().channels_per_subscription(2).subscriptions(1));
    let last = publisher.channel("over").finish(Event::text("last")).await.unwrap().id.to_string();
    let over = own(&publisher, grant(&["over"]), with(get("/"), "last-event-id", last.as_bytes()));
    assert_eq!((over.status().as_u16(), &over.headers()["cache-control"]), (204, &"no-store".parse().unwrap()));
    assert_eq!(whole(over).await, "");

    for channels in [&[][..], &["a", "b", "c"]] {
        assert_problem(own(&publisher, grant(channels), get("/")), StatusCode::BAD_REQUEST).await;
    }
    assert_eq!(publisher.stats().bad_requests, 2);

    let expired = own(&publisher, grant(&["a"]).expires_at(SystemTime::UNIX_EPOCH), get("/"));
    assert_eq!(expired.headers()["www-authenticate"], "Bearer");
    let problem = assert_problem(expired, StatusCode::UNAUTHORIZED).await;
    assert_eq!(problem["detail"], "the grant has expired");
    assert_eq!(publisher.stats().denied, 1);

    let first = own(&publisher, grant(&["a"]), get("/"));
    assert_stream_headers(&first);
    assert_come_back(own(&publisher, grant(&["a"]), get("/")), 2000..=4000).await;
    drop(first);
    assert!(publisher.shutdown(SECOND).await);
    assert_come_back(own(&publisher, grant(&["a"]), get("/")), 2000..=4000).await;
}

/// Everything that a handler's stream yields until nothing does for a second.
async fn own_text(publisher: &Publisher, request: Request<&'static str>) -> String {
    let mut body = own(publisher, grant(&["a"]), request).into_body();
    let mut all = String::new();
    while let Ok(Some(frame)) = timeout(SECOND, body.frame()).await {
        all.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_handlers_stream_announces_its_cursor_unless_a_gap_is_owed() {
    let publisher = Publisher::builder().retention(Retention::default().events(2)).build();
    let first = publish(&publisher, "a", "1").await;
    assert_eq!(own_text(&publisher, get("/")).await, format!("retry: 3000\n{CURSOR}{first}\n\n"));
    let second = publish(&publisher, "a", "2").await;
    let resumed = own_text(&publisher, get(&format!("/?last_event_id={first}"))).await;
    assert_eq!(resumed, format!("retry: 3000\n{CURSOR}{first}\n\ndata: 2\nid: {second}\n\n"));
    for text in ["3", "4"] {
        publish(&publisher, "a", text).await;
    }
    // A reader that is cut off before the gap has no newer id than the one it brought.
    let gap = own_text(&publisher, get(&format!("/?last_event_id={first}"))).await;
    assert!(gap.starts_with("retry: 3000\n:\nevent: gap\n"), "{gap}");
    assert_eq!(data(&gap)[1..], ["3", "4"]);
    publisher.channel("a").finish(Event::text("5")).await.unwrap();
    let rest = own_text(&publisher, get("/")).await;
    assert!(rest.starts_with("retry: 3000\nevent: cursor\n") && data(&rest).ends_with(&["5"]), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn an_event_between_opening_and_first_poll_comes_after_the_announced_cursor() {
    let publisher = Publisher::new();
    let first = publish(&publisher, "a", "1").await;
    let subscription = OpenOptions::new().open(&publisher, grant(&["a"]), None).await.unwrap();
    let mut body = SseBody::new(subscription).announce_cursor(true).retry(None);
    let second = publish(&publisher, "a", "2").await;
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(frame, format!("{CURSOR}{first}\n\ndata: 2\nid: {second}\n\n"));
    assert!(timeout(SECOND, body.frame()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn settings_work_in_any_order_until_the_first_poll() {
    let publisher = Publisher::new();
    let subscription = || ready(OpenOptions::new().open(&publisher, grant(&["a"]), None)).unwrap();
    let id = subscription().cursor();
    let bodies = [
        SseBody::new(subscription()).announce_cursor(true).keep_alive(KeepAlive::off()).retry(SECOND),
        SseBody::new(subscription()).retry(SECOND).keep_alive(KeepAlive::off()).announce_cursor(true),
    ];
    for mut body in bodies {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, format!("retry: 1000\n{CURSOR}{id}\n\n"));
        let mut body = body.retry(None).announce_cursor(false);
        assert!(timeout(100 * SECOND, body.frame()).await.is_err());
    }
}

// What a stream says about itself

#[tokio::test(start_paused = true)]
async fn a_stream_greets_with_its_version_its_keep_alive_and_whether_its_end_is_an_end() {
    let route = || Route::new("/s/{channel}");
    let routes = [
        (route(), "1;keep-alive=15000"),
        (route().keep_alive(KeepAlive::every(Duration::from_millis(250))), "1;keep-alive=250"),
        (route().keep_alive(KeepAlive::off()), "1"),
        (route().strict(true), "1;keep-alive=15000;strict"),
        // Its end may be one after which a client has to ask for the rest.
        (route().strict(true).close_after(SECOND), "1;keep-alive=15000"),
    ];
    for (route, greeting) in routes {
        let layer = SseLayer::new(Publisher::new()).route(route).unwrap();
        let head = Request::head("/s/a").body("").unwrap();
        for request in [get("/s/a"), head] {
            assert_eq!(send(&layer, request).await.headers()["tower-sse"], greeting);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_handler_greets_as_a_route_does() {
    let publisher = Publisher::new();
    let greeting = async |set: fn(SseBody) -> SseBody| {
        let grant = Grant::new([ChannelName::from_static("a")]);
        let body = SseBody::new(Subscription::open(&publisher, grant).await.unwrap());
        set(body).into_response().headers()["tower-sse"].clone()
    };
    assert_eq!(greeting(|body| body).await, "1;keep-alive=15000");
    assert_eq!(greeting(|body| body.keep_alive(KeepAlive::off()).strict()).await, "1;strict");
    assert_eq!(greeting(|body| body.strict().close_after(SECOND)).await, "1;keep-alive=15000");
}

// Strict routes

/// A strict route in a hub whose readers come back after one to two seconds.
fn strict(route: Route) -> (Publisher, SseLayer) {
    let publisher = Publisher::builder()
        .reconnect(SECOND, 2 * SECOND)
        .retention(Retention::new().events(2))
        .limits(Limits::new().subscriptions(3))
        .build();
    let layer = SseLayer::new(publisher.clone()).route(route.strict(true)).unwrap();
    (publisher, layer)
}

async fn assert_try_again<B>(response: Response<SseBody<B>>, status: u16)
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    assert_eq!(response.status(), status);
    let after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&after), "{after}");
    assert_problem(response, StatusCode::from_u16(status).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_route_refuses_with_a_status_and_a_time() {
    let (publisher, layer) = strict(Route::new("/s/{channel}").options(OpenOptions::new().max_per_channel(1)));
    let _first = open(&layer, get("/s/a")).await;
    assert_try_again(send(&layer, get("/s/a")).await, 503).await;
    let _others = (open(&layer, get("/s/b")).await, open(&layer, get("/s/c")).await);
    assert_try_again(send(&layer, get("/s/d")).await, 503).await;
    assert_eq!(publisher.stats().limited, 2);
    publisher.shutdown(Duration::ZERO).await;
    assert_try_again(send(&layer, get("/s/e")).await, 503).await;

    let options = OpenOptions::new().max_per_client(1);
    let (_publisher, layer) = strict(Route::new("/s/{channel}/{client_id}").options(options));
    let _first = open(&layer, get("/s/a/ana")).await;
    assert_try_again(send(&layer, get("/s/a/ana")).await, 429).await;

    let options = OpenOptions::new().duplicates(Duplicates::Refuse);
    let (_publisher, layer) = strict(Route::new("/s/{channel}/{client_id}").options(options));
    let _first = open(&layer, get("/s/a/ana")).await;
    assert_try_again(send(&layer, get("/s/a/ana")).await, 409).await;

    let failing = layer.authorizer(service_fn(|_: AuthorizeRequest| async { Err::<Grant, _>(BoxError::from("no")) }));
    assert_try_again(send(&failing, get("/s/a/bob")).await, 503).await;
    let limited = RateLimited::new(Duration::from_millis(300));
    let limited = failing.authorizer(authorizer_fn(move |_| async move { Err::<Grant, _>(limited) }));
    assert_try_again(send(&limited, get("/s/a/bob")).await, 429).await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_route_answers_a_gap_with_410_and_replaces_nobody() {
    let options = OpenOptions::new().duplicates(Duplicates::Replace);
    let (publisher, layer) = strict(Route::new("/s/{channel}/{client_id}").options(options));
    let first = publish(&publisher, "a", "1").await;
    let mut older = open(&layer, with(get("/s/a/ana"), "last-event-id", first.as_bytes())).await;
    for n in 2..6 {
        publish(&publisher, "a", &n.to_string()).await;
    }
    let stats = publisher.stats();
    for method in [Method::GET, Method::HEAD] {
        let mut request = with(get("/s/a/ana"), "last-event-id", first.as_bytes());
        *request.method_mut() = method.clone();
        let response = send(&layer, request).await;
        assert_eq!(response.status(), 410);
        assert_eq!(response.headers().get("retry-after"), None);
        if method == Method::HEAD {
            assert_eq!(whole(response).await, "");
            continue;
        }
        let problem = assert_problem(response, StatusCode::GONE).await;
        assert_eq!((&problem["reason"], &problem["requested"]), (&"evicted".into(), &first.as_str().into()));
        assert_eq!(problem["first"], 4);
        let id = problem["last_event_id"].as_str().unwrap().to_owned();
        let again = with(get("/s/a/bob"), "last-event-id", id.as_bytes());
        assert_eq!(data(&drain(&mut open(&layer, again).await).await), ["4", "5"]);
    }
    assert_eq!(publisher.channel("a").connections(), 1, "the older one stays");
    assert_eq!(publisher.stats().opened, stats.opened + 1);
    assert_eq!(publisher.stats().gaps, stats.gaps + 1);
    // It has lagged meanwhile.
    let error = timeout(SECOND, older.frame()).await.unwrap().unwrap().unwrap_err();
    assert!(error.is::<Incomplete>(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_route_of_existing_channels_answers_404_for_one_that_never_was() {
    let publisher = Publisher::new();
    let route = Route::new("/e/{channel}").options(OpenOptions::new().existing(true).start(Start::Earliest));
    let layer = SseLayer::new(publisher.clone()).route(route).unwrap();
    assert_problem(send(&layer, get("/e/a")).await, StatusCode::NOT_FOUND).await;
    assert_eq!((publisher.connections(), publisher.stats().channels), (0, 0));
    publish(&publisher, "a", "1").await;
    assert_eq!(data(&drain(&mut open(&layer, get("/e/a")).await).await), ["1"]);
    publisher.channel("a").close().await.unwrap();
    assert_problem(send(&layer, get("/e/a")).await, StatusCode::NOT_FOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_route_of_whole_channels_answers_410_if_the_beginning_is_gone() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    let route = Route::new("/s/{channel}").strict(true).options(OpenOptions::new().start(Start::Whole));
    let layer = SseLayer::new(publisher.clone()).route(route).unwrap();
    publish(&publisher, "a", "1").await;
    publish(&publisher, "a", "2").await;
    assert_eq!(data(&drain(&mut open(&layer, get("/s/a")).await).await), ["1", "2"]);
    publish(&publisher, "a", "3").await;
    let problem = assert_problem(send(&layer, get("/s/a")).await, StatusCode::GONE).await;
    assert_eq!((&problem["reason"], problem["first"].as_u64()), (&"evicted".into(), Some(2)));
    let id = problem["last_event_id"].as_str().unwrap().to_owned();
    let rest = with(get("/s/a"), "last-event-id", id.as_bytes());
    assert_eq!(data(&drain(&mut open(&layer, rest).await).await), ["2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_strict_route_streams_to_the_end_and_answers_204_after_it() {
    let (publisher, layer) = strict(Route::new("/s/{channel}").options(OpenOptions::new().start(Start::Earliest)));
    publish(&publisher, "a", "1").await;
    let response = send(&layer, Request::head("/s/a").body("").unwrap()).await;
    assert_stream_headers(&response);
    assert_eq!((whole(response).await, publisher.connections()), (Bytes::new(), 0));
    let mut stream = open(&layer, get("/s/a")).await;
    let last = publisher.channel("a").finish(Event::text("2")).await.unwrap().id.to_string();
    assert_eq!(data(&drain(&mut stream).await), ["1", "2"]);
    assert!(stream.frame().await.is_none());
    assert_eq!(publisher.stats().opened, 1);
    let response = send(&layer, with(get("/s/a"), "last-event-id", last.as_bytes())).await;
    assert_eq!(response.status(), 204);
}

#[tokio::test(start_paused = true)]
async fn a_strict_newer_connection_replaces_the_older_one() {
    let options = OpenOptions::new().duplicates(Duplicates::Replace);
    let (publisher, layer) = strict(Route::new("/s/{channel}/{client_id}").options(options));
    let mut older = open(&layer, get("/s/a/ana")).await;
    let _newer = open(&layer, get("/s/a/ana")).await;
    let error = loop {
        if let Err(error) = timeout(SECOND, older.frame()).await.unwrap().unwrap() {
            break error;
        }
    };
    assert_eq!(error.downcast_ref::<Incomplete>().unwrap().end_reason(), Some(EndReason::Replaced));
    assert_eq!(publisher.stats().opened, 2);
}

#[tokio::test]
async fn a_strict_response_of_a_handler_is_a_410_if_it_begins_with_a_gap() {
    let publisher = Publisher::new();
    let open = OpenOptions::new().open(&publisher, Grant::new([ChannelName::from_static("a")]), Some(b"unknown")).await;
    let response = SseBody::new(open.unwrap()).strict().into_response();
    let problem = assert_problem(response, StatusCode::GONE).await;
    assert_eq!((&problem["reason"], &problem["requested"]), (&"unknown-id".into(), &"unknown".into()));
    assert_eq!(publisher.connections(), 0);
}

// Answers that are closed, and channels that are shown

#[tokio::test(start_paused = true)]
async fn a_route_closes_its_answers_so_that_a_client_polls_on() {
    let publisher = Publisher::new();
    let route = Route::new("/poll/{channel}").retry(SECOND).close_after(20 * SECOND);
    let layer = SseLayer::new(publisher.clone()).route(route).unwrap();
    let mut id = String::new();
    for n in 0..3 {
        let request = if n == 0 { get("/poll/a") } else { with(get("/poll/a"), "last-event-id", id.as_bytes()) };
        let mut stream = Box::pin(send(&layer, request).await.into_body());
        let (begin, mut sent) = (Instant::now(), String::new());
        while let Some(frame) = stream.frame().await {
            sent += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        }
        assert!((20 * SECOND..21 * SECOND).contains(&begin.elapsed()));
        assert!(sent.starts_with("retry: 1000\n"));
        // A fresh reader gets an id although nothing was published, and each later one what came between.
        assert_eq!(sent.contains(CURSOR), n == 0);
        if n > 0 {
            assert_eq!(data(&sent), [n.to_string()]);
        }
        id = sent.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
        publish(&publisher, "a", &(n + 1).to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_shows_the_channels_of_its_events() {
    let publisher = Publisher::new();
    let layer = SseLayer::new(publisher.clone()).route(Route::new("/events").show_channel(true)).unwrap();
    let mut stream = open(&layer, get("/events?channel=a&channel=b:c")).await;
    publish(&publisher, "a", "1").await;
    publish(&publisher, "b:c", "2").await;
    let sent = drain(&mut stream).await;
    let names: Vec<_> = sent.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["a:message", "b%3Ac:message"]);
}
