//! What holds for every backend of writing with a condition, several events at once, and an end without an event.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tower_sse::{
    Batch, CustomId, EndReason, Event, GapReason, IdempotencyKey, Limits, OpenOptions, PublishError, PublisherBuilder,
    Retention,
};

use crate::{
    faults::faulty_node,
    reader::*,
    store::{Shared, Store, defaults},
};

fn texts<const N: usize>(texts: [&str; N]) -> [Event; N] {
    texts.map(Event::text)
}

fn event(text: &str, id: &'static str) -> Event {
    Event::text(text).id(CustomId::from_static(id))
}

fn keyed(text: &str, key: &'static str) -> Event {
    Event::text(text).idempotency_key(IdempotencyKey::from_static(key))
}

fn small_events(builder: PublisherBuilder) -> PublisherBuilder {
    builder.limits(Limits::new().event_bytes(100).batch_events(5))
}

fn three_events(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().events(3))
}

#[allow(dead_code, reason = "for virtual time")]
fn a_long_time(builder: PublisherBuilder) -> PublisherBuilder {
    builder.retention(Retention::new().age(Duration::from_secs(86_400)))
}

pub async fn events_sent_together_come_together_and_in_order(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut ana = live(&other, &["a", "b"], "ana").await;
    let mut bo = live(&one, &["a"], "bo").await;
    let before = send(&one, "a", "before").await;
    let batch = Batch::new()
        .event(Event::text("1"))
        .event_to("ana", Event::text("2 for ana"))
        .event(event("3", "three"))
        .event_to("bo", Event::text("4 for bo"));
    let sent = one.channel("a").send_all(batch).await.unwrap();
    send(&other, "a", "after").await;
    let offsets: Vec<_> = sent.iter().map(|sent| sent.cursor.offset.get()).collect();
    assert_eq!(offsets, (offsets[0]..offsets[0] + 4).collect::<Vec<_>>());
    assert_eq!((sent[0].id.cursor(), sent[2].id.to_string().as_str()), (Some(sent[0].cursor), "three"));
    assert!(sent.iter().all(|sent| !sent.repeated));
    assert_eq!(ana.texts(5).await, ["before", "1", "2 for ana", "3", "after"]);
    assert_eq!(bo.texts(5).await, ["before", "1", "3", "4 for bo", "after"]);
    for node in [&one, &other] {
        let mut ana = resume(node, &["a"], "ana", &before).await;
        assert_eq!(ana.texts(4).await, ["1", "2 for ana", "3", "after"]);
        // A reader may resume between them.
        let mut bo = resume(node, &["a"], "bo", "three").await;
        assert_eq!(bo.texts(2).await, ["4 for bo", "after"]);
    }
    assert!(one.channel("a").send_all(Batch::new()).await.unwrap().is_empty());
}

pub async fn events_sent_together_are_all_sent_or_none(store: impl Store) {
    let [one, other] = store.nodes(small_events);
    let mut reader = live(&other, &["a"], "ana").await;
    let (a, held) = (one.channel("a"), event("first", "held"));
    a.send(held.clone()).await.unwrap();
    let large = || Event::text("x".repeat(100));
    let refused = [
        (a.send_all([Event::text("x"), large()]).await, "is_too_large"),
        (a.send_all(texts(["x"; 6])).await, "is_too_large"),
        // Each may be sent, but not all together.
        (a.send_all([(); 5].map(|()| Event::text("x".repeat(65)))).await, "is_too_large"),
        (a.send_all([Event::text("x"), held]).await, "is_duplicate_id"),
        (a.send_all([event("x", "twice"), event("y", "twice")]).await, "is_duplicate_id"),
        (a.send_all(Batch::new().event_to("ana", event("x", "id")).event(event("y", "id"))).await, "is_duplicate_id"),
        (a.send_all(Batch::new().event(event("x", "id")).event_to("ana", event("y", "id"))).await, "is_duplicate_id"),
        (a.send_all(Batch::new().event(Event::text("x")).event_to("", Event::text("y"))).await, "is_invalid_text"),
        (a.send_all(Batch::from(texts(["x", "y"])).only_after(None)).await, "is_conflict"),
    ];
    for (n, (sent, why)) in refused.into_iter().enumerate() {
        let error = sent.unwrap_err();
        let is = match why {
            "is_too_large" => error.is_too_large(),
            "is_duplicate_id" => error.is_duplicate_id(),
            "is_conflict" => error.is_conflict(),
            _ => error.is_invalid_text(),
        };
        assert!(is, "{n}: {error} is not {why}");
    }
    assert_eq!(one.stats().publish_refused, 9);
    // Clients may share an id.
    a.send_all(Batch::new().event_to("ana", event("for ana", "id")).event_to("bo", event("for bo", "id")))
        .await
        .unwrap();
    a.send_all(Batch::from(texts(["last", "of all"])).finish()).await.unwrap();
    assert!(other.channel("a").send_all(texts(["x"])).await.unwrap_err().is_finished());
    assert_eq!(reader.texts(4).await, ["first", "for ana", "last", "of all"]);
    assert!(reader.next().await.is_none());
}

