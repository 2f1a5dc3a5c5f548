//! Ephemeral events, events that exclude readers, and retention that knows the lag and the end: for every backend.

use std::time::Duration;

use tower_sse::{
    ClientId, ConnectionId, CustomId, Delivery, EndReason, Event, GapReason, OpenOptions, Publisher, PublisherBuilder,
    Retention, Sent, Start, TraceParent,
};

use crate::{
    common,
    reader::*,
    store::{Store, defaults},
};

const ANA: ClientId = ClientId::from_static("ana");
const TAB: ConnectionId = ConnectionId::from_static("tab 1");

async fn publish(node: &Publisher, channel: &str, event: Event) -> Sent {
    node.channel(channel).send(event).await.unwrap()
}

async fn pass(node: &Publisher, channel: &str, text: impl ToString) -> Sent {
    publish(node, channel, Event::text(text.to_string()).ephemeral()).await
}

fn earliest() -> OpenOptions {
    OpenOptions::new().start(Start::Earliest)
}

async fn under_tab(node: &Publisher, channels: &[&str], client: &str, id: Option<&str>) -> Reader {
    try_open(node, earliest().connection(TAB), channels, client, id).await.unwrap()
}

pub async fn ephemeral_events_reach_the_readers_of_every_node_in_publish_order(store: impl Store) {
    let nodes: [_; 2] = store.nodes(defaults);
    let mut readers = Vec::new();
    for node in &nodes {
        readers.push(live(node, &["a"], "").await);
        readers.push(live(node, &["a", "b"], "").await);
    }
    for n in 0..60 {
        match n % 3 {
            0 => send(&nodes[n % 2], "a", n).await,
            _ => pass(&nodes[n % 2], "a", n).await.id.to_string(),
        };
        // At a pace at which they are level now and then.
        if n % 20 == 19 {
            for reader in &mut readers {
                assert_eq!(reader.texts(20).await, (n - 19..=n).map(|n| n.to_string()).collect::<Vec<_>>());
            }
        }
    }
}

pub async fn an_ephemeral_event_is_no_history_and_has_no_id(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&other, &["a"], "").await;
    let before = send(&one, "a", "before").await;
    assert_eq!(reader.text().await, "before");
    pass(&one, "a", "now").await;
    let Some(Delivery::Event(event)) = reader.next().await else { panic!("no event") };
    assert_eq!((event.data().as_str(), &event.as_bytes()[..]), ("now", &b"data: now\n\n"[..]));
    assert!(event.is_ephemeral());
    assert_eq!((event.id().to_string(), reader.id()), (before.clone(), before.clone()), "it is where its reader is");
    let after = send(&one, "a", "after").await;
    assert_eq!(common::offset(&after), common::offset(&before) + 1);
    for node in [&one, &other] {
        assert_eq!(resume(node, &["a"], "", &before).await.text().await, "after");
        assert_eq!(try_open(node, earliest(), &["a"], "", None).await.unwrap().texts(2).await, ["before", "after"]);
    }
    assert_eq!(reader.text().await, "after");
}

pub async fn an_ephemeral_event_reaches_nobody_that_it_is_not_for(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut readers = Vec::new();
    for (client, is_under) in [("ana", false), ("bo", false), ("", false), ("", true)] {
        let options = if is_under { OpenOptions::new().connection(TAB) } else { OpenOptions::new() };
        readers.push(try_open(&other, options, &["a"], client, None).await.unwrap());
    }
    one.channel("a").send_to("ana", Event::text("for ana").ephemeral()).await.unwrap();
    publish(&one, "a", Event::text("not for ana").ephemeral().except(ANA)).await;
    publish(&one, "a", Event::text("not for the tab").ephemeral().except_connection(TAB)).await;
    send(&one, "a", "end").await;
    let expected = [
        &["for ana", "not for the tab"][..],
        &["not for ana", "not for the tab"],
        &["not for ana", "not for the tab"],
        &["not for ana"],
    ];
    for (mut reader, expected) in readers.into_iter().zip(expected) {
        assert_eq!(reader.until("end").await, [expected, &["end"]].concat());
    }
}

pub async fn an_event_reaches_nobody_that_it_excludes_live_and_in_replay(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let start = send(&one, "a", "start").await;
    let mut live = Vec::new();
    for channels in [&["a"][..], &["b", "a"]] {
        live.push((1, resume(&other, channels, "ana", &start).await));
        live.push((2, resume(&other, channels, "bo", &start).await));
        live.push((3, under_tab(&other, channels, "bo", Some(&start)).await));
    }
    publish(&one, "a", Event::text("1").except(ANA)).await;
    publish(&other, "a", Event::text("3").except_connection(TAB)).await;
    one.channel("a").send_to("bo", Event::text("3 of bo").except_connection(TAB)).await.unwrap();
    publish(&one, "a", Event::text("both").except(ANA).except_connection(TAB)).await;
    send(&one, "a", "end").await;
    let expected = |who: usize| match who {
        1 => vec!["3", "end"],
        2 => vec!["1", "3", "3 of bo", "both", "end"],
        _ => vec!["1", "end"],
    };
    for (who, mut reader) in live {
        assert_eq!(reader.until("end").await, expected(who));
    }
    for node in [&one, &other] {
        assert_eq!(resume(node, &["a"], "ana", &start).await.until("end").await, expected(1));
        assert_eq!(resume(node, &["a"], "bo", &start).await.until("end").await, expected(2));
        assert_eq!(under_tab(node, &["a"], "bo", Some(&start)).await.until("end").await, expected(3));
    }
}

