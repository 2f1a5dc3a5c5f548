//! What holds for every backend, in process or not.

use std::time::Duration;

use tower_sse::{
    ClientId, CustomId, Delivery, EndReason, Event, GapReason, IdempotencyKey, OpenOptions, PublishError, Publisher,
    PublisherBuilder, Retention, Sent, Start,
};

use crate::{
    common::{self, Random},
    reader::*,
    store::{Store, defaults},
};

fn three_events(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().events(3))
}

fn five_hundred_bytes(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().bytes(500))
}

fn short_lived(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().age(Duration::from_secs(1)))
}

pub async fn readers_on_every_node_see_one_order(store: impl Store) {
    let nodes: [_; 3] = store.nodes(defaults);
    let channels = ["a", "b", "c"];
    let mut readers = Vec::new();
    for node in &nodes {
        readers.push(live(node, &channels, "ana").await);
    }
    let mut sent = Vec::new();
    for n in 0..60 {
        match n % 5 {
            0 => send_to(&nodes[n % 3], channels[n % 3], "ana", n).await,
            1 => send_to(&nodes[n % 3], channels[n % 3], "bo", "not for ana").await,
            _ => send(&nodes[n % 3], channels[(n + 1) % 3], n).await,
        };
        if n % 5 != 1 {
            sent.push(n.to_string());
        }
    }
    for reader in &mut readers {
        assert_eq!(reader.texts(sent.len()).await, sent);
    }
}

pub async fn the_readers_of_a_node_share_an_events_bytes(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut readers = [live(&one, &["a"], "ana").await, live(&one, &["a"], "ana").await];
    for n in 0..10 {
        match n % 2 {
            0 => send(&other, "a", n).await,
            _ => send_to(&other, "a", "ana", n).await,
        };
        let mut events = Vec::new();
        for reader in &mut readers {
            let Some(Delivery::Event(event)) = reader.next().await else { panic!("no event") };
            assert_eq!(event.data(), n.to_string());
            events.push(event);
        }
        assert_eq!(events[0].as_bytes().as_ptr(), events[1].as_bytes().as_ptr());
    }
}

pub async fn one_cursor_resumes_any_set_of_channels_on_any_node(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&one, &["a"], "").await;
    for n in 0..12 {
        send(&one, ["a", "b", "c"][n % 3], n).await;
    }
    assert_eq!(reader.texts(2).await, ["0", "3"]);
    // It has read up to event 3, so it resumes with what comes after that on any channel.
    let mut reader = resume(&other, &["b", "c", "a"], "", &reader.id()).await;
    assert_eq!(reader.texts(3).await, ["4", "5", "6"]);
    let mut reader = resume(&one, &["c", "d"], "", &reader.id()).await;
    assert_eq!(reader.texts(2).await, ["8", "11"]);
    reader.nothing_before(&other, "d").await;
}

pub async fn a_reader_that_hops_between_nodes_gets_everything_once(store: impl Store) {
    const EVENTS: usize = 400;
    let nodes: [_; 3] = store.nodes(defaults);
    let publisher = nodes[0].clone();
    let first = live(&nodes[1], &["a", "b"], "").await;
    let publishing = tokio::spawn(async move {
        for n in 0..EVENTS {
            send(&publisher, ["a", "b"][n % 2], n).await;
            if n % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let (mut reader, mut random, mut got) = (first, Random(7), Vec::new());
    while got.len() < EVENTS {
        for _ in 0..=random.below(20).min((EVENTS - got.len()) as u64 - 1) {
            got.push(reader.text().await);
        }
        let id = reader.id();
        drop(reader);
        reader = resume(&nodes[random.below(3) as usize], &["a", "b"], "", &id).await;
    }
    publishing.await.unwrap();
    assert_eq!(got, (0..EVENTS).map(|n| n.to_string()).collect::<Vec<_>>());
    reader.nothing_before(&nodes[2], "b").await;
}

pub async fn publishers_on_all_nodes_at_once_are_in_one_order(store: impl Store) {
    const EACH: usize = 100;
    let nodes: [_; 3] = store.nodes(defaults);
    let mut readers = Vec::new();
    for node in &nodes {
        readers.push(live(node, &["a", "b"], "").await);
    }
    let publishing: Vec<_> = (0..6)
        .map(|publisher| {
            let node = nodes[publisher % 3].clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    send(&node, ["a", "b"][(n + publisher) % 2], format!("{publisher} {n}")).await;
                }
            })
        })
        .collect();
    for task in publishing {
        task.await.unwrap();
    }
    let order = readers[0].texts(6 * EACH).await;
    for publisher in 0..6 {
        let own: Vec<_> = order.iter().filter_map(|text| text.strip_prefix(&format!("{publisher} "))).collect();
        assert_eq!(own, (0..EACH).map(|n| n.to_string()).collect::<Vec<_>>(), "each is in its own order");
    }
    for reader in &mut readers[1..] {
        assert_eq!(reader.texts(6 * EACH).await, order);
    }
}

