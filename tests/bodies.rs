//! What a body can be besides a plain subscription: filtered and mapped, strict, and closed after a time. In virtual time.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};
use tower_sse::*;

const A: ChannelName = ChannelName::from_static("a");
const B: ChannelName = ChannelName::from_static("b");
const SECOND: Duration = Duration::from_secs(1);
const PREAMBLE: &str = "retry: 3000\n:\n";

type Stream = Pin<Box<SseBody>>;

async fn send(publisher: &Publisher, channel: &ChannelName, text: &str) -> EventId {
    publish(publisher, channel, Event::text(text)).await
}

async fn publish(publisher: &Publisher, channel: &ChannelName, event: Event) -> EventId {
    publisher.channel(channel).send(event).await.unwrap().id
}

/// Opens a subscription that begins with everything that is held.
async fn open(publisher: &Publisher, channels: &[ChannelName]) -> Subscription {
    let options = OpenOptions::new().start(Start::Earliest);
    options.open(publisher, Grant::new(channels.to_vec()), None).await.unwrap()
}

fn named(text: &str, name: &'static str) -> Event {
    Event::text(text).name(EventName::from_static(name))
}

/// How a stream goes on.
#[derive(Debug, PartialEq)]
enum Now {
    Sends(String),
    /// Nothing comes for a second.
    Waits,
    Ends,
    BreaksOff(String),
}

async fn next(stream: &mut Stream) -> Now {
    match timeout(SECOND, stream.frame()).await {
        Err(_) => Now::Waits,
        Ok(None) => Now::Ends,
        Ok(Some(Err(error))) => Now::BreaksOff(error.to_string()),
        Ok(Some(Ok(frame))) => Now::Sends(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()),
    }
}

/// Everything that arrives, and what is then.
async fn drain(stream: &mut Stream) -> (String, Now) {
    let mut all = String::new();
    loop {
        match next(stream).await {
            Now::Sends(bytes) => all += &bytes,
            now => return (all, now),
        }
    }
}

/// The parts of the events: the name, the data and the id of each.
fn events(text: &str) -> Vec<(String, String, String)> {
    let all = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
    let field = |event: &str, name: &str| {
        let values: Vec<_> = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
        values.join("\n")
    };
    all.map(|event| (field(event, "event"), field(event, "data"), field(event, "id"))).collect()
}

fn data(text: &str) -> Vec<String> {
    events(text).into_iter().map(|(_, data, _)| data).collect()
}

#[tokio::test]
async fn an_event_says_which_channel_it_was_published_to() {
    let publisher = Publisher::new();
    for channels in [&[A][..], &[A, B]] {
        let grant = Grant::new(channels.to_vec());
        let mut subscription = Subscription::open(&publisher, grant).await.unwrap();
        for n in 0..8 {
            send(&publisher, &channels[n / 2 % channels.len()], &n.to_string()).await;
        }
        for n in 0..8 {
            let Some(Delivery::Event(event)) = subscription.next().now_or_never().flatten() else { panic!("an event") };
            assert_eq!((event.data(), event.channel()), (n.to_string(), &channels[n / 2 % channels.len()]));
        }
    }
    assert!(publisher.channel(B).recent(9).iter().all(|event| *event.channel() == B));
}

// Filtered and mapped

