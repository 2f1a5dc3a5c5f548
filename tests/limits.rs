//! Limits over HTTP: who is refused, with what answer, and what is counted.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::EARLIEST;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt};
use tower_sse::{
    AllowAll, AuthorizeRequest, Authorizer, ChannelName, ClientId, Denied, OpenOptions, Publisher, RateLimited,
    Retention, Route, SseBody, SseLayer, authorizer_fn,
    limits::{Address, Rate, RateLimit},
};

type Reply = Response<SseBody<SseBody>>;

const SECOND: Duration = Duration::from_secs(1);

/// A hub whose readers come back after one to two seconds.
fn hub() -> Publisher {
    Publisher::builder().reconnect(SECOND, 2 * SECOND).build()
}

/// Routes for readers with and without a client that start at the earliest event; `/strict` is for other clients.
fn layer<A: Authorizer>(publisher: &Publisher, authorizer: A) -> SseLayer<A> {
    let layer = SseLayer::new(publisher.clone()).authorizer(authorizer);
    let layer = layer.route(Route::new("/sse/{channel}").options(EARLIEST())).unwrap();
    let layer = layer.route(Route::new("/sse/{channel}/{client_id}").options(EARLIEST())).unwrap();
    layer.route(Route::new("/strict/{channel}/{client_id}").options(EARLIEST()).strict(true)).unwrap()
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

fn resume(uri: &str, id: &str) -> Request<()> {
    Request::get(uri).header("last-event-id", id).body(()).unwrap()
}

fn from(address: &str) -> Request<()> {
    Request::get("/sse/a").header("x-forwarded-for", address).body(()).unwrap()
}

async fn send<A: Authorizer>(layer: &SseLayer<A>, request: Request<()>) -> Reply {
    let Ok(answer) = layer.clone().into_service().oneshot(request).await;
    answer
}

/// The whole of a stream that consists of a `retry:` only: its milliseconds.
async fn retry<B>(response: Response<B>) -> u64
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    text.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix('\n')).expect(text).parse().unwrap()
}

/// The `Retry-After` of a 429, in seconds.
async fn too_many<B>(response: Response<B>) -> u64
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let after = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: serde_json::Value =
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&body["status"], &body["title"]), (&429.into(), &"Too Many Requests".into()));
    after
}