pub async fn a_live_reader_starts_after_every_acknowledged_event(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    // Both nodes watch the channel already.
    let _kept = [live(&one, &["a"], "").await, live(&other, &["a"], "").await];
    for n in 0..50 {
        send(&one, "a", "before").await;
        let mut reader = live(&one, &["a"], "").await;
        send(&other, "a", n).await;
        assert_eq!(reader.text().await, n.to_string());
    }
    let mut last = try_open(&other, OpenOptions::new().start(Start::Last(2)), &["a"], "", None).await.unwrap();
    assert_eq!(last.texts(2).await, ["before", "49"]);
}

pub async fn eviction_by_count_is_a_gap_for_affected_readers(store: impl Store) {
    let [one, other, late] = store.nodes(three_events);
    let first = send(&one, "a", 1).await;
    send_to(&one, "a", "ana", 2).await;
    let third = send(&one, "a", 3).await;
    for n in 4..=6 {
        send(&other, "a", n).await;
    }
    for node in [&one, &other, &late] {
        let mut reader = resume(node, &["a"], "", &first).await;
        let gap = reader.gap(GapReason::Evicted).await;
        assert_eq!(gap.first.map(|first| first.get()), Some(common::offset(&third) + 1));
        assert_eq!(reader.texts(3).await, ["4", "5", "6"]);
        // It missed nothing.
        let mut reader = resume(node, &["a"], "", &third).await;
        assert_eq!(reader.texts(3).await, ["4", "5", "6"]);
        // Every client knows the third event, and the second was not for this one.
        let mut bo = resume(node, &["a"], "bo", &third).await;
        assert_eq!(bo.text().await, "4");
    }
    // The only event evicted after the first of these was for ana.
    let first = send(&one, "b", 1).await;
    send_to(&one, "b", "ana", 2).await;
    for n in 3..=5 {
        send(&other, "b", n).await;
    }
    for node in [&late, &one] {
        let mut ana = resume(node, &["b"], "ana", &first).await;
        ana.gap(GapReason::Evicted).await;
        let mut bo = resume(node, &["b"], "bo", &first).await;
        assert_eq!((ana.text().await, bo.text().await), ("3".into(), "3".into()));
    }
}

pub async fn eviction_by_bytes_is_a_gap_for_affected_readers(store: impl Store) {
    let [one, other, late] = store.nodes(five_hundred_bytes);
    let first = send(&one, "a", "x").await;
    let large = send(&one, "a", "y".repeat(300)).await;
    let mut reader = resume(&other, &["a"], "", &first).await;
    assert_eq!(reader.text().await.len(), 300, "nothing after it is gone");
    send_to(&one, "a", "ana", "z".repeat(400)).await;
    // The other node may still have the large event.
    let mut reader = resume(&late, &["a"], "", &first).await;
    reader.gap(GapReason::Evicted).await;
    let mut ana = resume(&late, &["a"], "ana", &large).await;
    assert_eq!(ana.text().await.len(), 400, "the newest is held, however large");
}

