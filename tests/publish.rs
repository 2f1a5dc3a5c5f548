//! Publishing over HTTP: what arrives, what is refused, and that nothing of a refused request arrives.

mod common;

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use common::{earliest, texts};
use futures_util::{Stream, StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_sse::{
    BackendError, ChannelName, ClientId, Denied, Epoch, EventName, Limits, Offset, PublishAuthorizer, PublishGrant,
    PublishRequest, PublishService, Publisher, Retention, SseBody,
    backend::{Append, Appended, Backend, BackendFuture, Heads, Held, Messages, Requests},
    publish_authorizer_fn,
};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const SECOND: Duration = Duration::from_secs(1);

/// Allows everything.
fn anything() -> impl PublishAuthorizer<Future: Send> + Send + Sync {
    allowing(|grant| grant.allow_finish().allow_close())
}

fn allowing(
    narrow: impl Fn(PublishGrant) -> PublishGrant + Clone + Send + Sync + 'static,
) -> impl PublishAuthorizer<Future: Send> + Send + Sync {
    publish_authorizer_fn(move |request: PublishRequest| {
        let grant = narrow(request.grant());
        async move { Ok::<_, Denied>(grant) }
    })
}

async fn answer<A>(publisher: &Publisher, authorizer: A, request: Request<Full<Bytes>>) -> Response<SseBody>
where
    A: PublishAuthorizer<Future: Send> + Send + Sync + 'static,
{
    let pattern = if request.uri().path().starts_with("/many") { "/many" } else { "/channels/{channel}" };
    let Ok(response) = PublishService::new(publisher.clone(), pattern, authorizer).unwrap().oneshot(request).await;
    response
}

fn post(uri: &str, kind: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(uri).header("content-type", kind);
    request.body(Full::new(body.into())).unwrap()
}

async fn body(response: Response<SseBody>) -> (StatusCode, Value) {
    let (parts, body) = response.into_parts();
    let is_problem = parts.headers.get("content-type").is_some_and(|kind| kind == "application/problem+json");
    let bytes = body.collect().await.unwrap().to_bytes();
    assert_eq!(is_problem, !parts.status.is_success(), "{bytes:?}");
    assert_eq!(parts.headers["cache-control"], "no-store");
    assert_eq!(parts.headers.contains_key("retry-after"), parts.status == 503);
    (parts.status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn published(publisher: &Publisher, request: Request<Full<Bytes>>) -> Value {
    let (status, body) = body(answer(publisher, anything(), request).await).await;
    assert_eq!(status, 200, "{body}");
    body["events"].clone()
}

/// The status and the reason of a refusal. Nothing was published.
async fn refused<A>(publisher: &Publisher, authorizer: A, request: Request<Full<Bytes>>) -> (u16, String)
where
    A: PublishAuthorizer<Future: Send> + Send + Sync + 'static,
{
    let before = publisher.stats().published;
    let (status, body) = body(answer(publisher, authorizer, request).await).await;
    assert_eq!(publisher.stats().published, before);
    (status.as_u16(), body["reason"].as_str().unwrap_or_default().to_owned())
}

fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

fn data(publisher: &Publisher, channel: &str) -> Vec<String> {
    publisher.channel(channel).recent(99).iter().map(|event| event.data()).collect()
}

// What arrives

#[tokio::test]
async fn a_text_is_one_event_and_the_query_sets_its_other_fields() {
    let publisher = Publisher::new();
    let mut ana = common::live(&publisher, &["a"], "ana");
    let sent = published(&publisher, post("/channels/a", "text/plain", "two\nlines é")).await;
    let id = publisher.channel("a").recent(1)[0].id().to_string();
    assert_eq!(sent, json!([{ "channel": "a", "id": id, "reached": 1, "repeated": false }]));
    let uri = "/channels/a?event=agent.token&to=ana&id=order-1&access_token=x";
    let sent = published(&publisher, post(uri, "Text/Plain; charset=\"UTF-8\"", "")).await;
    assert_eq!((&sent[0]["id"], &sent[0]["reached"]), (&json!("order-1"), &json!(1)));
    assert_eq!(texts(&mut ana), ["two\nlines é", ""]);
    let event = &publisher.channel("a").recent_for("ana", 1)[0];
    assert_eq!((event.name(), event.id().to_string().as_str()), (Some("agent.token"), "order-1"));
    assert_eq!(data(&publisher, "a"), ["two\nlines é"], "the other one is for ana only");
}

#[tokio::test]
async fn json_holds_one_event_or_several_and_json_lines_hold_several() {
    let publisher = Publisher::new();
    published(&publisher, post("/channels/a%2Fb", JSON, r#"{"data":"text","event":"x"}"#)).await;
    assert_eq!(data(&publisher, "a/b"), ["text"]);
    let several = r#"[{"data":{"n":[1,null,"é"]}},{"data":"to ana","to":"ana"},{"data":7,"id":"seven"}]"#;
    let sent = published(&publisher, post("/channels/a", JSON, several)).await;
    assert_eq!(sent.as_array().unwrap().len(), 3);
    assert_eq!(sent[2]["id"], "seven");
    assert_eq!(data(&publisher, "a"), [r#"{"n":[1,null,"é"]}"#, "7"]);
    published(&publisher, post("/channels/b", LINES, "{\"data\":\"1\"}\r\n\n{\"data\":\"2\"}")).await;
    assert_eq!(data(&publisher, "b"), ["1", "2"]);
}

#[tokio::test]
async fn the_query_applies_to_events_in_json_that_do_not_say_otherwise() {
    let publisher = Publisher::new();
    let mut bo = common::live(&publisher, &["a"], "bo");
    let several = r#"[{"data":"for ana"},{"data":"for bo","to":"bo","event":"own"}]"#;
    for (kind, body) in [(JSON, several.to_owned()), (LINES, r#"{"data":"for ana"}"#.into())] {
        published(&publisher, post("/channels/a?to=ana&event=typing", kind, body)).await;
    }
    assert!(data(&publisher, "a").is_empty(), "nothing is for everybody");
    assert_eq!(texts(&mut bo), ["for bo"]);
    let names: Vec<_> =
        publisher.channel("a").recent_for("ana", 9).iter().map(|e| e.name().map(str::to_owned)).collect();
    assert_eq!(names, [Some("typing".into()), Some("typing".into())]);
    let sent = published(&publisher, post("/channels/b?id=order-1", JSON, r#"{"data":"1"}"#)).await;
    assert_eq!(sent[0]["id"], "order-1");
    let twice = post("/channels/c?id=order-1", JSON, r#"[{"data":"1"},{"data":"2"}]"#);
    assert_eq!(refused(&publisher, anything(), twice).await, is(409, "duplicate-id"));
}

#[tokio::test]
async fn data_that_is_json_arrives_as_it_was_written() {
    let publisher = Publisher::new();
    let written = ["12345678901234567890123", "1.10", "1e999", r#"{"b":1, "a":[ ],"b":"\u00e9"}"#, "null", "[[7]]"];
    for (n, data) in written.iter().enumerate() {
        let event = format!(r#"{{"data":{data}}}"#);
        let kinds = [(JSON, format!(" [ {event} ]")), (JSON, format!("\n{event}\n")), (LINES, event)];
        for (kind, body) in kinds {
            published(&publisher, post(&format!("/channels/{n}"), kind, body)).await;
        }
        assert_eq!(self::data(&publisher, &n.to_string()), [*data; 3]);
    }
    published(&publisher, post("/channels/text", JSON, r#" {"data" : "\u00e9\"" }"#)).await;
    assert_eq!(data(&publisher, "text"), ["é\""]);
}

#[tokio::test]
async fn each_of_several_channels_gets_all_events() {
    let publisher = Publisher::new();
    let uri = "/many?channel=a&channel=b&channel=a";
    let sent = published(&publisher, post(uri, JSON, r#"[{"data":"1"},{"data":"2"}]"#)).await;
    let channels: Vec<_> = sent.as_array().unwrap().iter().map(|sent| sent["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["a", "a", "b", "b"]);
    assert_eq!(
        (data(&publisher, "a"), data(&publisher, "b")),
        (vec!["1".into(), "2".into()], vec!["1".into(), "2".into()])
    );
    publisher.channel("b").end().await.unwrap();
    let request = post("/many?channel=a&channel=b&channel=c", "text/plain", "3");
    let (status, problem) = body(answer(&publisher, anything(), request).await).await;
    assert_eq!((status.as_u16(), &problem["channel"], &problem["published"]), (409, &json!("b"), &json!(["a"])));
    assert!(data(&publisher, "c").is_empty());
}

#[tokio::test]
async fn a_repeated_request_with_its_key_publishes_nothing_again() {
    let publisher = Publisher::new();
    let request = |body: &'static str| {
        let mut request = post("/channels/a?finish=true", JSON, body);
        request.headers_mut().insert("idempotency-key", "key é".parse().unwrap());
        request
    };
    let several = r#"[{"data":"1"},{"data":"1"}]"#;
    let first = published(&publisher, request(several)).await;
    let again = published(&publisher, request(several)).await;
    assert_eq!(
        (&first[0]["repeated"], &again[0]["repeated"], &again[1]["repeated"]),
        (&json!(false), &json!(true), &json!(true))
    );
    assert_eq!((&first[1]["id"], data(&publisher, "a").len()), (&again[1]["id"], 2));
}

#[tokio::test]
async fn a_channel_can_be_finished_and_closed() {
    let publisher = Publisher::new();
    published(&publisher, post("/channels/a?finish=true", "text/plain", "last")).await;
    assert_eq!(refused(&publisher, anything(), post("/channels/a", "text/plain", "late")).await, is(409, "finished"));
    let mut empty = post("/channels/b?finish=true", JSON, "");
    empty.headers_mut().remove("content-type");
    assert_eq!(published(&publisher, empty).await, json!([]));
    assert!(publisher.channel("b").send(tower_sse::Event::text("late")).await.unwrap_err().is_finished());
    let mut reader = common::live(&publisher, &["c"], "");
    let request = Request::delete("/channels/c").body(Full::default()).unwrap();
    assert_eq!(answer(&publisher, anything(), request).await.status(), 204);
    assert!(matches!(common::poll(&mut reader), std::task::Poll::Ready(None)));
    assert_eq!(reader.end_reason(), Some(tower_sse::EndReason::Closed));
}

/// A store that can close any channel but `b`, and nothing else.
struct Closes;

fn fails<T>() -> BackendFuture<'static, T> {
    Box::pin(async { Err(BackendError::new("it is away")) })
}

impl Backend for Closes {
    fn append(&self, _: Append) -> BackendFuture<'_, Appended> {
        fails()
    }

    fn read(&self, _: ChannelName, _: Offset, _: Retention) -> BackendFuture<'_, Held> {
        fails()
    }

    fn heads(&self, _: Vec<ChannelName>) -> BackendFuture<'_, Heads> {
        fails()
    }

    fn close(&self, channel: ChannelName) -> BackendFuture<'_, ()> {
        if channel == "b" { fails() } else { Box::pin(async { Ok(()) }) }
    }

    fn renew(&self, _: Epoch) -> BackendFuture<'_, Epoch> {
        fails()
    }

    fn feed(&self, _: Requests, _: Messages) -> BackendFuture<'_, ()> {
        fails()
    }
}

#[tokio::test]
async fn a_close_of_several_channels_that_fails_halfway_says_which_are_closed() {
    let publisher = Publisher::builder().backend(Closes).build();
    let delete = |uri| Request::delete(uri).body(Full::default()).unwrap();
    let halfway = delete("/many?channel=a&channel=b&channel=c");
    let (status, problem) = body(answer(&publisher, anything(), halfway).await).await;
    assert_eq!((status.as_u16(), &problem["reason"]), (503, &json!("unavailable")));
    assert_eq!((&problem["channel"], &problem["closed"]), (&json!("b"), &json!(["a"])));
    assert_eq!(answer(&publisher, anything(), delete("/many?channel=a&channel=c")).await.status(), 204);
}

// Who may publish

#[tokio::test]
async fn nobody_publishes_without_permission() {
    let publisher = Publisher::new();
    let text = |uri: &str| post(uri, "text/plain", "0123456789");
    let a = ChannelName::from_static("a");
    let only_a = allowing(move |grant| grant.only(|channel| *channel == a));
    let elsewhere = allowing(|_| PublishGrant::new([ChannelName::from_static("z")]));
    let named = allowing(|grant| grant.events([EventName::from_static("typing")]));
    let small = allowing(|grant| grant.max_bytes(9));
    let plain = || allowing(|grant| grant);
    for uri in ["/many?channel=a&channel=b", "/many?channel=b", "/channels/b"] {
        assert_eq!(refused(&publisher, only_a.clone(), text(uri)).await, is(403, "channel-not-granted"), "{uri}");
    }
    assert_eq!(refused(&publisher, elsewhere, text("/channels/a")).await, is(403, "channel-not-granted"));
    for uri in ["/channels/a", "/channels/a?event=message", "/channels/a?event=Typing"] {
        assert_eq!(refused(&publisher, named.clone(), text(uri)).await, is(403, "event-not-granted"), "{uri}");
    }
    let one_of_two = post("/channels/a", JSON, r#"[{"data":"1","event":"typing"},{"data":"2"}]"#);
    assert_eq!(refused(&publisher, named.clone(), one_of_two).await, is(403, "event-not-granted"), "all or none");
    assert_eq!(answer(&publisher, named, text("/channels/t?event=typing")).await.status(), 200);
    assert_eq!(refused(&publisher, small, text("/channels/a")).await, is(413, "too-large"));
    assert_eq!(refused(&publisher, plain(), text("/channels/a?finish=true")).await, is(403, "finish-not-granted"));
    let delete = Request::delete("/channels/a").body(Full::default()).unwrap();
    assert_eq!(refused(&publisher, plain(), delete).await, is(403, "close-not-granted"));
    assert!(data(&publisher, "a").is_empty() && data(&publisher, "b").is_empty());
}

#[tokio::test]
async fn events_that_nodes_act_on_cannot_be_published() {
    let publisher = Publisher::new();
    let record = r#"[{"data":"x"},{"data":"{}","event":"run.record"}]"#;
    assert_eq!(refused(&publisher, anything(), post("/channels/a", JSON, record)).await, is(400, "reserved-name"));
    let outcome = post("/channels/a?event=run.outcome", "text/plain", "x");
    assert_eq!(refused(&publisher, anything(), outcome).await, is(400, "reserved-name"));
    published(&publisher, post("/channels/a?event=running", "text/plain", "x")).await;
}

#[tokio::test]
async fn an_authorizer_that_denies_fails_or_panics_lets_nobody_publish_and_no_body_be_read() {
    let publisher = Publisher::new();
    let reads = Arc::new(AtomicUsize::new(0));
    let request = || {
        let reads = reads.clone();
        let chunks = stream::once(async move {
            reads.fetch_add(1, SeqCst);
            Ok::<_, Infallible>(Frame::data(Bytes::from("secret")))
        });
        Request::post("/channels/a")
            .header("content-type", "text/plain")
            .body(StreamBody::new(Box::pin(chunks)))
            .unwrap()
    };
    let denies = publish_authorizer_fn(|_| async { Err::<PublishGrant, _>(Denied::unauthorized()) });
    let service = PublishService::new(publisher.clone(), "/channels/{channel}", denies).unwrap();
    let Ok(response) = service.oneshot(request()).await;
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(body(response).await.1["reason"], "denied");
    let fails = publish_authorizer_fn(|_| async { Err::<PublishGrant, _>(io::Error::other("no database")) });
    let service = PublishService::new(publisher.clone(), "/channels/{channel}", fails).unwrap();
    let Ok(response) = service.oneshot(request()).await;
    assert_eq!(body(response).await.1["reason"], "authorizer-failed");
    let panics = publish_authorizer_fn(|_| async { panic!("a bug") as Result<PublishGrant, Denied> });
    let service = PublishService::new(publisher.clone(), "/channels/{channel}", panics).unwrap();
    let Ok(response) = service.oneshot(request()).await;
    assert_eq!(body(response).await.0, 503);
    assert_eq!((reads.load(SeqCst), publisher.stats().published), (0, 0));
    assert_eq!((publisher.stats().denied, publisher.stats().authorizer_failed), (1, 2));
}

// What is not valid

#[tokio::test]
async fn an_invalid_body_is_refused_as_a_whole() {
    let publisher = Publisher::new();
    for (kind, bad) in [
        (JSON, ""),
        (JSON, "{"),
        (JSON, "7"),
        (JSON, "null"),
        (JSON, "{}"),
        (JSON, r#"{"data":"x","chanel":"b"}"#),
        (JSON, r#"{"data":"x","to":7}"#),
        (JSON, r#"{"data":"x","to":"ana","to":"bo"}"#),
        (JSON, r#"{"data":"x","\u0074o":"ana","to":"bo"}"#),
        (JSON, r#"{"data":"x","event":null}"#),
        (JSON, r#"[{"data":"x"},[]]"#),
        (JSON, r#"[{"data":"x"}] x"#),
        (LINES, "{\"data\":\"x\"}\n{"),
        (LINES, "{\"data\":\"x\"}{\"data\":\"y\"}"),
    ] {
        assert_eq!(
            refused(&publisher, anything(), post("/channels/a", kind, bad)).await,
            is(400, "malformed"),
            "{bad}"
        );
    }
    let deep = "[".repeat(100_000);
    assert_eq!(refused(&publisher, anything(), post("/channels/a", JSON, deep)).await, is(400, "malformed"));
    assert_eq!(
        refused(&publisher, anything(), post("/channels/a", "text/plain", &b"\xff"[..])).await,
        is(400, "malformed")
    );
    for name in [r#""event":"gap""#, r#""event":"a\nb""#, r#""event":"""#, r#""to":"""#, r#""id":"a b""#] {
        let request = post("/channels/a", JSON, format!("[{{\"data\":\"x\"}},{{\"data\":\"x\",{name}}}]"));
        assert_eq!(refused(&publisher, anything(), request).await, is(400, "invalid-name"), "{name}");
    }
    for uri in ["/channels/%0a", "/channels/%ff", "/channels/a?event=gap", "/channels/a?to=%00", "/many?channel="] {
        assert_eq!(
            refused(&publisher, anything(), post(uri, "text/plain", "x")).await,
            is(400, "invalid-name"),
            "{uri}"
        );
    }
    for uri in ["/channels/a?finish=yes", "/channels/a?finish=true&finish=false", "/channels/a?to=ana&to=bo"] {
        assert_eq!(refused(&publisher, anything(), post(uri, "text/plain", "x")).await, is(400, "malformed"), "{uri}");
    }
    for (kind, none) in [(JSON, "[]"), (LINES, "\n\n")] {
        assert_eq!(refused(&publisher, anything(), post("/channels/a", kind, none)).await, is(400, "no-event"));
    }
    assert_eq!(refused(&publisher, anything(), post("/many", JSON, "[]")).await, is(400, "no-channel"));
    let many: Vec<_> = (0..101).map(|n| format!("channel={n}")).collect();
    let request = post(&format!("/many?{}", many.join("&")), "text/plain", "x");
    assert_eq!(refused(&publisher, anything(), request).await, is(400, "too-many-channels"));
}

#[tokio::test]
async fn a_text_cannot_break_out_of_its_event() {
    let publisher = Publisher::new();
    let text = "x\r\ndata: y\n\nevent: goodbye\rid: 1\0\u{feff}";
    published(&publisher, post("/channels/a", JSON, json!({ "data": text }).to_string())).await;
    let mut reader = earliest(&publisher, &["a"], "");
    assert_eq!(texts(&mut reader), ["x\ndata: y\n\nevent: goodbye\nid: 1\0\u{feff}"]);
}

#[tokio::test]
async fn another_type_encoding_method_or_path_is_refused() {
    let publisher = Publisher::new();
    for kind in
        ["application/x-www-form-urlencoded", "text/plain; charset=latin1", "text/html", "", "multipart/form-data"]
    {
        assert_eq!(
            refused(&publisher, anything(), post("/channels/a", kind, "x")).await,
            is(415, "unsupported"),
            "{kind}"
        );
    }
    let mut request = post("/channels/a", JSON, r#"{"data":"x"}"#);
    request.headers_mut().append("content-type", "text/plain".parse().unwrap());
    assert_eq!(refused(&publisher, anything(), request).await, is(415, "unsupported"));
    let mut request = post("/channels/a", "text/plain", "x");
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(refused(&publisher, anything(), request).await, is(415, "unsupported"));
    for method in [Method::GET, Method::PUT, Method::HEAD, Method::PATCH] {
        let mut request = post("/channels/a", "text/plain", "x");
        *request.method_mut() = method;
        let response = answer(&publisher, anything(), request).await;
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST,DELETE".parse().unwrap()));
    }
    assert_eq!(refused(&publisher, anything(), post("/channels/", "text/plain", "x")).await.0, 404);
}

// Bounds

#[tokio::test]
async fn a_body_is_read_no_further_than_its_limit() {
    let publisher = Publisher::builder().limits(Limits::new().event_bytes(100).batch_events(3)).build();
    let large = post("/channels/a", "text/plain", "x".repeat((1 << 20) + 1));
    assert_eq!(refused(&publisher, anything(), large).await, is(413, "too-large"));
    let event = post("/channels/a", "text/plain", "x".repeat(101));
    assert_eq!(refused(&publisher, anything(), event).await, is(413, "too-large"));
    let batch = post("/channels/a", LINES, "{\"data\":\"x\"}\n".repeat(4));
    assert_eq!(refused(&publisher, anything(), batch).await, is(413, "too-large"));

    // A body without an announced size that never ends.
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let endless = stream::repeat_with(move || {
        counted.fetch_add(1, SeqCst);
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 1000])))
    });
    assert_eq!(streamed(&publisher, endless).await, is(413, "too-large"));
    assert!(taken.load(SeqCst) <= 11, "{taken:?}");
}

#[tokio::test]
async fn no_more_events_are_read_than_a_batch_may_have() {
    let publisher = Publisher::builder().limits(Limits::new().batch_events(2)).build();
    let bodies = [
        (JSON, r#"[{"data":"1"},{"data":"2"},{"data":"3"},"not even looked at"]"#.to_owned()),
        (JSON, format!("[{}7]", r#"{"data":"x"},"#.repeat(1000))),
        (LINES, format!("{}not even JSON", "{\"data\":\"1\"}\n".repeat(3))),
    ];
    for (kind, body) in bodies {
        assert_eq!(refused(&publisher, anything(), post("/channels/a", kind, body)).await, is(413, "too-large"));
    }
    let broken = post("/channels/a", JSON, r#"[{"data":"1"},{"data":"2"},{"data":"3"},"#);
    assert_eq!(refused(&publisher, anything(), broken).await, is(400, "malformed"));
    let most = post("/channels/a", JSON, r#"[{"data":"1"},{"data":"2"}]"#);
    assert_eq!(published(&publisher, most).await.as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_given_up_and_a_broken_one_publishes_nothing() {
    let publisher = Publisher::new();
    let slow = stream::repeat(()).then(|()| async {
        tokio::time::sleep(SECOND).await;
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
    });
    let begun = tokio::time::Instant::now();
    assert_eq!(streamed(&publisher, slow).await, is(408, "timeout"));
    assert_eq!(begun.elapsed().as_secs(), 5);
    let broken = stream::iter([Ok(Frame::data(Bytes::from_static(b"x"))), Err(io::Error::other("reset"))]);
    assert_eq!(streamed(&publisher, broken).await, is(400, "malformed"));
    assert_eq!(publisher.stats().published, 0);
}

async fn streamed<E>(
    publisher: &Publisher,
    chunks: impl Stream<Item = Result<Frame<Bytes>, E>> + Send + 'static,
) -> (u16, String)
where
    E: std::error::Error + Send + Sync + 'static,
{
    let service = PublishService::new(publisher.clone(), "/channels/{channel}", anything()).unwrap();
    let service = service.max_body(10_000).body_timeout(5 * SECOND);
    let request = Request::post("/channels/a").header("content-type", "text/plain");
    let Ok(response) = service.oneshot(request.body(StreamBody::new(chunks)).unwrap()).await;
    let (status, problem) = body(response).await;
    (status.as_u16(), problem["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn each_error_of_a_publish_has_its_status() {
    let text = || post("/channels/a", "text/plain", "x");
    let publisher = Publisher::builder().limits(Limits::new().channels(1).lanes(1)).build();
    published(&publisher, post("/channels/a?to=ana&id=1", "text/plain", "x")).await;
    assert_eq!(refused(&publisher, anything(), post("/channels/b", "text/plain", "x")).await, is(503, "limit"));
    assert_eq!(refused(&publisher, anything(), post("/channels/a?to=bo", "text/plain", "x")).await, is(503, "limit"));
    let twice = post("/channels/a?to=ana&id=1", "text/plain", "x");
    assert_eq!(refused(&publisher, anything(), twice).await, is(409, "duplicate-id"));
    publisher.shutdown(Duration::ZERO).await;
    assert_eq!(refused(&publisher, anything(), text()).await, is(503, "shutting-down"));
    let name = ClientId::MAX_LEN + 1;
    let long = post("/channels/a", JSON, json!({ "data": "x", "to": "x".repeat(name) }).to_string());
    assert_eq!(refused(&publisher, anything(), long).await, is(400, "invalid-name"));
}
