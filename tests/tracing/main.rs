//! What somebody who listens to the spans is told.

mod broken;
mod collect;

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::advance;
use tower_sse::{
    ChannelName, ClientId, Event, Grant, OpenOptions, Publisher, PublisherBuilder, Retention, SseBody, Start,
    Subscription, TraceParent,
};
use tracing::{Level, subscriber::set_default};

use broken::Broken;
use collect::Collect;

const A: ChannelName = ChannelName::from_static("a");
const ANA: ClientId = ClientId::from_static("ana");

async fn open(publisher: &Publisher) -> SseBody {
    let grant = Grant::new([A, ChannelName::from_static("b")]).client(ANA);
    SseBody::new(Subscription::open(publisher, grant).await.unwrap())
}

/// Reads what there is, and returns how many polls had something.
fn read(body: &mut SseBody) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match Pin::new(&mut *body).poll_frame(&mut cx) {
        Poll::Ready(frame) => frame,
        Poll::Pending => None,
    })
    .count()
}

async fn one_event_and_gone(builder: PublisherBuilder) {
    let publisher = builder.build();
    let mut body = open(&publisher).await;
    advance(Duration::from_millis(250)).await;
    read(&mut body);
    publisher.channel("a").send(Event::text("1")).await.unwrap();
    read(&mut body);
    advance(Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_one_span_with_how_it_began_and_how_it_ended() {
    let collect = Collect::up_to(Level::INFO);
    let _listens = set_default(collect.clone());
    one_event_and_gone(Publisher::builder()).await;
    let span = collect.only("stream");
    assert_eq!((span.level, span.field("channels"), span.field("resumed")), (Level::INFO, "a,b", "fresh"));
    assert!(span.field("after").ends_with("-0"));
    assert_eq!((span.field("end"), span.field("events"), span.field("gaps")), ("left", "1", "0"));
    assert_eq!((span.field("duration_ms"), span.field("first_byte_ms")), ("2250", "250"));
    assert!(span.field("bytes").parse::<u64>().unwrap() > 0);
    assert_eq!(collect.spans("publish").len(), 0, "these are of level debug");
}

#[tokio::test(start_paused = true)]
async fn a_span_names_the_client_only_if_the_hub_is_set_to() {
    let collect = Collect::up_to(Level::INFO);
    let _listens = set_default(collect.clone());
    one_event_and_gone(Publisher::builder()).await;
    one_event_and_gone(Publisher::builder().trace_clients(true)).await;
    let spans = collect.spans("stream");
    assert_eq!((spans[0].fields.get("client"), spans[1].field("client")), (None, "ana"));
    assert!(spans[0].fields.values().all(|value| !value.contains("ana")), "{spans:?}");
}

#[tokio::test]
async fn a_span_is_not_entered_for_what_is_delivered() {
    let collect = Collect::up_to(Level::INFO);
    let _listens = set_default(collect.clone());
    let publisher = Publisher::new();
    let mut body = open(&publisher).await;
    read(&mut body);
    let entered = collect.only("stream").entered;
    for _ in 0..10 {
        publisher.channel("a").send(Event::text("1")).await.unwrap();
        assert_eq!(read(&mut body), 1);
    }
    assert_eq!(collect.only("stream").entered, entered);
}

#[tokio::test]
async fn hooks_and_what_the_crate_says_of_a_stream_belong_to_its_span() {
    let collect = Collect::up_to(Level::DEBUG);
    let _listens = set_default(collect.clone());
    let publisher = Publisher::builder()
        .retention(Retention::new().events(1))
        .on_open(|_| tracing::info!(target: "tower_sse_test", "opened"))
        .on_close(|_| tracing::info!(target: "tower_sse_test", "closed"))
        .build();
    let mut body = open(&publisher).await;
    for text in ["1", "2"] {
        publisher.channel("a").send(Event::text(text)).await.unwrap();
    }
    read(&mut body);
    drop(body);
    let number = Some(collect.only("stream").number);
    for said in ["opened", "a reader lagged", "closed"] {
        assert_eq!(collect.span_of_event(said), number, "{said}");
    }
}

#[tokio::test]
async fn a_publish_has_a_span_with_the_error_if_there_is_one() {
    let collect = Collect::up_to(Level::DEBUG);
    let _listens = set_default(collect.clone());
    let publisher = Publisher::new();
    let channel = publisher.channel("a");
    channel.send(Event::text("1")).await.unwrap();
    channel.send_all([Event::text("2"), Event::text("3")]).await.unwrap();
    channel.end_detached().unwrap();
    let error = channel.send(Event::text("4")).await.unwrap_err();
    let spans = collect.spans("publish");
    let events: Vec<_> = spans.iter().map(|span| (span.field("channel"), span.field("events"))).collect();
    assert_eq!(events, [("a", "1"), ("a", "2"), ("a", "0"), ("a", "1")]);
    let errors: Vec<_> = spans.iter().map(|span| span.fields.get("error")).collect();
    assert_eq!(errors, [None, None, None, Some(&error.to_string())]);
    assert!(spans.iter().all(|span| span.level == Level::DEBUG && span.entered > 0));
}

#[tokio::test]
async fn a_call_to_a_store_has_a_span_within_that_of_the_publish() {
    let collect = Collect::up_to(Level::DEBUG);
    let _listens = set_default(collect.clone());
    let channel = Publisher::builder().backend(Broken::default()).build().channel("a");
    channel.send(Event::text("1")).await.unwrap_err();
    let (publish, call) = (collect.only("publish"), collect.only("backend"));
    assert_eq!((call.parent, call.field("call")), (Some(publish.number), "append"));
    assert!(call.field("error").contains("broken") && publish.fields.contains_key("error"), "{call:?} {publish:?}");

    channel.send(Event::text("2").ephemeral()).await.unwrap_err();
    channel.read_for(ANA, None, 1).await.unwrap_err();
    let calls: Vec<_> = collect.spans("backend").iter().map(|span| span.field("call").to_owned()).collect();
    assert_eq!(calls, ["append", "pass", "read"]);
}

/// Asks for the trace of the current span, as a library for traces would.
fn current(collect: &Collect) -> impl Fn() -> Option<TraceParent> + Send + Sync + use<> {
    let collect = collect.clone();
    move || TraceParent::new(7, collect.current()?, true)
}

#[tokio::test]
async fn an_event_has_the_trace_of_its_publish_unless_it_says_another_one() {
    let collect = Collect::up_to(Level::DEBUG);
    let _listens = set_default(collect.clone());
    let publisher = Publisher::builder().traceparent_by(current(&collect)).build();
    let channel = publisher.channel("a");
    let own = TraceParent::new(1, 2, false).unwrap();
    channel.send(Event::text("1")).await.unwrap();
    channel.send_all([Event::text("2"), Event::text("3").traceparent(own)]).await.unwrap();
    channel.finish_detached(Event::text("4")).unwrap();
    let traces: Vec<_> = channel.recent(9).iter().map(|event| event.traceparent().unwrap()).collect();
    let spans = collect.spans("publish");
    let of = |span: usize| TraceParent::new(7, spans[span].number, true).unwrap();
    assert_eq!(traces, [of(0), of(1), own, of(2)]);
}

#[tokio::test]
async fn a_store_is_given_the_trace_with_the_events_bytes() {
    let collect = Collect::up_to(Level::DEBUG);
    let _listens = set_default(collect.clone());
    let broken = Broken::default();
    let channel = Publisher::builder().traceparent_by(current(&collect)).backend(broken.clone()).build().channel("a");
    channel.send(Event::text("1")).await.unwrap_err();
    channel.send(Event::text("2").ephemeral()).await.unwrap_err();
    let given = broken.given.lock().unwrap().join("");
    let spans = collect.spans("publish").into_iter().enumerate();
    let expected = |(n, span): (usize, collect::Span)| {
        format!(": traceparent={}\ndata: {}\n", TraceParent::new(7, span.number, true).unwrap(), n + 1)
    };
    assert_eq!(given.trim_end(), spans.map(expected).collect::<String>().trim_end());
}

#[tokio::test]
async fn a_transform_can_read_the_trace_and_an_event_of_no_trace_has_no_more_bytes() {
    let trace = TraceParent::new(1, 2, true).unwrap();
    let publisher = Publisher::builder().traceparent_by(|| None).build();
    let grant = Grant::new([A]);
    let body = SseBody::new(Subscription::open(&publisher, grant).await.unwrap()).retry(None).filter_map(|event| {
        let trace = event.traceparent().map(|trace| trace.trace_id());
        Some(Event::text(format!("{trace:?}")))
    });
    publisher.channel("a").send(Event::text("x").traceparent(trace)).await.unwrap();
    publisher.channel("a").finish(Event::text("y")).await.unwrap();
    let text = body.collect().await.unwrap().to_bytes();
    let data = std::str::from_utf8(&text).unwrap().lines().filter(|line| line.starts_with("data: "));
    assert_eq!(data.collect::<Vec<_>>(), ["data: Some(1)", "data: None"]);
    assert!(publisher.channel("a").recent(1)[0].as_bytes().starts_with(b"data: y\n"));
}

#[tokio::test]
async fn a_stream_that_opened_before_anybody_listened_has_no_span() {
    let publisher = Publisher::new();
    let mut body = open(&publisher).await;
    let collect = Collect::up_to(Level::TRACE);
    let _listens = set_default(collect.clone());
    publisher.channel("a").send(Event::text("1")).await.unwrap();
    read(&mut body);
    drop(body);
    assert_eq!(collect.spans("stream").len(), 0);
    drop(OpenOptions::new().start(Start::Earliest).open(&publisher, Grant::new([A]), None).await.unwrap());
    assert_eq!(collect.only("stream").field("end"), "left");
}