pub async fn a_batch_larger_than_the_history_leaves_its_newest_events(store: impl Store) {
    let [one, other] = store.nodes(three_events);
    let before = send(&one, "a", "before").await;
    let sent = one.channel("a").send_all(texts(["1", "2", "3", "4", "5"])).await.unwrap();
    let mut reader = resume(&other, &["a"], "", &before).await;
    let gap = reader.gap(GapReason::Evicted).await;
    assert_eq!(gap.first, Some(sent[2].cursor.offset));
    assert_eq!(reader.texts(3).await, ["3", "4", "5"]);
}

pub async fn an_event_that_was_sent_before_is_left_out_of_a_batch(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&other, &["a"], "").await;
    let first = one.channel("a").send(keyed("1", "one")).await.unwrap();
    let again = [keyed("1", "one"), keyed("2", "two"), keyed("2", "two"), Event::text("3")];
    let sent = other.channel("a").send_all(again.clone()).await.unwrap();
    assert_eq!(sent.iter().map(|sent| sent.repeated).collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!((sent[0].cursor, sent[2].cursor), (first.cursor, sent[1].cursor));
    assert_eq!(reader.texts(3).await, ["1", "2", "3"]);
    // A retry of what was done is answered, whatever became of the channel since.
    let all: Batch = again[..2].to_vec().into();
    one.channel("a").fence(9).end().await.unwrap();
    let sent = one.channel("a").fence(1).send_all(all.only_after(None).finish()).await.unwrap();
    assert!(sent.iter().all(|sent| sent.repeated && sent.reached == 0));
    assert!(reader.next().await.is_none());
}

pub async fn an_event_with_a_condition_is_sent_only_after_the_expected_one(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&other, &["a"], "").await;
    let (a, b) = (one.channel("a"), other.channel("a"));
    let is_conflict = |sent: Result<_, PublishError>, last| {
        let error = sent.map(|_: tower_sse::Sent| ()).unwrap_err();
        assert!(error.is_conflict() && error.last() == last, "{error}");
    };
    let first = a.send_if(None, Event::text("1")).await.unwrap().cursor;
    is_conflict(b.send_if(None, Event::text("x")).await, Some(first));
    let second = b.send_if(Some(first), Event::text("2")).await.unwrap().cursor;
    is_conflict(a.send_if(Some(first), Event::text("x")).await, Some(second));
    // Whomever the last one was for.
    let third = a.send_to("ana", Event::text("for ana")).await.unwrap().cursor;
    is_conflict(b.send_if(Some(second), Event::text("x")).await, Some(third));
    let fourth = b.send_if(Some(third), event("3", "three")).await.unwrap().cursor;
    let batch = Batch::from(texts(["4", "5", "6", "7"])).only_after(Some(fourth));
    let last = a.send_all(batch).await.unwrap()[3].cursor;
    assert_eq!(reader.texts(7).await, ["1", "2", "3", "4", "5", "6", "7"]);
    // A channel that was closed has no last event.
    a.close().await.unwrap();
    is_conflict(b.send_if(Some(last), Event::text("x")).await, None);
    b.send_if(None, Event::text("again")).await.unwrap();
    assert!(reader.next().await.is_none());
    drop(reader);
    let mut reader = resume(&one, &["a"], "", &last.to_string()).await;
    assert!(["gap: evicted", "again"].contains(&reader.text().await.as_str()));
}