pub async fn eviction_by_age_is_a_gap_for_affected_readers(store: impl Store) {
    let [one, other] = store.nodes(short_lived);
    let first = send(&one, "a", 1).await;
    let second = send_to(&one, "a", "ana", 2).await;
    // A reader that resumes gets the second event until it is too old.
    eventually(async || resume(&other, &["a"], "ana", &first).await.text().await != "2").await;
    let mut gapped = resume(&other, &["a"], "ana", &first).await;
    gapped.gap(GapReason::Evicted).await;
    let bo = resume(&other, &["a"], "bo", &first).await;
    let ana = resume(&one, &["a"], "ana", &second).await;
    send(&one, "a", 3).await;
    // The second event was not for one of them, and the other had it.
    for mut reader in [gapped, bo, ana] {
        assert_eq!(reader.text().await, "3");
    }
}

pub async fn targeted_events_are_private_live_and_in_replay(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut live_ana = live(&other, &["a"], "ana").await;
    let mut live_bo = live(&other, &["a"], "bo").await;
    let start = send(&one, "a", "start").await;
    send_to(&one, "a", "ana", "for ana").await;
    send_to(&one, "a", "bo", "for bo").await;
    let private = CustomId::from_static("secret");
    one.channel("a").send_to("ana", Event::text("for ana too").id(private)).await.unwrap();
    send(&one, "a", "end").await;
    let expected = |client: &str| match client {
        "ana" => vec!["for ana", "for ana too", "end"],
        "bo" => vec!["for bo", "end"],
        _ => vec!["end"],
    };
    for (reader, client) in [(&mut live_ana, "ana"), (&mut live_bo, "bo")] {
        assert_eq!(reader.text().await, "start");
        assert_eq!(reader.until("end").await, expected(client));
    }
    drop((live_ana, live_bo));
    for node in [&one, &other] {
        for client in ["ana", "bo", "cid", ""] {
            let mut reader = resume(node, &["a"], client, &start).await;
            assert_eq!(reader.until("end").await, expected(client));
        }
    }
    // Nobody learns whether an id of another client's event is held.
    let mut bo = resume(&other, &["a"], "bo", "secret").await;
    bo.gap(GapReason::UnknownId).await;
}

pub async fn custom_ids_resume_anywhere_and_are_unique_while_held(store: impl Store) {
    let [one, other] = store.nodes(three_events);
    let event = |text: &str, id: &'static str| Event::text(text).id(CustomId::from_static(id));
    assert_eq!(one.channel("a").send(event("1", "first")).await.unwrap().id.to_string(), "first");
    assert!(other.channel("a").send(event("2", "first")).await.unwrap_err().is_duplicate_id());
    let mut reader = resume(&other, &["a"], "bo", "first").await;
    reader.nothing_before(&one, "a").await;
    for n in 3..=5 {
        send(&one, "a", n).await;
    }
    other.channel("a").send(event("6", "first")).await.unwrap();
    let mut reader = resume(&one, &["a"], "", "first").await;
    reader.nothing_before(&other, "a").await;
}

pub async fn a_custom_id_is_unique_among_what_a_reader_sees(store: impl Store) {
    let [one, other] = store.nodes(three_events);
    let event = || Event::text("x").id(CustomId::from_static("x"));
    let is_refused = |sent: Result<Sent, PublishError>| sent.is_err_and(|error| error.is_duplicate_id());
    for _ in 0..2 {
        // A broadcast, and an event for anybody: whoever gets that gets both.
        one.channel("a").send(event()).await.unwrap();
        assert!(is_refused(other.channel("a").send_to("ana", event()).await));
        for n in 0..3 {
            send(&one, "a", n).await;
        }
        // Clients may share it. A broadcast may not, as long as one of their events is held.
        one.channel("a").send_to("ana", event()).await.unwrap();
        send(&one, "a", "between").await;
        other.channel("a").send_to("bo", event()).await.unwrap();
        assert!(is_refused(one.channel("a").send_to("bo", event()).await));
        for n in 0..3 {
            assert!(is_refused(other.channel("a").send(event()).await), "{n} after the last");
            send(&one, "a", n).await;
        }
    }
    one.channel("a").send(event()).await.unwrap();
}