#[tokio::test(start_paused = true)]
async fn a_filtered_body_sends_the_other_events_with_their_ids() {
    let publisher = Publisher::new();
    for channels in [&[A][..], &[A, B]] {
        let mut ids = Vec::new();
        let body = SseBody::new(Subscription::open(&publisher, Grant::new(channels.to_vec())).await.unwrap());
        let body = body.filter(|event| event.data() != "3").filter(|event| event.name() != Some("debug"));
        for n in 0..6 {
            let event = if n == 4 { named("4", "debug") } else { Event::text(n.to_string()) };
            ids.push(publish(&publisher, &channels[n % channels.len()], event).await.to_string());
        }
        let mut stream = Box::pin(body);
        let (replayed, now) = drain(&mut stream).await;
        assert_eq!((data(&replayed), now), (["0", "1", "2", "5"].map(String::from).to_vec(), Now::Waits));
        let kept: Vec<_> = events(&replayed).into_iter().map(|(_, _, id)| id).collect();
        assert_eq!(kept, [&ids[0], &ids[1], &ids[2], &ids[5]].map(Clone::clone));
        publish(&publisher, &A, named("live", "debug")).await;
        assert_eq!(next(&mut stream).await, Now::Waits);
        let id = send(&publisher, &A, "live").await;
        assert_eq!(next(&mut stream).await, Now::Sends(format!("data: live\nid: {id}\n\n")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_with_all_events_left_out_is_kept_alive() {
    let publisher = Publisher::new();
    let keep_alive = KeepAlive::every(10 * SECOND);
    let body = SseBody::new(open(&publisher, &[A]).await).filter(|_| false).keep_alive(keep_alive);
    let mut stream = Box::pin(body);
    assert_eq!(next(&mut stream).await, Now::Sends(PREAMBLE.into()));
    let begin = Instant::now();
    let publish = async {
        loop {
            tokio::time::sleep(SECOND).await;
            send(&publisher, &A, "x").await;
        }
    };
    tokio::select! {
        frame = stream.frame() => assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), ":\n"),
        () = publish => {}
    }
    assert!(begin.elapsed() < 11 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_mapped_event_takes_the_id_of_its_source() {
    let publisher = Publisher::new();
    let body = SseBody::new(open(&publisher, &[A]).await).filter_map(|event| match event.name() {
        Some("secret") => None,
        _ => Some(Event::text(event.data().to_uppercase()).id(CustomId::from_static("unused"))),
    });
    let mut stream = Box::pin(body);
    assert_eq!(next(&mut stream).await, Now::Sends(PREAMBLE.into()));
    let first = publish(&publisher, &A, Event::text("one").id(CustomId::from_static("order-1"))).await;
    publish(&publisher, &A, named("two", "secret")).await;
    let third = send(&publisher, &A, "three\nlines").await;
    let sent = format!("data: ONE\nid: {first}\n\ndata: THREE\ndata: LINES\nid: {third}\n\n");
    assert_eq!(drain(&mut stream).await, (sent, Now::Waits));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_id_takes_the_place_of_the_id_of_the_last_event_of_its_source() {
    let foreign = |event: &EncodedEvent| ForeignId::try_from(format!("urn:{} é", event.data())).unwrap();
    let publisher = Publisher::new();
    let mut stream = Box::pin(SseBody::new(open(&publisher, &[A]).await).transform(
        move |event: &EncodedEvent, out: &mut Output| {
            out.prefix_ids(CustomId::from_static("a."));
            out.replace_as(event, Event::text(event.data()), &foreign(event));
            if event.data() == "2" {
                out.replace_as(event, Event::text("again"), &foreign(event));
            }
        },
    ));
    assert_eq!(next(&mut stream).await, Now::Sends(PREAMBLE.into()));
    for text in ["1", "2"] {
        send(&publisher, &A, text).await;
    }
    publish(&publisher, &A, Event::text("3").ephemeral()).await;
    let (sent, _) = drain(&mut stream).await;
    assert_eq!(sent, "data: 1\nid: urn:1 é\n\ndata: 2\n\ndata: again\nid: urn:2 é\n\ndata: 3\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_prefix_is_put_before_each_id_and_nothing_else() {
    struct Prefixes;

    impl Transform for Prefixes {
        fn begin(&mut self, out: &mut Output) {
            out.prefix_ids(CustomId::from_static("a."));
        }

        fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
            for event in events {
                out.pass(event);
                if event.data() == "2" {
                    out.replace(event, Event::text("twice\nid: 7"));
                    out.send(Event::text("no id"));
                }
            }
        }
    }

    for shows_channel in [false, true] {
        let publisher = Publisher::new();
        let body = SseBody::new(open(&publisher, &[A]).await).transform(Prefixes).show_channel(shows_channel);
        let mut stream = Box::pin(body);
        assert_eq!(next(&mut stream).await, Now::Sends(PREAMBLE.into()));
        let one = publish(&publisher, &A, Event::text("1").id(CustomId::from_static("id-1"))).await;
        let two = send(&publisher, &A, "2").await;
        publish(&publisher, &A, Event::text("3").ephemeral()).await;
        let (sent, _) = drain(&mut stream).await;
        let name = if shows_channel { format!("event: {A}:message\n") } else { String::new() };
        let expected = format!(
            "{name}data: 1\nid: a.{one}\n\n{name}data: 2\n\n{name}data: twice\ndata: id: 7\nid: a.{two}\n\ndata: no id\n\n\
             {name}data: 3\n\n",
        );
        assert_eq!(sent, expected);
    }
}

/// A connection that breaks between two events that stand for one must not lose the second.
#[tokio::test(start_paused = true)]
async fn only_the_last_event_made_of_a_source_has_its_id() {
    let publisher = Publisher::new();
    let subscription = open(&publisher, &[A]).await;
    let ids = [send(&publisher, &A, "1").await, send(&publisher, &A, "2").await].map(|id| id.to_string());
    let body = SseBody::new(subscription).transform(|event: &EncodedEvent, out: &mut Output| {
        out.pass(event);
        out.send(named("no id", "note"));
        out.replace(event, Event::text("second"));
        if event.data() == "2" {
            out.pass(event);
        }
    });
    let (sent, _) = drain(&mut Box::pin(body)).await;
    let sent: Vec<_> = events(&sent).into_iter().map(|(_, data, id)| (data, id)).collect();
    let expected =
        [("1", ""), ("no id", ""), ("second", &ids[0]), ("2", ""), ("no id", ""), ("second", ""), ("2", &ids[1])];
    assert_eq!(sent, expected.map(|(data, id)| (data.to_owned(), id.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn an_event_for_a_source_that_was_passed_by_has_no_id() {
    let publisher = Publisher::new();
    let subscription = open(&publisher, &[A]).await;
    send(&publisher, &A, "1").await;
    let id = send(&publisher, &A, "2").await.to_string();
    let mut first = None;
    let body = SseBody::new(subscription).transform(move |event: &EncodedEvent, out: &mut Output| {
        let first = first.get_or_insert_with(|| event.clone());
        if event.data() == "2" {
            out.replace(event, Event::text("2"));
            out.replace(first, Event::text("1, late"));
            out.pass(first);
        }
    });
    let (sent, _) = drain(&mut Box::pin(body)).await;
    let expected = [("", "2", &*id), ("", "1, late", ""), ("", "1", "")];
    assert_eq!(events(&sent), expected.map(|(name, data, id)| (name.into(), data.into(), id.into())));
}

/// Joins what it gets at once.
struct Join(Arc<AtomicUsize>);

impl Transform for Join {
    fn begin(&mut self, out: &mut Output) {
        out.send(named("", "begin"));
    }

    fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let text: Vec<_> = events.iter().map(EncodedEvent::data).collect();
        out.replace(events.last().unwrap(), Event::text(text.join(" ")));
    }

    fn gap(&mut self, gap: &Gap, out: &mut Output) {
        out.send(named(gap.reason.as_str(), "lost"));
        out.go_on();
    }

    fn end(&mut self, reason: EndReason, out: &mut Output) {
        out.send(named(reason.as_str(), "end"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_gets_what_it_missed_rolled_up_and_resumes_after_it() {
    let publisher = Publisher::new();
    for channels in [&[A][..], &[A, B]] {
        let calls = Arc::new(AtomicUsize::new(0));
        let start = Subscription::open(&publisher, Grant::new([A])).await.unwrap().cursor();
        let mut last = String::new();
        for n in 0..100 {
            last = send(&publisher, &channels[n % channels.len()], &n.to_string()).await.to_string();
        }
        let after = |id: String| {
            let publisher = publisher.clone();
            async move {
                let grant = Grant::new(channels.to_vec());
                OpenOptions::new().open(&publisher, grant, Some(id.as_bytes())).await.unwrap()
            }
        };
        let mut stream = Box::pin(SseBody::new(after(start.to_string()).await).transform(Join(calls.clone())));
        let (sent, _) = drain(&mut stream).await;
        assert_eq!(sent.strip_prefix(PREAMBLE).unwrap().split("\n\n").next(), Some("event: begin\ndata: "));
        let all: Vec<_> = (0..100).map(|n: i32| n.to_string()).collect();
        assert_eq!(events(&sent)[1..], [(String::new(), all.join(" "), last.clone())]);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let live = send(&publisher, &A, "live").await.to_string();
        let mut resumed = Box::pin(SseBody::new(after(last).await).transform(Join(calls)));
        for stream in [&mut stream, &mut resumed] {
            let (sent, _) = drain(stream).await;
            assert_eq!(events(&sent).last(), Some(&(String::new(), "live".into(), live.clone())));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transform_sends_something_else_for_a_gap_and_the_end() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    for (strict, end) in
        [(false, Now::Ends), (true, Now::BreaksOff("the stream is not complete: it was ended (closed)".into()))]
    {
        let body = SseBody::new(open(&publisher, &[A]).await).transform(Join(Arc::default()));
        let mut stream = Box::pin(if strict { body.strict() } else { body });
        for n in 0..4 {
            send(&publisher, &A, &n.to_string()).await;
        }
        let (sent, _) = drain(&mut stream).await;
        assert_eq!(data(&sent), ["", "lagged", "2 3"]);
        publisher.channel(A).close().await.unwrap();
        let (sent, now) = drain(&mut stream).await;
        assert_eq!((sent.as_str(), now), ("event: end\ndata: closed\n\n", end));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mapped_body_without_a_word_on_gaps_and_the_end_tells_them_as_a_plain_one() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    let pass = |event: &EncodedEvent, out: &mut Output| out.pass(event);
    let mut mapped = Box::pin(SseBody::new(open(&publisher, &[A]).await).transform(pass));
    let mut plain = Box::pin(SseBody::new(open(&publisher, &[A]).await));
    for n in 0..4 {
        send(&publisher, &A, &n.to_string()).await;
    }
    publisher.channel(A).close().await.unwrap();
    let (plain, mapped) = (drain(&mut plain).await, drain(&mut mapped).await);
    assert!(plain.0.contains("event: goodbye"));
    assert_eq!(plain, mapped);
}

#[tokio::test(start_paused = true)]
async fn a_transform_ends_its_body_or_breaks_it_off() {
    let publisher = Publisher::new();
    let ending = |event: &EncodedEvent, out: &mut Output| {
        out.pass(event);
        match event.name() {
            Some("done") => out.finish(),
            Some("failed") => out.break_off("it failed"),
            _ => {}
        }
    };
    for (name, end) in [("done", Now::Ends), ("failed", Now::BreaksOff("it failed".into()))] {
        let mut stream =
            Box::pin(SseBody::new(Subscription::open(&publisher, Grant::new([A])).await.unwrap()).transform(ending));
        send(&publisher, &A, "1").await;
        publish(&publisher, &A, named("2", name)).await;
        let (sent, now) = drain(&mut stream).await;
        assert_eq!((data(&sent), now), (["1", "2"].map(String::from).to_vec(), end));
        assert_eq!(publisher.connections(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mapped_body_announces_its_cursor() {
    let publisher = Publisher::new();
    let start = send(&publisher, &A, "before").await;
    for pass in [true, false] {
        let subscription = Subscription::open(&publisher, Grant::new([A])).await.unwrap();
        let body = SseBody::new(subscription).transform(Join(Arc::default())).announce_cursor(true);
        let mut stream = Box::pin(if pass { body } else { body.filter(|_| false) });
        let Now::Sends(first) = next(&mut stream).await else { panic!("the first bytes") };
        let cursor = format!("retry: 3000\nevent: cursor\ndata: \nid: {start}\n\nevent: begin\ndata: \n\n");
        assert_eq!(first, cursor);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mapped_body_coalesces() {
    let publisher = Publisher::new();
    let pause = Duration::from_millis(10);
    let mut stream =
        Box::pin(SseBody::new(open(&publisher, &[A]).await).transform(Join(Arc::default())).coalesce(pause));
    next(&mut stream).await;
    send(&publisher, &A, "1").await;
    let Now::Sends(first) = next(&mut stream).await else { panic!("at once") };
    assert_eq!(data(&first), ["1"]);
    send(&publisher, &A, "2").await;
    assert!(stream.frame().now_or_never().is_none(), "within the pause");
    send(&publisher, &A, "3").await;
    let Now::Sends(second) = next(&mut stream).await else { panic!("after the pause") };
    assert_eq!(data(&second), ["2 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_passed_whole_is_not_copied() {
    let publisher = Publisher::new();
    let plain: Vec<_> = open_all(&publisher, 20).await;
    let pass = |event: &EncodedEvent, out: &mut Output| out.pass(event);
    let mapped: Vec<_> = open_all(&publisher, 2).await.into_iter().map(|body| body.transform(pass)).collect();
    for n in 0..100 {
        send(&publisher, &A, &n.to_string()).await;
    }
    let mut last = Vec::new();
    for body in plain.into_iter().chain(mapped) {
        let mut stream = Box::pin(body);
        next(&mut stream).await;
        last.push(stream.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    let addresses: Vec<_> = last[19..].iter().map(|chunk| (chunk.as_ptr(), chunk.len())).collect();
    assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
}

async fn open_all(publisher: &Publisher, n: usize) -> Vec<SseBody> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(SseBody::new(open(publisher, &[A]).await));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_body_shows_the_channel_in_the_name_of_each_event() {
    let publisher = Publisher::new();
    for map in [false, true] {
        let body = SseBody::new(Subscription::open(&publisher, Grant::new([A, B])).await.unwrap()).show_channel(true);
        let body = match map {
            true => body.transform(|event: &EncodedEvent, out: &mut Output| {
                let mapped = Event::text(event.data());
                out.replace(
                    event,
                    match event.name() {
                        Some(name) => mapped.name(EventName::try_from(name).unwrap()),
                        None => mapped,
                    },
                );
            }),
            false => body,
        };
        let mut stream = Box::pin(body);
        let id = send(&publisher, &A, "1").await;
        publish(&publisher, &B, named("2", "update")).await;
        let (sent, _) = drain(&mut stream).await;
        assert!(sent.starts_with(&format!("{PREAMBLE}event: a:message\ndata: 1\nid: {id}\n\n")), "{sent}");
        let names: Vec<_> = events(&sent).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a:message", "b:update"]);
    }
}

// Strict

#[tokio::test(start_paused = true)]
async fn a_strict_body_ends_when_its_channels_are_finished_and_everything_was_sent() {
    let publisher = Publisher::new();
    let mut stream = Box::pin(SseBody::new(open(&publisher, &[A, B]).await).strict());
    send(&publisher, &A, "1").await;
    publisher.channel(A).finish(Event::text("2")).await.unwrap();
    let (sent, now) = drain(&mut stream).await;
    assert_eq!((data(&sent).len(), now), (2, Now::Waits));
    publisher.channel(B).finish(Event::text("3")).await.unwrap();
    let (sent, now) = drain(&mut stream).await;
    assert_eq!((data(&sent), now), (vec!["3".to_owned()], Now::Ends));
}

#[tokio::test(start_paused = true)]
async fn a_strict_body_that_is_complete_at_a_shutdown_ends_without_a_goodbye() {
    let publisher = Publisher::new();
    let mut stream = Box::pin(SseBody::new(open(&publisher, &[A]).await).strict());
    publisher.channel(A).finish(Event::text("all")).await.unwrap();
    publisher.shutdown(Duration::ZERO).await;
    let (sent, now) = drain(&mut stream).await;
    assert_eq!((data(&sent), now), (vec!["all".to_owned()], Now::Ends));
}

#[tokio::test(start_paused = true)]
async fn a_strict_body_breaks_off_when_its_stream_ends_early() {
    async fn ended(end: &str) -> (String, Now) {
        let publisher = Publisher::new();
        let ana = ClientId::from_static("ana");
        let grant = || Grant::new([A]).client(ana.clone());
        let options = OpenOptions::new().duplicates(Duplicates::Replace);
        let expiring = if end == "expired" { grant().expires_in(SECOND / 2) } else { grant() };
        let subscription = options.open(&publisher, expiring, None).await.unwrap();
        let mut stream = Box::pin(SseBody::new(subscription).strict());
        send(&publisher, &A, "1").await;
        let mut newer = None;
        match end {
            "shutdown" => _ = publisher.shutdown(Duration::ZERO).await,
            "disconnected" => _ = publisher.disconnect(ana).await.unwrap(),
            "closed" => _ = publisher.channel(A).close().await.unwrap(),
            "replaced" => newer = Some(options.open(&publisher, grant(), None).await.unwrap()),
            _ => {}
        }
        let all = drain(&mut stream).await;
        drop(newer);
        all
    }
    for end in ["shutdown", "disconnected", "closed", "replaced", "expired"] {
        let (sent, now) = ended(end).await;
        assert!(!sent.contains("goodbye") && sent.matches("retry:").count() == 1, "{end}: {sent}");
        assert_eq!(now, Now::BreaksOff(format!("the stream is not complete: it was ended ({end})")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_strict_body_breaks_off_at_a_gap_and_a_lag() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    let first = send(&publisher, &A, "0").await.to_string();
    let mut lagging = Box::pin(SseBody::new(open(&publisher, &[A]).await).strict());
    let (sent, now) = drain(&mut lagging).await;
    assert_eq!((data(&sent), now), (vec!["0".to_owned()], Now::Waits));
    for n in 1..5 {
        send(&publisher, &A, &n.to_string()).await;
    }
    let (sent, now) = drain(&mut lagging).await;
    assert_eq!(
        (sent.as_str(), now),
        ("", Now::BreaksOff("the stream is not complete: events may be lost (lagged)".into()))
    );

    let resumed = OpenOptions::new().open(&publisher, Grant::new([A]), Some(first.as_bytes())).await.unwrap();
    let mut late = Box::pin(SseBody::new(resumed).strict());
    assert_eq!(next(&mut late).await, Now::Sends(PREAMBLE.into()));
    let error = late.frame().await.unwrap().unwrap_err();
    let incomplete = error.downcast_ref::<Incomplete>().unwrap();
    assert_eq!(incomplete.as_gap().unwrap().reason, GapReason::Evicted);
    assert_eq!(incomplete.end_reason(), None);
    assert!(late.frame().await.is_none(), "it is over");
    assert_eq!(publisher.connections(), 0);
}

/// A server sends what it has when a body is pending, and drops it when the body fails.
#[tokio::test(start_paused = true)]
async fn a_strict_body_is_pending_once_before_it_breaks_off() {
    let publisher = Publisher::new();
    let mut stream = Box::pin(SseBody::new(open(&publisher, &[A]).await).strict());
    next(&mut stream).await;
    send(&publisher, &A, "1").await;
    publisher.channel(A).close().await.unwrap();
    assert!(matches!(next(&mut stream).await, Now::BreaksOff(_)));
    let mut stream = Box::pin(SseBody::new(open(&publisher, &[A]).await).strict());
    next(&mut stream).await;
    publisher.channel(A).close().await.unwrap();
    assert!(stream.frame().now_or_never().is_none());
    assert!(stream.frame().now_or_never().unwrap().unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_transform_can_make_a_strict_end_complete() {
    struct Forgive;
    impl Transform for Forgive {
        fn events(&mut self, events: &[EncodedEvent], out: &mut Output) {
            events.iter().for_each(|event| out.pass(event));
        }
        fn end(&mut self, _: EndReason, out: &mut Output) {
            out.send(named("try again", "error"));
            out.notice();
            out.finish();
        }
    }
    let publisher = Publisher::new();
    let mut stream = Box::pin(SseBody::new(open(&publisher, &[A]).await).strict().transform(Forgive));
    publisher.shutdown(Duration::ZERO).await;
    let (sent, now) = drain(&mut stream).await;
    assert_eq!((sent.strip_prefix(PREAMBLE), now), (Some("event: error\ndata: try again\n\n"), Now::Ends));
}

// Closed after a time

#[tokio::test(start_paused = true)]
async fn an_answer_is_closed_after_its_time_and_the_stream_goes_on() {
    let publisher = Publisher::new();
    let begin = Instant::now();
    let subscription = Subscription::open(&publisher, Grant::new([A])).await.unwrap();
    let body = SseBody::new(subscription).close_after(20 * SECOND).announce_cursor(true);
    let mut stream = Box::pin(body);
    let Now::Sends(first) = next(&mut stream).await else { panic!("the first bytes") };
    let start = events(&first)[0].2.clone();
    tokio::time::sleep(10 * SECOND).await;
    let id = send(&publisher, &A, "1").await.to_string();
    let (sent, _) = drain(&mut stream).await;
    assert_eq!(events(&sent), [(String::new(), "1".into(), id.clone())]);
    while let Some(frame) = stream.frame().await {
        assert_eq!(frame.unwrap().into_data().unwrap(), ":\n");
    }
    let took = begin.elapsed();
    assert!((20 * SECOND..21 * SECOND).contains(&took), "{took:?}");
    assert_eq!(publisher.connections(), 0);
    let second = send(&publisher, &A, "2").await.to_string();
    for (id, expected) in [(start, &["1", "2"][..]), (id, &["2"]), (second, &[])] {
        let resumed = OpenOptions::new().open(&publisher, Grant::new([A]), Some(id.as_bytes())).await.unwrap();
        let (sent, now) = drain(&mut Box::pin(SseBody::new(resumed).close_after(Duration::ZERO))).await;
        assert_eq!((data(&sent), now), (expected.iter().map(ToString::to_string).collect(), Now::Ends));
    }
}

/// Without it, a client whose answer is closed would not know where to go on.
#[tokio::test(start_paused = true)]
async fn the_position_is_announced_before_an_ephemeral_event() {
    let publisher = Publisher::new();
    for map in [false, true] {
        let subscription = Subscription::open(&publisher, Grant::new([A])).await.unwrap();
        let start = subscription.cursor().to_string();
        publisher.channel(A).send(Event::text("typing").ephemeral()).await.unwrap();
        let body = SseBody::new(subscription).announce_cursor(true);
        let mut stream = Box::pin(if map { body.filter(|_| true) } else { body });
        let Now::Sends(first) = next(&mut stream).await else { panic!("the first bytes") };
        let announced = ("cursor".into(), String::new(), start);
        assert_eq!(events(&first), [announced, (String::new(), "typing".into(), String::new())]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_due_brings_the_next_chunk_and_ends_although_more_comes() {
    let publisher = Publisher::builder().retention(Retention::new().events(usize::MAX)).build();
    let text = "x".repeat(1_000);
    for _ in 0..100 {
        send(&publisher, &A, &text).await;
    }
    for map in [false, true] {
        let body = SseBody::new(open(&publisher, &[A]).await).close_after(Duration::ZERO);
        let mut stream = Box::pin(if map { body.filter(|_| true) } else { body });
        let (sent, now) = drain(&mut stream).await;
        let count = events(&sent).len();
        assert!((1..40).contains(&count), "{count} events in a chunk");
        assert!(sent.ends_with("\n\n"));
        assert_eq!(now, Now::Ends);
    }
}

/// It has no offset after which it could be read again.
#[tokio::test(start_paused = true)]
async fn an_ephemeral_event_that_does_not_fit_into_a_chunk_of_several_channels_comes_with_the_next() {
    let publisher = Publisher::new();
    let mut stream = Box::pin(SseBody::new(open(&publisher, &[A, B]).await));
    send(&publisher, &A, &"x".repeat(40_000)).await;
    publish(&publisher, &A, Event::text("typing").ephemeral()).await;
    let (sent, _) = drain(&mut stream).await;
    assert_eq!(data(&sent).last().unwrap(), "typing");
}