pub async fn of_writers_that_expect_the_same_one_succeeds(store: impl Store) {
    let nodes: [_; 3] = store.nodes(defaults);
    let mut reader = live(&nodes[0], &["a"], "").await;
    let mut last = None;
    for round in 0..20 {
        let tries: Vec<_> = (0..9)
            .map(|n| {
                let channel = nodes[n % 3].channel("a");
                tokio::spawn(async move { channel.send_if(last, Event::text(format!("{round} {n}"))).await })
            })
            .collect();
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for (n, task) in tries.into_iter().enumerate() {
            match task.await.unwrap() {
                Ok(sent) => won.push((n, sent.cursor)),
                Err(error) => lost.push(error),
            }
        }
        let [(winner, cursor)] = won[..] else { panic!("{} succeeded", won.len()) };
        assert!(lost.iter().all(|error| error.is_conflict() && error.last() == Some(cursor)));
        assert_eq!(reader.text().await, format!("{round} {winner}"));
        last = Some(cursor);
    }
    reader.nothing_before(&nodes[1], "a").await;
}

pub async fn a_repeated_event_with_a_condition_does_not_conflict_with_itself(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let first = one.channel("a").send_if(None, keyed("1", "one")).await.unwrap();
    let again = other.channel("a").send_if(None, keyed("1", "one")).await.unwrap();
    assert_eq!((again.repeated, again.cursor), (true, first.cursor));
}

pub async fn an_old_fence_is_refused_on_every_node(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&other, &["a"], "").await;
    let (old, new) = (one.channel("a").fence(u64::MAX - 1), other.channel("a").fence(u64::MAX));
    let is_fenced = |error: PublishError| {
        assert!(error.is_fenced() && error.fence() == Some(u64::MAX), "{error}");
    };
    old.send(keyed("1", "one")).await.unwrap();
    old.send_to("ana", Event::text("for ana")).await.unwrap();
    // A refused append is none that the channel has seen.
    assert!(new.send_if(None, Event::text("x")).await.unwrap_err().is_conflict());
    old.send(Event::text("2")).await.unwrap();
    new.send(Event::text("3")).await.unwrap();
    for stale in [old, other.channel("a").fence(u64::MAX - 1)] {
        is_fenced(stale.send(Event::text("x")).await.unwrap_err());
        is_fenced(stale.send_to("ana", Event::text("x")).await.unwrap_err());
        is_fenced(stale.send_all(texts(["x", "y"])).await.unwrap_err());
        is_fenced(stale.send_if(None, Event::text("x")).await.unwrap_err());
        is_fenced(stale.finish(Event::text("x")).await.unwrap_err());
        is_fenced(stale.end().await.unwrap_err());
        // What it had sent before it had sent.
        assert!(stale.send(keyed("1", "one")).await.unwrap().repeated);
    }
    // A handle without a fence is not checked.
    one.channel("a").send(Event::text("4")).await.unwrap();
    new.send(Event::text("5")).await.unwrap();
    assert_eq!(reader.texts(5).await, ["1", "2", "3", "4", "5"]);
    one.channel("b").fence(0).send(Event::text("of another channel")).await.unwrap();
}