pub async fn a_repeated_publish_is_answered_with_the_first_id(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let event = |id: Option<&'static str>| {
        let event = Event::text("x").idempotency_key(IdempotencyKey::from_static("once"));
        id.map_or(event.clone(), |id| event.id(CustomId::from_static(id)))
    };
    for (channel, first) in [("a", Some("first")), ("b", None)] {
        let sent = one.channel(channel).send(event(first)).await.unwrap();
        for again in [None, Some("first"), Some("second")] {
            let again = other.channel(channel).send(event(again)).await.unwrap();
            assert_eq!((again.repeated, &again.id), (true, &sent.id));
        }
        let mut reader = resume(&other, &[channel], "", &sent.id.to_string()).await;
        reader.nothing_before(&one, channel).await;
    }
}

pub async fn an_unknown_id_is_a_gap(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let id = send(&one, "a", 1).await;
    let beyond = common::with_offset(&id, common::offset(&id) + 1_000);
    for (id, reason) in [
        (beyond.as_str(), GapReason::UnknownId),
        ("no-id", GapReason::UnknownId),
        ("\u{fffd}", GapReason::UnknownId),
        ("000000000001-1", GapReason::OtherEpoch),
    ] {
        let mut reader = resume(&other, &["a"], "", id).await;
        assert_eq!(reader.gap(reason).await.requested.as_deref(), Some(id));
        assert_eq!(reader.text().await, "1");
    }
}

pub async fn a_finished_channel_ends_everywhere(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&other, &["a"], "").await;
    let first = send(&one, "a", 1).await;
    let last = one.channel("a").finish(Event::text("2")).await.unwrap().id.to_string();
    assert!(other.channel("a").send(Event::text("3")).await.unwrap_err().is_finished());
    assert_eq!(reader.texts(2).await, ["1", "2"]);
    assert!(reader.next().await.is_none());
    assert_eq!(reader.subscription.end_reason(), Some(EndReason::Finished));
    drop(reader);
    for node in [&one, &other] {
        let over = try_open(node, OpenOptions::new(), &["a"], "", Some(&last)).await;
        assert!(over.err().unwrap().is_over());
        let mut rest = resume(node, &["a"], "", &first).await;
        assert_eq!(rest.text().await, "2");
        assert!(rest.next().await.is_none());
    }
}

pub async fn a_closed_channel_ends_everywhere_and_can_be_used_again(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&other, &["a", "b"], "").await;
    let first = send(&one, "a", 1).await;
    one.channel("a").finish(Event::text("2")).await.unwrap();
    assert_eq!(reader.texts(2).await, ["1", "2"]);
    one.channel("a").close().await.unwrap();
    assert!(reader.next().await.is_none());
    assert_eq!(reader.subscription.end_reason(), Some(EndReason::Closed));
    drop(reader);
    send(&other, "a", 3).await;
    let mut reader = resume(&other, &["a"], "", &first).await;
    reader.gap(GapReason::Evicted).await;
    assert_eq!(reader.text().await, "3");
}

/// Closes a channel, and returns once both nodes know.
async fn close_for(nodes: [&Publisher; 2], channel: &str) {
    let [mut one, mut other] = [live(nodes[0], &[channel], "").await, live(nodes[1], &[channel], "").await];
    nodes[0].channel(channel).close().await.unwrap();
    for reader in [&mut one, &mut other] {
        // An event that another node has acknowledged may still have been on its way when the reader opened.
        while let Some(Delivery::Event(_)) = reader.next().await {}
        assert_eq!(reader.subscription.end_reason(), Some(EndReason::Closed));
    }
}

pub async fn a_reader_that_reconnects_before_its_first_event_gets_no_gap(store: impl Store) {
    let [one, other] = store.nodes(three_events);
    let mut kept = live(&one, &["a", "b"], "").await;
    for n in 0..5 {
        send(&one, "a", n).await;
        assert_eq!(kept.text().await, n.to_string());
    }
    close_for([&one, &other], "a").await;
    // The events that are gone were published before they opened.
    for node in [&one, &other] {
        for channels in [&["a"][..], &["a", "b"], &["b"]] {
            for start in [Start::Live, Start::Earliest, Start::Last(1)] {
                for again in [&one, &other] {
                    let fresh = try_open(node, OpenOptions::new().start(start), channels, "", None).await.unwrap();
                    let id = fresh.id();
                    drop(fresh);
                    let mut back = resume(again, channels, "", &id).await;
                    back.nothing_before(&other, channels[0]).await;
                    close_for([&one, &other], channels[0]).await;
                }
            }
        }
    }
}

