//! What the hooks are told of a stream, however it begins and ends.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::Request;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::advance;
use tower::ServiceExt;
use tower_sse::{
    ChannelName, ClientId, Closed, Denied, Duplicates, EndReason, Ending, Event, GapReason, Grant, OpenOptions, Opened,
    Output, Publisher, PublisherBuilder, Resumed, Retention, Route, SseBody, SseLayer, Start, Subscription,
    authorizer_fn,
};

const SECOND: Duration = Duration::from_secs(1);
const A: ChannelName = ChannelName::from_static("a");
const ANA: ClientId = ClientId::from_static("ana");

/// What the hooks were told.
#[derive(Clone, Default)]
struct Told {
    opened: Arc<Mutex<Vec<Opened>>>,
    closed: Arc<Mutex<Vec<Closed>>>,
}

impl Told {
    fn by(builder: PublisherBuilder) -> (Publisher, Self) {
        let told = Self::default();
        let (opened, closed) = (told.opened.clone(), told.closed.clone());
        let builder = builder.on_open(move |of| opened.lock().unwrap().push(of.clone()));
        (builder.on_close(move |of| closed.lock().unwrap().push(of.clone())).build(), told)
    }

    fn opened(&self) -> usize {
        self.opened.lock().unwrap().len()
    }

    fn closed(&self) -> usize {
        self.closed.lock().unwrap().len()
    }

    /// The only stream that has closed.
    fn only(&self) -> Closed {
        let closed = self.closed.lock().unwrap();
        assert_eq!((self.opened(), closed.len()), (1, 1));
        closed[0].clone()
    }
}

fn told() -> (Publisher, Told) {
    Told::by(Publisher::builder())
}

async fn send(publisher: &Publisher, texts: &[&str]) {
    publisher.channel("a").send_all(texts.iter().map(|text| Event::text(*text)).collect::<Vec<_>>()).await.unwrap();
}

async fn open(publisher: &Publisher, options: OpenOptions, id: Option<&str>) -> Subscription {
    options.open(publisher, Grant::new([A]).client(ANA), id.map(str::as_bytes)).await.unwrap()
}

/// Polls a body once, as a server does that has room.
fn poll(body: &mut SseBody) -> Option<Bytes> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(frame)) => Some(frame.unwrap().into_data().unwrap()),
        Poll::Ready(None) | Poll::Pending => None,
    }
}