/// Whether the answer is a stream that stays open.
fn is_open(response: &Reply) -> bool {
    // A stream with keep-alives says so.
    response.status() == 200 && response.headers()["tower-sse"] != "1"
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_connects_too_often_is_told_to_come_back_no_sooner_than_it_may() {
    let publisher = hub();
    let limits = RateLimit::new().connects(Rate::new(1, 10 * SECOND).burst(2));
    let layer = layer(&publisher, limits.around(AllowAll));
    for _ in 0..2 {
        assert!(is_open(&send(&layer, get("/sse/a/ana")).await));
    }
    // At least the 10 seconds of the limit, and up to the second by which the hub spreads its readers.
    for _ in 0..20 {
        let retry = retry(send(&layer, get("/sse/a/ana")).await).await;
        assert!((10_000..=11_000).contains(&retry), "{retry}");
        let after = too_many(send(&layer, get("/strict/a/ana")).await).await;
        assert!((10..=11).contains(&after), "{after}");
    }
    let mut head = get("/strict/a/ana");
    *head.method_mut() = Method::HEAD;
    let head = send(&layer, head).await;
    assert_eq!((head.status().as_u16(), head.headers().contains_key("retry-after")), (429, true));
    assert_eq!(head.into_body().collect().await.unwrap().to_bytes(), "");
    assert_eq!((publisher.stats().rate_limited, publisher.stats().opened), (41, 2));
    assert!(is_open(&send(&layer, get("/sse/a/bob")).await));
    advance(10 * SECOND).await;
    assert!(is_open(&send(&layer, get("/sse/a/ana")).await));
    assert_eq!(publisher.stats().limited, 0);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_soon_over_is_spread_like_any_other_reconnect() {
    let publisher = hub();
    let layer = layer(&publisher, RateLimit::new().connects(Rate::per_second(100).burst(1)).around(AllowAll));
    assert!(is_open(&send(&layer, get("/sse/a/ana")).await));
    let retry = retry(send(&layer, get("/sse/a/ana")).await).await;
    assert!((1_000..=2_000).contains(&retry), "{retry}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_the_history_again_and_again_is_slowed_down() {
    let publisher = hub();
    let mut ids = Vec::new();
    for n in 0..100 {
        ids.push(common::send(&publisher, "a", n));
    }
    let limits = RateLimit::new().replay(Rate::per_second(10).burst(250));
    let layer = layer(&publisher, limits.around(AllowAll));
    for _ in 0..3 {
        assert!(is_open(&send(&layer, get("/sse/a/ana")).await));
    }
    // It has taken 300, so it has to wait for 51.
    let waits = retry(send(&layer, get("/sse/a/ana")).await).await;
    assert!((5_100..=6_100).contains(&waits), "{waits}");
    let waits = too_many(send(&layer, resume("/strict/a/ana", &ids[98])).await).await;
    assert!((6..=7).contains(&waits), "{waits}");
    let unknown = resume("/sse/a/ana", "no-id-of-this-hub");
    assert!(retry(send(&layer, unknown).await).await >= 5_100, "it would get everything");
    assert_eq!((publisher.stats().replays_limited, publisher.stats().opened), (3, 3));
    assert_eq!((publisher.connections(), publisher.stats().gaps), (0, 0));

    // Nothing is replayed here.
    assert!(is_open(&send(&layer, resume("/sse/a/ana", &ids[99])).await));
    let mut head = get("/sse/a/ana");
    *head.method_mut() = Method::HEAD;
    assert!(is_open(&send(&layer, head).await));
    // Others are not affected.
    assert!(is_open(&send(&layer, get("/sse/a/bob")).await));

    advance(Duration::from_millis(5_100)).await;
    assert!(is_open(&send(&layer, resume("/sse/a/ana", &ids[98])).await));
    assert!(retry(send(&layer, resume("/sse/a/ana", &ids[98])).await).await >= 100);
}

#[tokio::test(start_paused = true)]
async fn only_what_a_reader_gets_is_counted_as_replayed() {
    let publisher = hub();
    for n in 0..50 {
        common::send(&publisher, "a", n);
        common::send_to(&publisher, "a", "bob", n);
    }
    common::send_to(&publisher, "a", "ana", "hers");
    let layer = layer(&publisher, RateLimit::new().replay(Rate::per_second(1).burst(102)).around(AllowAll));
    assert!(is_open(&send(&layer, get("/sse/a/ana")).await));
    assert!(is_open(&send(&layer, get("/sse/a/ana")).await), "51 each time");
    assert!(!is_open(&send(&layer, get("/sse/a/ana")).await));
    // What comes while it reads is not replayed.
    let reader = send(&layer, get("/sse/a/cyd")).await;
    let mut reader = reader.into_body();
    (50..1_000).for_each(|n| drop(common::send(&publisher, "a", n)));
    let mut text = String::new();
    while !text.contains("data: 999\n") {
        let frame = reader.frame().await.unwrap().unwrap().into_data().unwrap();
        text.push_str(std::str::from_utf8(&frame).unwrap());
    }
    assert!(is_open(&send(&layer, get("/sse/b/cyd")).await));
}

#[tokio::test(start_paused = true)]
async fn a_strict_stream_that_is_refused_for_its_gap_has_replayed_nothing() {
    let publisher = Publisher::builder().retention(Retention::new().events(10)).reconnect(SECOND, SECOND).build();
    let first = common::send(&publisher, "a", 0);
    (1..50).for_each(|n| drop(common::send(&publisher, "a", n)));
    let layer = layer(&publisher, RateLimit::new().replay(Rate::per_second(1).burst(10)).around(AllowAll));
    for _ in 0..5 {
        assert_eq!(send(&layer, resume("/strict/a/ana", &first)).await.status(), 410);
    }
    assert!(is_open(&send(&layer, get("/strict/a/ana")).await));
    too_many(send(&layer, get("/strict/a/ana")).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_has_no_more_streams_than_it_may_on_whatever_channels() {
    let publisher = hub();
    let layer = layer(&publisher, RateLimit::new().streams(2).around(AllowAll));
    let open = [send(&layer, get("/sse/a/ana")).await, send(&layer, get("/strict/b/ana")).await];
    assert!(open.iter().all(is_open));
    let waits = retry(send(&layer, get("/sse/c/ana")).await).await;
    assert!((1_000..=2_000).contains(&waits), "{waits}");
    too_many(send(&layer, get("/strict/a/ana")).await).await;
    assert_eq!((publisher.stats().limited, publisher.stats().rate_limited), (2, 0));
    assert_eq!((publisher.connections(), publisher.channels().len()), (2, 2));
    assert!(is_open(&send(&layer, get("/sse/a/bob")).await));

    // One that has ended does not count, even if its end was not read.
    assert_eq!(publisher.disconnect("ana").await.unwrap(), 2);
    let again = [send(&layer, get("/sse/a/ana")).await, send(&layer, get("/sse/a/ana")).await];
    assert!(again.iter().all(is_open));
    drop(open);
    assert!(!is_open(&send(&layer, get("/sse/a/ana")).await));
    let [_stays, gone] = again;
    drop(gone);
    let mut head = get("/sse/a/ana");
    *head.method_mut() = Method::HEAD;
    assert!(is_open(&send(&layer, head).await));
    assert!(is_open(&send(&layer, get("/sse/a/ana")).await), "a HEAD keeps no place");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_reconnects_reaches_neither_the_authorizer_nor_the_hub() {
    let (publisher, asked) = (hub(), Arc::new(AtomicUsize::new(0)));
    let counting = asked.clone();
    let authorizer = authorizer_fn(move |request: AuthorizeRequest| {
        counting.fetch_add(1, SeqCst);
        async move { Ok::<_, Denied>(request.grant()) }
    });
    let limits = RateLimit::new().address(Address::forwarded_for(1)).requests_per_address(Rate::per_second(5));
    // As a tower layer, too.
    let layer = layer(&publisher, ServiceBuilder::new().layer(limits).service(authorizer));
    for n in 0..2_000 {
        // Each claims to come from somewhere else.
        send(&layer, from(&format!("10.0.{}.{}, 203.0.113.7", n / 256, n % 256))).await;
    }
    assert_eq!((asked.load(SeqCst), publisher.stats().opened), (5, 5));
    assert_eq!((publisher.stats().rate_limited, publisher.channels().len()), (1_995, 0));
    assert!(is_open(&send(&layer, from("203.0.113.8")).await));
}

#[tokio::test(start_paused = true)]
async fn a_handler_answers_for_an_authorizer_that_it_asks_itself() {
    let publisher = hub();
    let limited = RateLimited::new(9 * SECOND);
    let waits = retry(SseBody::refused(&publisher, &limited.into())).await;
    assert!((9_000..=10_000).contains(&waits), "{waits}");
    assert!((9..=10).contains(&too_many(SseBody::refused_strictly(&publisher, &limited.into())).await));
    assert_eq!(publisher.stats().rate_limited, 2);

    // And for a grant with a limit.
    common::send(&publisher, "a", 0);
    let authorizer = RateLimit::new().replay(Rate::new(1, 60 * SECOND)).around(AllowAll);
    let parts = get("/").into_parts().0;
    let request = AuthorizeRequest::new(parts, [ChannelName::from_static("a")], ClientId::from_static("ana"));
    let grant = authorizer.oneshot(request).await.unwrap();
    assert!(EARLIEST().open(&publisher, grant.clone(), None).await.is_ok());
    let error = EARLIEST().open(&publisher, grant.clone(), None).await.unwrap_err();
    assert_eq!((error.retry_after(), error.is_limit()), (Some(60 * SECOND), false));
    assert!(OpenOptions::new().open(&publisher, grant, None).await.is_ok());
}

#[cfg(feature = "publish")]
mod publishing {
    use bytes::Bytes;
    use http_body_util::Full;
    use tower_sse::{PublishRequest, PublishService, publish_authorizer_fn};

    use super::*;

    fn post(client: &str, events: usize) -> Request<Full<Bytes>> {
        let lines = "{\"data\":1}\n".repeat(events);
        let request = Request::post("/a?finish=false").header("content-type", "application/x-ndjson");
        request.header("x-client", client).body(Full::new(lines.into())).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_publishes_too_much_is_refused_before_its_body_is_read() {
        let publisher = hub();
        let authorizer = publish_authorizer_fn(|request: PublishRequest| async move {
            let client = request.headers()["x-client"].to_str().unwrap().to_owned();
            Ok::<_, Denied>(request.grant().client(ClientId::try_from(client).unwrap()))
        });
        let limits = RateLimit::new().publishes(Rate::per_second(10));
        let service = PublishService::new(publisher.clone(), "/{channel}", limits.around(authorizer)).unwrap();
        let send = async |request| service.clone().oneshot(request).await.unwrap();
        for events in [1, 4, 25] {
            assert_eq!(send(post("ana", events)).await.status(), 200);
        }
        // 20 more than there were, and the next one.
        let response = send(post("ana", 1)).await;
        assert!((3..=4).contains(&too_many(response).await));
        let broken = Request::post("/a").header("x-client", "ana").body(Full::new(Bytes::from("not JSON"))).unwrap();
        too_many(send(broken).await).await;
        assert_eq!(send(post("bob", 10)).await.status(), 200);
        assert_eq!((publisher.stats().publishes_limited, publisher.stats().published), (2, 40));
        advance(Duration::from_millis(2_100)).await;
        assert_eq!(send(post("ana", 1)).await.status(), 200);
        assert_eq!(send(post("ana", 1)).await.status(), 429);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_granted_counts_too() {
        let publisher = hub();
        let authorizer =
            publish_authorizer_fn(
                |request: PublishRequest| async move { Ok::<_, Denied>(request.grant().only(|_| false)) },
            );
        let limits = RateLimit::new().publishes(Rate::new(2, 60 * SECOND));
        let service = PublishService::new(publisher.clone(), "/{channel}", limits.around(authorizer)).unwrap();
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(service.clone().oneshot(post("ana", 1)).await.unwrap().status().as_u16());
        }
        assert_eq!(answers, [403, 403, 429]);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_to_read_and_to_publish_from_one_address_count_together() {
        let publisher = hub();
        let denies = publish_authorizer_fn(|_: PublishRequest| async { Err(Denied::unauthorized()) });
        let limits = RateLimit::new().address(Address::forwarded_for(1)).requests_per_address(Rate::new(2, SECOND));
        let service = PublishService::new(publisher.clone(), "/{channel}", limits.around(denies)).unwrap();
        let layer = layer(&publisher, limits.around(AllowAll));
        assert!(is_open(&send(&layer, from("203.0.113.7")).await));
        let mut answers = Vec::new();
        for _ in 0..2 {
            let mut request = post("ana", 1);
            request.headers_mut().insert("x-forwarded-for", "203.0.113.7".parse().unwrap());
            answers.push(service.clone().oneshot(request).await.unwrap().status().as_u16());
        }
        assert_eq!(answers, [401, 429]);
    }
}