pub async fn a_fence_and_the_last_cursor_outlive_the_events_of_their_channel(store: impl Store) {
    fn brief(builder: PublisherBuilder) -> PublisherBuilder {
        builder.retention(Retention::new().age(Duration::from_millis(100)))
    }
    let [one, other] = store.nodes(brief);
    for (channel, finish) in [("a", false), ("b", true)] {
        let new = one.channel(channel).fence(7);
        let last = new.send(Event::text("x")).await.unwrap().cursor;
        if finish {
            new.end().await.unwrap();
        }
        let old = other.channel(channel).fence(6);
        tokio::time::sleep(Duration::from_millis(200)).await;
        // In process, publishing elsewhere sweeps the channels whose events are too old.
        for n in 0..100 {
            send(&one, "c", n).await;
        }
        assert_eq!(old.send(Event::text("x")).await.unwrap_err().fence(), Some(7));
        if !finish {
            // The same goes for its last event.
            assert!(new.send_if(None, Event::text("x")).await.unwrap_err().is_conflict());
            new.send_if(Some(last), Event::text("x")).await.unwrap();
        }
        new.close().await.unwrap();
        assert_eq!(old.send(Event::text("x")).await.unwrap_err().fence(), Some(7));
        new.send(Event::text("x")).await.unwrap();
    }
}

pub async fn a_channel_ends_without_an_event(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut readers = [live(&one, &["a"], "").await, live(&other, &["a"], "").await];
    let mut of_two = live(&other, &["a", "b"], "").await;
    let first = send(&one, "a", 1).await;
    one.channel("a").end().await.unwrap();
    // It may be repeated.
    other.channel("a").end().await.unwrap();
    assert!(other.channel("a").send(Event::text("2")).await.unwrap_err().is_finished());
    for reader in &mut readers {
        assert_eq!(reader.text().await, "1");
        assert!(reader.next().await.is_none());
        assert_eq!(reader.subscription.end_reason(), Some(EndReason::Finished));
    }
    drop(readers);
    send(&one, "b", 2).await;
    assert_eq!(of_two.texts(2).await, ["1", "2"]);
    for node in [&one, &other] {
        let over = try_open(node, OpenOptions::new(), &["a"], "", Some(&first)).await;
        assert!(over.err().unwrap().is_over());
    }
    // A channel of which nothing else is known.
    let mut reader = live(&one, &["c"], "").await;
    other.channel("c").end().await.unwrap();
    assert!(reader.next().await.is_none());
    assert_eq!(reader.subscription.end_reason(), Some(EndReason::Finished));
    other.channel("d").end().await.unwrap();
    assert!(try_open(&one, OpenOptions::new(), &["d"], "", Some(&first)).await.err().unwrap().is_over());
    // It can be used again.
    other.channel("a").close().await.unwrap();
    send(&one, "a", 3).await;
    eventually(async || try_open(&other, OpenOptions::new(), &["a"], "", Some(&first)).await.is_ok()).await;
    let mut reader = resume(&other, &["a"], "", &first).await;
    assert_eq!(reader.text().await, "3", "it has missed no event");
}

pub async fn an_end_reaches_every_reader_whomever_the_last_event_is_for(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut readers = Vec::new();
    for node in [&one, &other] {
        for client in ["", "ana", "bo"] {
            readers.push((client, live(node, &["a"], client).await));
        }
    }
    let parked = readers.into_iter().map(|(client, mut reader)| {
        tokio::spawn(async move {
            if client == "ana" {
                assert_eq!(reader.text().await, "for ana");
            }
            assert!(reader.next().await.is_none());
            reader.subscription.end_reason()
        })
    });
    let parked: Vec<_> = parked.collect();
    tokio::task::yield_now().await;
    one.channel("a").send_all(Batch::new().event_to("ana", Event::text("for ana")).finish()).await.unwrap();
    for reader in parked {
        assert_eq!(reader.await.unwrap(), Some(EndReason::Finished));
    }
}