fn read(body: &mut SseBody) -> u64 {
    std::iter::from_fn(|| poll(body)).map(|chunk| chunk.len() as u64).sum()
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_leaves_is_told_of_once_when_it_opens_and_once_when_it_is_dropped() {
    let (publisher, told) = told();
    let mut body = SseBody::new(open(&publisher, OpenOptions::new(), None).await);
    assert_eq!((told.opened(), told.closed()), (1, 0));
    let opened = told.opened.lock().unwrap()[0].clone();
    assert_eq!((opened.channels, opened.client, opened.resumed), (vec![A], Some(ANA), Resumed::Fresh));

    advance(2 * SECOND).await;
    let mut bytes = read(&mut body);
    advance(3 * SECOND).await;
    send(&publisher, &["one", "two"]).await;
    bytes += read(&mut body);
    drop(body);
    let closed = told.only();
    assert_eq!((closed.ending, closed.ending.as_str()), (Ending::Left, "left"));
    assert_eq!((closed.events, closed.replayed, closed.bytes, closed.gaps), (2, 0, bytes, 0));
    assert_eq!((closed.duration, closed.first_byte), (5 * SECOND, Some(2 * SECOND)));
    assert_eq!(closed.cursor.offset.get(), 2);
}

#[tokio::test]
async fn a_stream_that_no_server_has_read_has_no_first_byte() {
    let (publisher, told) = told();
    drop(SseBody::new(open(&publisher, OpenOptions::new(), None).await));
    let closed = told.only();
    assert_eq!((closed.first_byte, closed.bytes, closed.ending), (None, 0, Ending::Left));
}

#[tokio::test]
async fn what_a_reader_had_missed_counts_as_replayed_and_what_comes_then_does_not() {
    let (publisher, told) = told();
    let first = publisher.channel("a").send(Event::text("0")).await.unwrap();
    send(&publisher, &["1", "2", "3"]).await;
    let mut body = SseBody::new(open(&publisher, OpenOptions::new(), Some(&first.id.to_string())).await);
    read(&mut body);
    send(&publisher, &["4", "5"]).await;
    read(&mut body);
    drop(body);
    let closed = told.only();
    assert_eq!((closed.opened.resumed, closed.events, closed.replayed), (Resumed::Exact, 5, 3));
}

#[tokio::test]
async fn a_reader_that_has_missed_nothing_replays_nothing_even_if_the_next_event_comes_before_its_first_poll() {
    let (publisher, told) = told();
    let first = publisher.channel("a").send(Event::text("0")).await.unwrap();
    let mut body = SseBody::new(open(&publisher, OpenOptions::new(), Some(&first.id.to_string())).await);
    send(&publisher, &["1"]).await;
    read(&mut body);
    drop(body);
    assert_eq!((told.only().events, told.only().replayed), (1, 0));
}

#[tokio::test]
async fn events_count_the_same_whether_they_are_sent_as_they_are_or_one_by_one() {
    for named in [false, true] {
        let (publisher, told) = told();
        send(&publisher, &["1", "2", "3"]).await;
        publisher.channel("a").send_to("ana", Event::text("4")).await.unwrap();
        send(&publisher, &["5"]).await;
        let subscription = open(&publisher, OpenOptions::new().start(Start::Earliest), None).await;
        let mut body = SseBody::new(subscription).show_channel(named);
        let bytes = read(&mut body);
        drop(body);
        assert_eq!((told.only().events, told.only().replayed, told.only().bytes), (5, 5, bytes), "{named}");
    }
}

#[tokio::test]
async fn what_a_filter_leaves_out_does_not_count() {
    let (publisher, told) = told();
    send(&publisher, &["keep", "drop", "keep"]).await;
    let subscription = open(&publisher, OpenOptions::new().start(Start::Earliest), None).await;
    let mut body = SseBody::new(subscription).filter(|event| event.data() == "keep");
    read(&mut body);
    drop(body);
    assert_eq!(told.only().events, 2);
}

#[tokio::test]
async fn events_of_several_channels_and_ephemeral_ones_count_too() {
    let (publisher, told) = told();
    let grant = Grant::new(["a", "b"].map(ChannelName::from_static));
    let mut body = SseBody::new(Subscription::open(&publisher, grant).await.unwrap());
    read(&mut body);
    for _ in 0..3 {
        publisher.channel("a").send(Event::text("x")).await.unwrap();
        publisher.channel("b").send(Event::text("x")).await.unwrap();
        publisher.channel("b").send(Event::text("x").ephemeral()).await.unwrap();
    }
    read(&mut body);
    drop(body);
    assert_eq!(told.only().events, 9);
    assert_eq!(told.only().opened.channels.len(), 2);
}

#[tokio::test]
async fn a_subscription_that_is_read_without_a_body_counts_too() {
    let (publisher, told) = told();
    let mut subscription = open(&publisher, OpenOptions::new(), None).await;
    send(&publisher, &["1"]).await;
    publisher.channel("a").finish(Event::text("2")).await.unwrap();
    while subscription.next().await.is_some() {}
    assert_eq!(told.closed(), 0, "it is closed when it is dropped");
    drop(subscription);
    let closed = told.only();
    let bytes = publisher.channel("a").recent(9).iter().map(|event| event.as_bytes().len() as u64).sum::<u64>();
    assert_eq!((closed.events, closed.bytes, closed.ending), (2, bytes, Ending::Ended(EndReason::Finished)));
}

#[tokio::test]
async fn a_stream_is_closed_as_soon_as_its_end_is_read_even_if_the_server_keeps_the_body() {
    let (publisher, told) = told();
    let mut body = SseBody::new(open(&publisher, OpenOptions::new(), None).await);
    publisher.channel("a").end().await.unwrap();
    read(&mut body);
    assert_eq!(told.only().ending, Ending::Ended(EndReason::Finished));
    drop(body);
    assert_eq!(told.closed(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_end_of_a_subscription_has_its_reason() {
    for reason in [EndReason::Closed, EndReason::Disconnected, EndReason::Shutdown, EndReason::Expired] {
        let (publisher, told) = told();
        let grant = Grant::new([A]).client(ANA).expires_in(SECOND);
        let body = SseBody::new(Subscription::open(&publisher, grant).await.unwrap());
        match reason {
            EndReason::Closed => _ = publisher.channel("a").close().await.unwrap(),
            EndReason::Disconnected => _ = publisher.disconnect(ANA).await.unwrap(),
            EndReason::Shutdown => _ = publisher.shutdown(Duration::ZERO).await,
            _ => advance(2 * SECOND).await,
        }
        body.collect().await.unwrap();
        assert_eq!(told.only().ending, Ending::Ended(reason));
        assert_eq!(told.only().ending.as_str(), reason.as_str());
    }
}

#[tokio::test]
async fn a_connection_that_is_replaced_says_so() {
    let (publisher, told) = told();
    let options = || OpenOptions::new().duplicates(Duplicates::Replace);
    let older = SseBody::new(open(&publisher, options(), None).await);
    let newer = open(&publisher, options(), None).await;
    older.collect().await.unwrap();
    drop(newer);
    let endings: Vec<_> = told.closed.lock().unwrap().iter().map(|closed| closed.ending).collect();
    assert_eq!(endings, [Ending::Ended(EndReason::Replaced), Ending::Left]);
}

#[tokio::test]
async fn a_lag_is_counted_as_a_gap_and_breaks_a_strict_body_off() {
    for strict in [false, true] {
        let (publisher, told) = Told::by(Publisher::builder().retention(Retention::new().events(2)));
        let mut body = SseBody::new(open(&publisher, OpenOptions::new(), None).await);
        if strict {
            body = body.strict();
        }
        assert!(poll(&mut body).is_some(), "the first bytes");
        for text in ["1", "2", "3"] {
            send(&publisher, &[text]).await;
        }
        publisher.channel("a").end().await.unwrap();
        let collected = body.collect().await;
        let (ending, events) = match strict {
            true => (Ending::Gap(GapReason::Lagged), 0),
            false => (Ending::Ended(EndReason::Finished), 2),
        };
        assert_eq!(collected.is_err(), strict);
        assert_eq!((told.only().ending, told.only().events, told.only().gaps), (ending, events, 1));
    }
}

#[tokio::test]
async fn a_strict_answer_that_is_a_410_instead_has_the_gap_as_its_ending() {
    let (publisher, told) = told();
    let body = SseBody::new(open(&publisher, OpenOptions::new(), Some("unknown")).await).strict();
    assert_eq!(body.into_response().status(), 410);
    let closed = told.only();
    assert_eq!(closed.opened.resumed, Resumed::Gap(GapReason::UnknownId));
    assert_eq!((closed.ending, closed.gaps), (Ending::Gap(GapReason::UnknownId), 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_closed_after_its_time_says_so() {
    for busy in [false, true] {
        let (publisher, told) = told();
        let mut body = SseBody::new(open(&publisher, OpenOptions::new(), None).await).close_after(SECOND);
        read(&mut body);
        advance(2 * SECOND).await;
        if busy {
            send(&publisher, &["1"]).await;
        }
        body.collect().await.unwrap();
        assert_eq!((told.only().ending, told.only().events), (Ending::Elapsed, busy.into()));
    }
}

#[tokio::test]
async fn a_transform_that_ends_its_body_says_how() {
    for breaks in [false, true] {
        let (publisher, told) = told();
        let subscription = open(&publisher, OpenOptions::new(), None).await;
        let body = SseBody::new(subscription).transform(move |_: &_, out: &mut Output| match breaks {
            true => out.break_off("no more"),
            false => out.finish(),
        });
        send(&publisher, &["1"]).await;
        assert_eq!(body.collect().await.is_err(), breaks);
        let ending = if breaks { Ending::BrokenOff } else { Ending::Completed };
        assert_eq!(told.only().ending, ending);
    }
}

#[tokio::test(start_paused = true)]
async fn over_http_the_time_that_the_authorizer_takes_counts_as_waiting() {
    for strict in [false, true] {
        let (publisher, told) = told();
        let authorizer = authorizer_fn(async |request| {
            tokio::time::sleep(SECOND).await;
            Ok::<_, Denied>(request.grant().client(ANA))
        });
        let layer =
            SseLayer::new(publisher.clone()).route(Route::new("/{channel}/{client_id}").strict(strict)).unwrap();
        let service = layer.authorizer(authorizer).into_service();
        let request = |method: &str| Request::builder().method(method).uri("/a/ana").body(()).unwrap();
        drop(service.clone().oneshot(request("HEAD")).await.unwrap());
        assert_eq!(told.opened(), 0, "a HEAD opens no stream");
        let mut body = service.oneshot(request("GET")).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        let closed = told.only();
        assert_eq!((closed.opened.client, closed.opened.took.as_secs()), (Some(ANA), 1));
        assert_eq!(closed.first_byte.map(|after| after.as_secs()), Some(1));
        assert_eq!(closed.duration, Duration::ZERO);
    }
}

#[tokio::test]
async fn a_request_that_is_refused_is_no_stream() {
    let (publisher, told) = told();
    publisher.channel("a").end().await.unwrap();
    let opened = OpenOptions::new().open(&publisher, Grant::new([A]), None).await;
    assert!(opened.unwrap_err().is_over());
    let one = OpenOptions::new().max_per_channel(1);
    let grant = || Grant::new([ChannelName::from_static("b")]);
    let first = one.open(&publisher, grant(), None).await.unwrap();
    assert!(one.open(&publisher, grant(), None).await.is_err());
    assert_eq!((told.opened(), told.closed()), (1, 0));
    drop(first);
}

#[tokio::test]
async fn a_hook_that_panics_harms_neither_its_stream_nor_the_other_hooks() {
    let builder = Publisher::builder().on_open(|_| panic!("on open")).on_close(|_| panic!("on close"));
    let (publisher, told) = Told::by(builder);
    let mut body = SseBody::new(open(&publisher, OpenOptions::new(), None).await);
    send(&publisher, &["1"]).await;
    read(&mut body);
    drop(body);
    assert_eq!(told.only().events, 1);
}

#[tokio::test]
async fn a_stream_that_is_dropped_in_a_panic_is_told_of_and_does_not_abort() {
    let (publisher, told) = Told::by(Publisher::builder().on_close(|_| panic!("on close")));
    let body = SseBody::new(open(&publisher, OpenOptions::new(), None).await);
    let task = tokio::spawn(async move {
        let _body = body;
        panic!("in the task");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(told.only().ending, Ending::Left);
}

#[tokio::test]
async fn a_hook_may_use_the_hub_since_no_lock_is_held() {
    let place: Arc<Mutex<Option<Publisher>>> = Arc::default();
    let use_it = |place: Arc<Mutex<Option<Publisher>>>| {
        move || {
            let publisher = place.lock().unwrap().clone().unwrap();
            let connections = publisher.channel("a").connections();
            publisher.channel("a").end_detached().unwrap();
            (connections, publisher.stats().opened)
        }
    };
    let seen: Arc<Mutex<Vec<(usize, u64)>>> = Arc::default();
    let (opens, closes) = (use_it(place.clone()), use_it(place.clone()));
    let (seen_first, seen_last) = (seen.clone(), seen.clone());
    let publisher = Publisher::builder()
        .on_open(move |_| seen_first.lock().unwrap().push(opens()))
        .on_close(move |_| seen_last.lock().unwrap().push(closes()))
        .build();
    *place.lock().unwrap() = Some(publisher.clone());
    let body = SseBody::new(open(&publisher, OpenOptions::new(), None).await);
    body.collect().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(1, 1), (0, 1)]);
    *place.lock().unwrap() = None;
}