pub async fn a_repeated_publish_changes_nothing(store: impl Store) {
    let [one, other] = store.nodes(three_events);
    let event = |text: &str| Event::text(text).idempotency_key(IdempotencyKey::from_static("once"));
    let mut reader = live(&other, &["a", "b"], "").await;
    let first = one.channel("a").send(event("1")).await.unwrap();
    let again = other.channel("a").send(event("1")).await.unwrap();
    assert!(!first.repeated && again.repeated && again.id == first.id);
    assert!(!one.channel("b").send(event("2")).await.unwrap().repeated, "another channel");
    assert_eq!(reader.texts(2).await, ["1", "2"]);
    // Even when it is evicted, or the channel finished, the event was published once.
    for n in 3..=6 {
        send(&one, "a", n).await;
        assert_eq!(reader.text().await, n.to_string());
    }
    let last = Event::text("7").idempotency_key(IdempotencyKey::from_static("last"));
    let finished = one.channel("a").finish(last.clone()).await.unwrap();
    assert_eq!(other.channel("a").finish(last).await.unwrap().id, finished.id);
    assert_eq!(other.channel("a").send(event("1")).await.unwrap().id, first.id);
    assert_eq!(reader.text().await, "7");
    reader.nothing_before(&one, "b").await;
}

pub async fn a_node_says_how_many_it_reached(store: impl Store) {
    let node = store.node(defaults);
    let _readers = [live(&node, &["a", "b"], "").await, live(&node, &["a"], "ana").await];
    let _others = [live(&node, &["a"], "bo").await, live(&node, &["a"], "bo").await];
    let (a, key) = (node.channel("a"), IdempotencyKey::from_static("once"));
    let event = || Event::text("x").idempotency_key(key.clone());
    assert_eq!(a.send(event()).await.unwrap().reached, 4);
    assert_eq!(a.send(event()).await.unwrap().reached, 0, "it was before");
    assert_eq!(a.send_to("bo", Event::text("x")).await.unwrap().reached, 2);
    assert_eq!(a.send_to("cyd", Event::text("x")).await.unwrap().reached, 0);
    assert_eq!(node.channel("c").send(Event::text("x")).await.unwrap().reached, 0);
    assert_eq!(node.stats().published, 4);
    assert_eq!(a.close().await.unwrap(), 4);
}

pub async fn repeated_publishes_on_all_nodes_at_once_are_one(store: impl Store) {
    let nodes: [_; 3] = store.nodes(defaults);
    let mut reader = live(&nodes[0], &["a"], "").await;
    for round in 0..20 {
        let tries: Vec<_> = (0..9)
            .map(|n| {
                let node = nodes[n % 3].clone();
                let key = IdempotencyKey::try_from(format!("round {round}")).unwrap();
                tokio::spawn(async move {
                    node.channel("a").send(Event::text(round.to_string()).idempotency_key(key)).await.unwrap()
                })
            })
            .collect();
        let mut sent = Vec::new();
        for task in tries {
            sent.push(task.await.unwrap());
        }
        assert_eq!(sent.iter().filter(|sent| !sent.repeated).count(), 1);
        assert!(sent.iter().all(|other| other.id == sent[0].id));
        assert_eq!(reader.text().await, round.to_string());
    }
    reader.nothing_before(&nodes[1], "a").await;
}

pub async fn every_node_sees_who_is_connected_anywhere(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let ana = ClientId::from_static("ana");
    let readers =
        [live(&one, &["a"], "ana").await, live(&other, &["a", "b"], "ana").await, live(&other, &["a"], "").await];
    let present = async |channel: &str| {
        let mut present = one.channel(channel).presence().await.unwrap();
        present.sort();
        present
    };
    eventually(async || {
        present("a").await == [(None, 1), (Some(ana.clone()), 2)] && present("b").await == [(Some(ana.clone()), 1)]
    })
    .await;
    drop(readers);
    eventually(async || present("a").await.is_empty() && present("b").await.is_empty()).await;
}