pub async fn what_excludes_a_reader_and_is_evicted_is_no_gap_for_it(store: impl Store) {
    let [one, other] = store.nodes(|builder| builder.retention(Retention::new().events(3)));
    let mut ana = live(&other, &["a"], "ana").await;
    let start = send(&one, "a", "start").await;
    assert_eq!(ana.text().await, "start");
    let mut bo = resume(&other, &["a"], "bo", &start).await;
    for n in 0..10 {
        publish(&one, "a", Event::text(n.to_string()).except(ANA)).await;
        assert_eq!(bo.text().await, n.to_string());
    }
    // On a node where somebody reads.
    let mut resumed = resume(&other, &["a"], "ana", &start).await;
    send(&one, "a", "end").await;
    assert_eq!((ana.text().await, resumed.text().await), ("end".into(), "end".into()));
    assert_eq!(other.stats().gaps, 0);
}

fn no_history(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().events(0).lag(50))
}

fn little_history(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().events(2).lag(50))
}

pub async fn a_channel_without_history_loses_nothing_for_connected_readers(store: impl Store) {
    let [one, other] = store.nodes(no_history);
    let mut readers = [live(&one, &["a"], "").await, live(&other, &["a", "b"], "").await];
    for n in 0..50 {
        send(&one, "a", n).await;
    }
    for reader in &mut readers {
        assert_eq!(reader.texts(50).await, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    }
    for node in [&one, &other] {
        let mut fresh = try_open(node, earliest(), &["a"], "", None).await.unwrap();
        fresh.nothing_before(&one, "a").await;
    }
}

pub async fn a_reader_that_comes_later_gets_only_the_history(store: impl Store) {
    let [one, other] = store.nodes(little_history);
    let mut reader = live(&one, &["a"], "").await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(send(&one, "a", n).await);
    }
    assert_eq!(reader.texts(6).await.concat(), "012345");
    for node in [&one, &other] {
        let fresh = try_open(node, earliest(), &["a"], "", None).await.unwrap();
        assert_eq!({ fresh }.texts(2).await.concat(), "45");
        assert_eq!(resume(node, &["a"], "", &ids[3]).await.texts(2).await.concat(), "45");
        let mut gapped = resume(node, &["a"], "", &ids[2]).await;
        gapped.gap(GapReason::Evicted).await;
        assert_eq!(gapped.texts(2).await.concat(), "45");
    }
}

fn run(builder: PublisherBuilder) -> PublisherBuilder {
    let age = Duration::from_secs(1);
    builder.retention(Retention::new().events(2).age(age).after_finish(2 * age))
}

pub async fn a_run_is_held_whole_until_some_time_after_its_end(store: impl Store) {
    let [one, other] = store.nodes(run);
    let texts: Vec<_> = (0..5).map(|n| n.to_string()).collect();
    for text in &texts {
        send(&one, "a", text).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    for node in [&one, &other] {
        assert_eq!(try_open(node, earliest(), &["a"], "", None).await.unwrap().texts(5).await, texts);
    }
    one.channel("a").finish(Event::text("end")).await.unwrap();
    let mut late = try_open(&other, earliest(), &["a"], "", None).await.unwrap();
    assert_eq!(late.until("end").await.len(), 6);
    assert!(late.next().await.is_none() && late.subscription.end_reason() == Some(EndReason::Finished));
    // All of it goes together.
    eventually(async || match try_open(&other, earliest(), &["a"], "", None).await {
        Err(error) => error.is_over(),
        Ok(mut reader) => {
            // The events may be evicted while the reader opens. It then gets none of them.
            let first = reader.text().await;
            assert!(first.starts_with("gap") || reader.until("end").await.len() == 5);
            false
        }
    })
    .await;
}

pub async fn an_events_trace_reaches_every_node_live_and_in_replay(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let trace = TraceParent::new(1, 2, true).unwrap();
    let mut reader = live(&other, &["a"], "ana").await;
    let trace_of_next = async |reader: &mut Reader| match reader.next().await {
        Some(Delivery::Event(event)) => event.traceparent(),
        other => panic!("no event: {other:?}"),
    };
    let traced = |text: &str| Event::text(text).traceparent(trace);
    publish(&one, "a", traced("for all").id(CustomId::from_static("order-1"))).await;
    one.channel("a").send_to("ana", traced("for one")).await.unwrap();
    publish(&one, "a", traced("now").ephemeral()).await;
    publish(&one, "a", Event::text("without")).await;
    for expected in [Some(trace), Some(trace), Some(trace), None] {
        assert_eq!(trace_of_next(&mut reader).await, expected);
    }
    for node in [&one, &other] {
        let mut late = try_open(node, earliest(), &["a"], "ana", None).await.unwrap();
        for expected in [Some(trace), Some(trace), None] {
            assert_eq!(trace_of_next(&mut late).await, expected);
        }
        let page = node.channel("a").read(None, 9).await.unwrap();
        assert_eq!(page.events.iter().map(|event| event.traceparent()).collect::<Vec<_>>(), [Some(trace), None]);
    }
}