pub async fn a_channel_is_finished_from_code_that_is_not_async(store: impl Store) {
    struct Answer(tower_sse::Channel, bool);
    impl Drop for Answer {
        fn drop(&mut self) {
            match self.1 {
                true => self.0.finish_detached(Event::text("done")).unwrap(),
                false => self.0.end_detached().unwrap(),
            }
        }
    }
    let [one, other] = store.nodes(defaults);
    for (channel, with_event) in [("a", true), ("b", false)] {
        let mut reader = live(&other, &[channel], "").await;
        drop(Answer(one.channel(channel), with_event));
        if with_event {
            assert_eq!(reader.text().await, "done");
        }
        assert!(reader.next().await.is_none());
        assert_eq!(reader.subscription.end_reason(), Some(EndReason::Finished));
        one.channel(channel).end_detached().unwrap();
    }
}

pub async fn an_end_asked_for_while_a_node_shuts_down_reaches_the_other_nodes(store: impl Shared) {
    let (one, other) = (store.node(defaults), store.node(defaults));
    for (channel, with_event) in [("a", true), ("b", false)] {
        let mut reader = live(&other, &[channel], "").await;
        assert!(one.shutdown(Duration::from_secs(5)).await);
        assert!(one.channel(channel).end().await.unwrap_err().is_shutting_down());
        match with_event {
            true => one.channel(channel).finish_detached(Event::text("done")).unwrap(),
            false => one.channel(channel).end_detached().unwrap(),
        }
        if with_event {
            assert_eq!(reader.text().await, "done");
        }
        assert!(reader.next().await.is_none());
        assert_eq!(reader.subscription.end_reason(), Some(EndReason::Finished));
    }
}

/// In virtual time only.
#[allow(dead_code, reason = "Redis has a time of its own")]
pub async fn a_key_is_known_as_long_as_its_event_is_held(store: impl Store) {
    let [one, other] = store.nodes(a_long_time);
    let first = one.channel("a").send(keyed("1", "one")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let again = other.channel("a").send(keyed("1", "one")).await.unwrap();
    assert_eq!((again.repeated, again.id), (true, first.id));
    // Not longer.
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    send(&one, "a", "2").await;
    assert!(!other.channel("a").send(keyed("1", "one")).await.unwrap().repeated);
}

pub async fn a_batch_of_which_the_feed_loses_a_part_comes_whole(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "").await;
    faults.drop_every.store(3, SeqCst);
    for n in 0..10 {
        let batch: Batch = (0..4).map(|k| Event::text((4 * n + k).to_string())).collect();
        other.channel("a").send_all(batch).await.unwrap();
    }
    assert_eq!(reader.texts(40).await, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    faults.drop_every.store(0, SeqCst);
    reader.nothing_before(&other, "a").await;
}

pub async fn an_end_that_the_feed_loses_is_noticed(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "").await;
    let first = send(&other, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    let mut of_two = resume(&one, &["a", "b"], "", &first).await;
    faults.drop_next.store(1, SeqCst);
    other.channel("a").end().await.unwrap();
    send(&other, "b", 2).await;
    assert!(reader.next().await.is_none());
    assert_eq!(reader.subscription.end_reason(), Some(EndReason::Finished));
    // An end is no event that it could have missed.
    assert_eq!(of_two.text().await, "2");
    of_two.nothing_before(&other, "b").await;
}

pub async fn a_batch_whose_acknowledgement_is_lost_may_be_retried(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut reader = live(&store.node(defaults), &["a"], "").await;
    let batch = || Batch::from([keyed("1", "one"), keyed("2", "two")]).only_after(None).finish();
    faults.lose_answers.store(1, SeqCst);
    assert!(one.channel("a").send_all(batch()).await.unwrap_err().is_unavailable());
    let sent = one.channel("a").send_all(batch()).await.unwrap();
    assert!(sent.iter().all(|sent| sent.repeated));
    assert_eq!(reader.texts(2).await, ["1", "2"]);
    assert!(reader.next().await.is_none());
}

pub async fn a_channel_that_is_finished_while_the_store_is_away_is_finished_once_it_is_back(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut reader = live(&store.node(defaults), &["a"], "").await;
    faults.go_away(true);
    one.channel("a").finish_detached(Event::text("done")).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    faults.go_away(false);
    assert_eq!(reader.text().await, "done");
    assert!(reader.next().await.is_none());
}
