//! What holds for a store that nodes share when anything between it and them fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tower_sse::{
    ChannelName, CustomId, Delivery, EndReason, Event, GapReason, IdempotencyKey, OpenOptions, Publisher,
    PublisherBuilder, Retention, Start,
    backend::{Append, Appended, Backend as _, NewEvent},
};

use crate::{
    common,
    faulty::{Faults, Faulty},
    reader::*,
    store::{Shared, defaults},
};

fn impatient(builder: PublisherBuilder) -> PublisherBuilder {
    builder.timeout(Duration::from_secs(1))
}

/// A node with faults between it and the store.
pub fn faulty_node(store: &impl Shared) -> (Publisher, Arc<Faults>) {
    faulty_node_with(store, impatient)
}

fn faulty_node_with(
    store: &impl Shared,
    settings: fn(PublisherBuilder) -> PublisherBuilder,
) -> (Publisher, Arc<Faults>) {
    let backend = Faulty::new(store.backend());
    let faults = backend.faults.clone();
    (settings(Publisher::builder().backend(backend)).build(), faults)
}

pub async fn an_emptied_store_begins_an_epoch_and_is_a_gap_for_everybody(store: impl Shared) {
    let [one, other] = store.nodes(impatient);
    let mut reader = live(&one, &["a"], "ana").await;
    let mut several = live(&one, &["a", "b", "c"], "").await;
    let id = send(&other, "a", 1).await;
    send(&other, "b", 2).await;
    assert_eq!(reader.text().await, "1");
    assert_eq!(several.texts(2).await, ["1", "2"]);
    store.lose().await;
    for n in 3..6 {
        eventually(async || other.channel("a").send(Event::text(n.to_string())).await.is_ok()).await;
    }
    reader.gap(GapReason::OtherEpoch).await;
    assert_eq!(reader.texts(3).await, ["3", "4", "5"]);
    several.gap(GapReason::OtherEpoch).await;
    assert_eq!(several.texts(3).await, ["3", "4", "5"]);
    for node in [&one, &other] {
        let mut reader = resume(node, &["a"], "", &id).await;
        reader.gap(GapReason::OtherEpoch).await;
        assert_eq!(reader.texts(3).await, ["3", "4", "5"]);
    }
    send_to(&other, "a", "ana", 6).await;
    assert_eq!(reader.text().await, "6");
    several.nothing_before(&other, "c").await;
}

pub async fn a_store_that_lost_its_last_events_begins_another_epoch(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "").await;
    send(&other, "a", 1).await;
    send(&other, "a", 2).await;
    assert_eq!(reader.texts(2).await, ["1", "2"]);
    faults.forgot.store(1, SeqCst);
    faults.cut();
    let gap = reader.gap(GapReason::OtherEpoch).await;
    assert_eq!(faults.renewed.load(SeqCst), 1);
    send(&other, "a", 3).await;
    assert_eq!(reader.until("3").await.last().unwrap(), "3");
    assert_eq!(reader.subscription.cursor().epoch, gap.cursor.epoch);
}

pub async fn a_feed_that_drops_messages_is_repaired(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "ana").await;
    faults.drop_every.store(3, SeqCst);
    for n in 0..100 {
        match n % 2 {
            0 => send(&other, "a", n).await,
            _ => send_to(&other, "a", "ana", n).await,
        };
    }
    assert_eq!(reader.texts(100).await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Loses an event of `c` on the way to a node that reads it, and fails that node's calls to the store: for all it
/// knows, other events may be lost too.
async fn lose_sight(faults: &Faults, other: &Publisher) {
    faults.away.store(true, SeqCst);
    faults.drop_next.store(1, SeqCst);
    send(other, "c", "dropped").await;
    send(other, "c", "seen").await;
}

pub async fn a_reader_of_several_channels_waits_for_the_channel_that_is_behind(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (mut several, mut single) = (live(&one, &["a", "b"], "ana").await, live(&one, &["a"], "").await);
    let _third = live(&one, &["c"], "").await;
    lose_sight(&faults, &other).await;
    send(&other, "a", 1).await;
    assert_eq!(single.text().await, "1");
    assert!(tokio::time::timeout(Duration::from_secs(1), several.next()).await.is_err());
    faults.away.store(false, SeqCst);
    assert_eq!(several.text().await, "1");
    // A reader that waits for this is still told of its end.
    lose_sight(&faults, &other).await;
    send(&other, "b", 2).await;
    send(&other, "a", 3).await;
    assert_eq!(single.text().await, "3");
    let waiting = tokio::spawn(async move { several.next().await.is_none() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(one.disconnect("ana").await.is_err(), "the other nodes are not told");
    assert!(waiting.await.unwrap());
    faults.away.store(false, SeqCst);
}

pub async fn the_rest_of_finished_channels_comes_once_every_channel_is_known(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (mut several, mut single) = (live(&one, &["a", "b"], "").await, live(&one, &["b"], "").await);
    let _third = live(&one, &["c"], "").await;
    lose_sight(&faults, &other).await;
    for (channel, text) in [("a", "1"), ("b", "2")] {
        other.channel(channel).finish(Event::text(text)).await.unwrap();
    }
    assert_eq!(single.text().await, "2");
    assert!(tokio::time::timeout(Duration::from_secs(1), several.next()).await.is_err());
    faults.away.store(false, SeqCst);
    assert_eq!(several.texts(2).await, ["1", "2"]);
    assert!(several.next().await.is_none());
}

pub async fn a_feed_that_drops_the_last_message_is_repaired(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "").await;
    faults.drop_next.store(1, SeqCst);
    send(&other, "a", "dropped").await;
    // The node checks now and then.
    assert_eq!(reader.text().await, "dropped");
}

/// Has the feed lose an event of `a`, which a reader of `b` passes before anybody can know.
async fn go_past_a_loss(faults: &Faults, other: &Publisher) {
    faults.drop_next.store(1, SeqCst);
    send(other, "a", "dropped").await;
    send(other, "b", 1).await;
}

pub async fn readers_of_many_channels_miss_nothing_silently_when_the_feed_drops(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a", "b"], "").await;
    send(&other, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    go_past_a_loss(&faults, &other).await;
    assert_eq!(reader.text().await, "1");
    reader.gap(GapReason::Lagged).await;
    reader.nothing_before(&other, "a").await;
}

pub async fn an_event_lost_for_another_client_is_no_gap(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (mut ana, mut bob) = (live(&one, &["a", "b"], "ana").await, live(&one, &["a", "b"], "bob").await);
    faults.drop_next.store(1, SeqCst);
    send_to(&other, "a", "bob", "dropped").await;
    send(&other, "b", 1).await;
    assert_eq!((ana.text().await, bob.text().await), ("1".into(), "1".into()));
    bob.gap(GapReason::Lagged).await;
    ana.nothing_before(&other, "a").await;
}

pub async fn a_loss_before_a_reader_opened_is_a_gap_only_if_it_wants_held_events(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut early = live(&one, &["a", "b"], "").await;
    go_past_a_loss(&faults, &other).await;
    assert_eq!(early.text().await, "1");
    let mut late = live(&one, &["a", "b"], "").await;
    let earliest = OpenOptions::new().start(Start::Earliest);
    let mut all = try_open(&one, earliest, &["a", "b"], "", None).await.unwrap();
    assert_eq!(all.text().await, "1");
    early.gap(GapReason::Lagged).await;
    all.gap(GapReason::Lagged).await;
    late.nothing_before(&other, "a").await;
}

pub async fn a_lost_event_that_is_back_before_it_is_missed_is_no_gap(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (mut fast, mut slow) = (live(&one, &["a", "b"], "").await, live(&one, &["a", "b"], "").await);
    go_past_a_loss(&faults, &other).await;
    assert_eq!(fast.text().await, "1");
    fast.gap(GapReason::Lagged).await;
    assert_eq!(slow.texts(2).await, ["dropped", "1"]);
    slow.nothing_before(&other, "a").await;
}

pub async fn a_reader_that_passed_a_loss_is_told_although_the_event_came_back(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a", "b"], "").await;
    go_past_a_loss(&faults, &other).await;
    assert_eq!(reader.text().await, "1");
    let id = reader.id();
    drop(reader);
    let mut back = resume(&one, &["a", "b"], "", &id).await;
    send(&other, "a", 2).await;
    back.gap(GapReason::Lagged).await;
}

pub async fn a_lost_event_that_is_then_evicted_is_a_gap(store: impl Shared) {
    let one_event = |builder: PublisherBuilder| defaults(builder).retention(Retention::new().events(1));
    let (one, faults) = faulty_node_with(&store, one_event);
    let other = store.node(one_event);
    let mut reader = live(&one, &["a", "b"], "").await;
    go_past_a_loss(&faults, &other).await;
    assert_eq!(reader.text().await, "1");
    send(&other, "a", 2).await;
    reader.gap(GapReason::Lagged).await;
}

pub async fn a_slow_feed_delays_and_loses_nothing(store: impl Shared) {
    let (one, faults) = faulty_node_with(&store, defaults);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a", "b"], "").await;
    faults.delay.store(2, SeqCst);
    for n in 0..100 {
        send(&other, ["a", "b"][n % 2], n).await;
    }
    let id = send(&other, "b", "last").await;
    // This reader opens where the feed is behind, with an id from where it is not.
    let mut ahead = resume(&one, &["a", "b"], "", &id).await;
    assert_eq!(reader.texts(100).await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(reader.text().await, "last");
    faults.delay.store(0, SeqCst);
    ahead.nothing_before(&other, "a").await;
}

pub async fn a_feed_that_is_cut_repeatedly_loses_nothing(store: impl Shared) {
    const EVENTS: usize = 300;
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a", "b", "c"], "").await;
    let mut single = live(&one, &["b"], "").await;
    let publishing = tokio::spawn(async move {
        for n in 0..EVENTS {
            send(&other, ["a", "b", "c"][n % 3], n).await;
            if n % 20 == 10 {
                // The feed is back after the previous cut, so that this is another one.
                eventually(async || faults.feeds.load(SeqCst) == 1).await;
                faults.cut();
            }
        }
    });
    assert_eq!(reader.texts(EVENTS).await, (0..EVENTS).map(|n| n.to_string()).collect::<Vec<_>>());
    let own: Vec<_> = (0..EVENTS).filter(|n| n % 3 == 1).map(|n| n.to_string()).collect();
    assert_eq!(single.texts(own.len()).await, own);
    publishing.await.unwrap();
}

pub async fn while_the_store_is_away_publishing_fails_and_readers_stay(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a", "b"], "").await;
    send(&one, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    faults.go_away(true);
    let error = one.channel("a").send(Event::text("nobody gets this")).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    for n in 2..20 {
        send(&other, ["a", "b"][n % 2], n).await;
    }
    assert_eq!(one.connections(), 1);
    faults.go_away(false);
    assert_eq!(reader.texts(18).await, (2..20).map(|n| n.to_string()).collect::<Vec<_>>());
    eventually(async || one.channel("a").send(Event::text("back")).await.is_ok()).await;
    assert_eq!(reader.text().await, "back");
}

pub async fn a_lost_acknowledgement_may_be_retried(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut reader = live(&store.node(defaults), &["a"], "").await;
    for n in 0..10 {
        let event = Event::text(n.to_string()).idempotency_key(IdempotencyKey::try_from(n.to_string()).unwrap());
        faults.lose_answers.store(2, SeqCst);
        let tries = AtomicUsize::new(0);
        let sent = loop {
            tries.fetch_add(1, SeqCst);
            match one.channel("a").send(event.clone()).await {
                Ok(sent) => break sent,
                Err(error) => assert!(error.is_unavailable()),
            }
        };
        assert!(sent.repeated && tries.load(SeqCst) == 3);
        assert_eq!(reader.text().await, n.to_string());
        assert_eq!(reader.id(), sent.id.to_string());
    }
    reader.nothing_before(&one, "a").await;
}

pub async fn a_reader_that_opens_while_the_store_is_away_is_told_to_come_back(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut reader = live(&one, &["a"], "").await;
    faults.go_away(true);
    let refused = try_open(&one, OpenOptions::new(), &["b"], "", None).await.err().unwrap();
    assert!(refused.is_unavailable(), "{refused}");
    assert_eq!(one.connections(), 1, "it left nothing behind");
    // Channels that are loaded can be opened.
    let mut second = live(&one, &["a"], "").await;
    faults.go_away(false);
    eventually(async || one.channel("a").send(Event::text("back")).await.is_ok()).await;
    assert_eq!((reader.text().await, second.text().await), ("back".into(), "back".into()));
    eventually(async || try_open(&one, OpenOptions::new(), &["b"], "", None).await.is_ok()).await;
}

pub async fn a_channel_without_readers_is_no_longer_watched(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let readers = [live(&one, &["a", "b"], "").await, live(&one, &["b"], "ana").await];
    send(&one, "a", 1).await;
    assert!(store.watched().await.is_none_or(|watched| watched == 2));
    assert_eq!(faults.feeds.load(SeqCst), 1);
    drop(readers);
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
    assert_eq!(store.watched().await.unwrap_or(0), 0);
    assert_eq!((one.stats().channels, one.stats().held_bytes), (0, 0));
    // The channel can be used again.
    let mut reader = live(&one, &["a"], "").await;
    reader.nothing_before(&one, "a").await;
    drop((reader, one));
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
}

pub async fn a_publisher_without_readers_has_no_feed(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    for n in 0..10 {
        send(&one, "a", n).await;
    }
    assert_eq!((faults.feeds.load(SeqCst), one.stats().channels), (0, 0));
}

pub async fn closing_the_only_channel_reports_nobody_present(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut reader = live(&one, &["a"], "ana").await;
    eventually(async || faults.present.load(SeqCst) == 1).await;
    one.channel("a").close().await.unwrap();
    assert!(reader.next().await.is_none());
    drop(reader);
    eventually(async || faults.present.load(SeqCst) == 0).await;
    assert!(one.channel("a").presence().await.unwrap().is_empty());
}

pub async fn a_channel_that_is_whole_is_not_read_again(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    send(&other, "a", "before").await;
    let mut reader = live(&one, &["a"], "").await;
    // The feed says again that the channel is watched, while a read would not be answered.
    faults.hold_reads.store(true, SeqCst);
    faults.say_again();
    eventually(async || faults.said.load(SeqCst) == 2).await;
    for n in 0..3 {
        send(&other, "a", n).await;
    }
    assert_eq!(reader.texts(3).await, ["0", "1", "2"]);
    let known = crate::common::offset(&reader.id());
    // Now a read is needed.
    faults.drop_next.store(1, SeqCst);
    send(&other, "a", "dropped").await;
    send(&other, "a", 3).await;
    eventually(async || faults.carried.load(SeqCst) == 5).await;
    faults.hold_reads.store(false, SeqCst);
    assert_eq!(reader.texts(2).await, ["dropped", "3"]);
    assert_eq!((faults.renewed.load(SeqCst), faults.reads.load(SeqCst)), (0, 2));
    assert_eq!(faults.read_after.load(SeqCst), known, "only what is missing");
}

pub async fn an_event_of_another_epoch_is_not_mistaken_for_one_of_this_epoch(store: impl Shared) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&one, &["a"], "").await;
    send(&other, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    // Another node found that the store lost something. The store's feeds go on.
    store.backend().renew(reader.subscription.cursor().epoch).await.unwrap();
    for n in 2..5 {
        send(&other, "a", n).await;
    }
    reader.gap(GapReason::OtherEpoch).await;
    assert_eq!(reader.texts(3).await, ["2", "3", "4"]);
}

pub async fn an_id_of_an_epoch_that_a_node_has_not_heard_of_is_no_gap(store: impl Shared) {
    let [one, other] = store.nodes(defaults);
    let mut reader = live(&one, &["a"], "").await;
    send(&other, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    // The node does not learn of it, since it does not watch that channel.
    store.backend().renew(reader.subscription.cursor().epoch).await.unwrap();
    let id = send(&other, "b", "elsewhere").await;
    resume(&one, &["a"], "", &id).await.nothing_before(&other, "a").await;
}

pub async fn a_reader_that_waits_for_a_new_epoch_is_told_of_its_end(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut reader = live(&one, &["a", "b"], "ana").await;
    faults.hold_reads.store(true, SeqCst);
    store.lose().await;
    eventually(async || faults.reads.load(SeqCst) >= 4).await;
    let waiting = tokio::spawn(async move { reader.next().await.is_none() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(one.channel("b").disconnect("ana").await.unwrap(), 1);
    assert!(waiting.await.unwrap());
    faults.hold_reads.store(false, SeqCst);
}

pub async fn a_reader_of_several_channels_waits_until_all_of_a_new_epoch_are_known(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a", "b"], "").await;
    *faults.unreadable.lock().unwrap() = Some(ChannelName::from_static("b"));
    store.lose().await;
    for (channel, text) in [("b", "1"), ("a", "2")] {
        eventually(async || other.channel(channel).send(Event::text(text)).await.is_ok()).await;
    }
    assert!(tokio::time::timeout(Duration::from_secs(1), reader.next()).await.is_err());
    *faults.unreadable.lock().unwrap() = None;
    reader.gap(GapReason::OtherEpoch).await;
    assert_eq!(reader.texts(2).await, ["1", "2"]);
}

pub async fn a_silent_feed_is_given_up(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "").await;
    faults.delay.store(3_600_000, SeqCst);
    let given = faults.given.load(SeqCst);
    send(&other, "a", 1).await;
    // Until then a message would not be delayed.
    eventually(async || faults.given.load(SeqCst) > given).await;
    faults.delay.store(0, SeqCst);
    assert_eq!(reader.text().await, "1");
}

pub async fn one_call_at_a_time_tells_who_is_connected(store: impl Shared) {
    let (one, faults) = faulty_node_with(&store, |builder| builder.timeout(Duration::from_secs(60)));
    faults.hold_refreshes.store(true, SeqCst);
    let _reader = live(&one, &["a"], "ana").await;
    // It is told every five seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(faults.refreshing_at_once.load(SeqCst), 1);
    faults.hold_refreshes.store(false, SeqCst);
    eventually(async || faults.refreshed.load(SeqCst) >= 2).await;
}

pub async fn many_channels_are_read_a_few_at_a_time(store: impl Shared) {
    let (one, faults) = faulty_node_with(&store, defaults);
    faults.hold_reads.store(true, SeqCst);
    let names: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let opening = tokio::spawn(OpenOptions::new().open(&one, crate::common::grant(&names, ""), None));
    eventually(async || faults.reads.load(SeqCst) >= 32).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(faults.reads.load(SeqCst), 32);
    faults.hold_reads.store(false, SeqCst);
    opening.await.unwrap().unwrap();
    assert_eq!(faults.reads.load(SeqCst), 100);
}

pub async fn a_channel_that_takes_longer_to_read_than_a_call_may_opens_while_pages_arrive(store: impl Shared) {
    let (one, faults) = faulty_node_with(&store, |builder| builder.timeout(Duration::from_secs(2)));
    let other = store.node(defaults);
    let id = send(&other, "a", 1).await;
    send(&other, "a", 2).await;
    faults.pages.store(4, SeqCst);
    let mut reader = resume(&one, &["a", "b"], "", &id).await;
    assert_eq!((reader.text().await, faults.reads.load(SeqCst)), ("2".into(), 2));
    // No page arrives.
    faults.hold_reads.store(true, SeqCst);
    faults.pages.store(0, SeqCst);
    let refused = try_open(&one, OpenOptions::new(), &["c"], "", None).await.err().unwrap();
    assert!(refused.is_unavailable(), "{refused}");
    faults.hold_reads.store(false, SeqCst);
}

pub async fn a_cut_without_events_is_no_loss(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (mut reader, mut several) = (live(&one, &["a"], "").await, live(&one, &["a", "b"], "").await);
    send(&other, "a", 1).await;
    assert_eq!((reader.text().await, several.text().await), ("1".into(), "1".into()));
    faults.cut();
    eventually(async || faults.tries.load(SeqCst) == 2 && faults.compared.load(SeqCst) > 0).await;
    send(&other, "a", 2).await;
    assert_eq!((reader.text().await, several.text().await), ("2".into(), "2".into()));
    assert_eq!(faults.renewed.load(SeqCst), 0);
}

pub async fn only_channels_that_have_changed_are_read_after_a_cut(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let names: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut readers = Vec::new();
    for name in &names {
        send(&other, name, "before").await;
        readers.push(live(&one, &[name], "").await);
    }
    let (reads, heads) = (faults.reads.load(SeqCst), faults.heads.load(SeqCst));
    faults.no_feed.store(true, SeqCst);
    faults.cut();
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
    for name in &names[..3] {
        send(&other, name, "meanwhile").await;
    }
    faults.no_feed.store(false, SeqCst);
    for reader in &mut readers[..3] {
        assert_eq!(reader.text().await, "meanwhile");
    }
    for (name, reader) in names.iter().zip(&mut readers) {
        reader.nothing_before(&other, name).await;
    }
    assert_eq!(faults.reads.load(SeqCst) - reads, 3);
    // A question is asked for all channels that have come to be watched while others were asked.
    let questions = faults.heads.load(SeqCst) - heads;
    assert!(questions <= 60, "{questions} questions");
    assert_eq!(faults.renewed.load(SeqCst), 0);
}

/// A node that has looked at what the store knows, with a reader of `a` and `b` and one of `a` alone; the hub is at the
/// offset that is given with it. The store has forgotten both channels since, which had no event after `up_to`.
async fn forgotten_channels(
    store: &impl Shared,
    up_to: impl Fn(u64) -> u64,
) -> (Arc<Faults>, Publisher, [Reader; 2], Publisher) {
    let (one, faults) = faulty_node(store);
    let other = store.node(defaults);
    let mut readers = [live(&one, &["a", "b"], "").await, live(&one, &["a"], "").await];
    send(&other, "a", 1).await;
    for reader in &mut readers {
        assert_eq!(reader.text().await, "1");
    }
    // Elsewhere something happens all the time.
    let known = faults.compared.load(SeqCst);
    eventually(async || {
        send(&other, "elsewhere", "x").await;
        faults.compared.load(SeqCst) > known
    })
    .await;
    let level = common::offset(&send(&other, "elsewhere", "y").await);
    faults.forgets_up_to.store(up_to(level), SeqCst);
    let known = faults.compared.load(SeqCst);
    faults.cut();
    eventually(async || faults.compared.load(SeqCst) > known).await;
    (faults, one, readers, other)
}

pub async fn a_channel_that_is_forgotten_while_it_is_read_is_no_gap_after_a_cut(store: impl Shared) {
    // What it may have had the node had seen before: it knew of more than ten events.
    let (faults, _one, mut readers, other) = forgotten_channels(&store, |level| level.min(10)).await;
    faults.forgets_up_to.store(0, SeqCst);
    for reader in &mut readers {
        send(&other, "a", 2).await;
        assert_eq!(reader.until("2").await, ["2"]);
    }
}

pub async fn a_channel_that_is_forgotten_and_may_have_had_events_is_a_gap_after_a_cut(store: impl Shared) {
    let (_faults, _one, mut readers, _other) = forgotten_channels(&store, |level| level).await;
    for reader in &mut readers {
        reader.gap(GapReason::Lagged).await;
    }
}

pub async fn a_reader_that_reconnects_soon_finds_its_channel(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    drop(live(&one, &["a"], "").await);
    // Like a page that is reloaded.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut reader = live(&one, &["a"], "").await;
    reader.nothing_before(&one, "a").await;
    assert_eq!((faults.reads.load(SeqCst), store.watched().await.unwrap_or(1)), (1, 1));
}

pub async fn an_absent_store_is_asked_less_and_less_often(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut reader = live(&one, &["a"], "").await;
    faults.go_away(true);
    let away = tokio::time::Instant::now();
    // The pauses are at least 0.125 s, 0.25 s and 0.5 s.
    eventually(async || faults.tries.load(SeqCst) >= 4).await;
    assert!(away.elapsed() > Duration::from_millis(800), "{:?}", away.elapsed());
    faults.go_away(false);
    reader.nothing_before(&one, "a").await;
}

/// Has the feed lose an event of `a` on the way to a node that can't read `a` any more, and publishes to `b` too. Returns
/// once the node's readers of other channels no longer wait for `a`.
async fn go_on_without(faults: &Faults, one: &Publisher, other: &Publisher) {
    let mut others = live(one, &["b", "c"], "").await;
    *faults.unreadable.lock().unwrap() = Some(ChannelName::from_static("a"));
    faults.drop_next.store(1, SeqCst);
    for (channel, n) in [("a", 1), ("a", 2), ("b", 3)] {
        send(other, channel, n).await;
    }
    assert_eq!(others.text().await, "3");
}

/// Asserts that nothing comes for a while.
async fn is_waiting(reader: &mut Reader) {
    assert!(tokio::time::timeout(Duration::from_secs(1), reader.next()).await.is_err());
}

pub async fn an_unreadable_channel_keeps_only_its_own_readers_waiting(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut readers = [live(&one, &["a"], "").await, live(&one, &["a", "b"], "").await];
    go_on_without(&faults, &one, &other).await;
    for reader in &mut readers {
        is_waiting(reader).await;
    }
    *faults.unreadable.lock().unwrap() = None;
    let [of_one, of_several] = &mut readers;
    assert_eq!(of_one.texts(2).await, ["1", "2"]);
    assert_eq!(of_several.texts(3).await, ["1", "2", "3"]);
    of_several.nothing_before(&other, "a").await;
    assert_eq!(one.stats().gaps, 0);
}

pub async fn a_reader_that_moves_away_from_a_node_that_can_not_read_one_of_its_channels_misses_nothing(
    store: impl Shared,
) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let [mut first, mut second] = [live(&one, &["a", "b"], "").await, live(&one, &["a", "b"], "").await];
    go_on_without(&faults, &one, &other).await;
    let mut got = [Vec::new(), Vec::new()];
    for (reader, got) in [&mut first, &mut second].into_iter().zip(&mut got) {
        while let Ok(text) = tokio::time::timeout(Duration::from_secs(1), reader.text()).await {
            got.push(text);
        }
    }
    // One of them comes back to the node once that can read the channel again.
    let ids = [first.id(), second.id()];
    drop((first, second));
    *faults.unreadable.lock().unwrap() = None;
    send(&other, "b", "end").await;
    for ((node, id), mut got) in [&other, &one].into_iter().zip(ids).zip(got) {
        let mut moved = resume(node, &["a", "b"], "", &id).await;
        got.extend(moved.until("end").await);
        assert_eq!(got, ["1", "2", "3", "end"]);
    }
}

pub async fn a_reader_that_opens_while_one_of_its_channels_can_not_be_read_misses_nothing(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let id = send(&other, "b", 0).await;
    let _kept = live(&one, &["a"], "").await;
    go_on_without(&faults, &one, &other).await;
    let mut resumed = resume(&one, &["a", "b"], "", &id).await;
    let mut earliest = replaying(&one, Start::Earliest, &["a", "b"]).await;
    assert_eq!(earliest.text().await, "0");
    let mut nothing_held = replaying(&one, Start::Earliest, &["a", "c"]).await;
    let mut fresh = live(&one, &["a", "b"], "").await;
    send(&other, "b", 4).await;
    for reader in [&mut resumed, &mut earliest, &mut nothing_held, &mut fresh] {
        is_waiting(reader).await;
    }
    *faults.unreadable.lock().unwrap() = None;
    for reader in [&mut resumed, &mut earliest] {
        assert_eq!(reader.texts(4).await, ["1", "2", "3", "4"]);
    }
    assert_eq!(nothing_held.texts(2).await, ["1", "2"]);
    assert_eq!(fresh.text().await, "4");
    fresh.nothing_before(&other, "a").await;
    assert_eq!(one.stats().gaps, 0);
}

pub async fn a_reader_waits_for_a_channel_that_can_not_be_read_after_a_cut(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (mut several, mut others) = (live(&one, &["a", "b"], "").await, live(&one, &["b", "c"], "").await);
    send(&other, "b", 0).await;
    for reader in [&mut several, &mut others] {
        assert_eq!(reader.text().await, "0");
        assert!(reader.try_next().await.is_none());
    }
    *faults.unreadable.lock().unwrap() = Some(ChannelName::from_static("a"));
    faults.go_away(true);
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
    send(&other, "a", 1).await;
    faults.go_away(false);
    eventually(async || faults.reads.load(SeqCst) >= 3 + 4).await;
    for n in 2..4 {
        send(&other, "b", n).await;
        assert_eq!(others.text().await, n.to_string());
        is_waiting(&mut several).await;
    }
    *faults.unreadable.lock().unwrap() = None;
    assert_eq!(several.texts(3).await, ["1", "2", "3"]);
    assert_eq!(one.stats().gaps, 0);
}

pub async fn a_reader_waits_for_a_last_event_that_the_feed_lost_and_that_can_not_be_read(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (mut several, mut others) = (live(&one, &["a", "b"], "").await, live(&one, &["b", "c"], "").await);
    assert!(several.try_next().await.is_none());
    *faults.unreadable.lock().unwrap() = Some(ChannelName::from_static("a"));
    faults.drop_next.store(1, SeqCst);
    send(&other, "a", 1).await;
    // The node checks now and then.
    eventually(async || faults.reads.load(SeqCst) >= 3 + 4).await;
    send(&other, "b", 2).await;
    assert_eq!(others.text().await, "2");
    is_waiting(&mut several).await;
    *faults.unreadable.lock().unwrap() = None;
    assert_eq!(several.texts(2).await, ["1", "2"]);
    assert_eq!(one.stats().gaps, 0);
}

pub async fn while_the_store_is_away_a_reader_of_several_channels_gets_what_the_node_has(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut kept = live(&one, &["a", "b"], "").await;
    let id = send(&other, "b", 1).await;
    send(&other, "b", 2).await;
    assert_eq!(kept.texts(2).await, ["1", "2"]);
    faults.go_away(true);
    let tries = faults.tries.load(SeqCst);
    eventually(async || faults.tries.load(SeqCst) > tries).await;
    assert_eq!(resume(&one, &["a", "b"], "", &id).await.text().await, "2");
    faults.go_away(false);
    kept.nothing_before(&other, "a").await;
}

pub async fn a_reader_that_waits_for_an_unreadable_channel_is_told_of_its_end(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let open = async |client: &'static str| live(&one, &["a", "b"], client).await;
    let [mut ana, mut bob] = [open("ana").await, open("bob").await];
    go_on_without(&faults, &one, &other).await;
    for reader in [&mut ana, &mut bob] {
        is_waiting(reader).await;
    }
    let ana = tokio::spawn(async move { ana.until_the_end(EndReason::Disconnected).await });
    let bob = tokio::spawn(async move { bob.until_the_end(EndReason::Shutdown).await });
    one.disconnect("ana").await.unwrap();
    ana.await.unwrap();
    assert!(one.shutdown(Duration::from_secs(20)).await);
    bob.await.unwrap();
}

pub async fn a_channel_that_can_not_be_read_is_read_through_while_it_gets_events(store: impl Shared) {
    fn many(builder: PublisherBuilder) -> PublisherBuilder {
        defaults(builder).retention(Retention::new().events(2_000))
    }
    let (one, faults) = faulty_node_with(&store, many);
    let other = store.node(many);
    let (mut of_one, mut reader) = (live(&one, &["a"], "").await, live(&one, &["a", "b"], "").await);
    let mut others = live(&one, &["b", "c"], "").await;
    go_on_without(&faults, &one, &other).await;
    faults.hold_reads.store(true, SeqCst);
    let reads = faults.reads.load(SeqCst);
    *faults.unreadable.lock().unwrap() = None;
    eventually(async || faults.reads.load(SeqCst) > reads).await;
    // The read that is held does not contain these, and the node keeps no more than 1,024 of them.
    let carried = faults.carried.load(SeqCst);
    for n in 0..1_100 {
        send(&other, "a", n + 4).await;
        // No feed ends because too much is on its way.
        if n % 100 == 0 {
            eventually(async || faults.carried.load(SeqCst) > carried + n).await;
        }
    }
    send(&other, "b", 1_104).await;
    assert_eq!(others.until("1104").await, ["3", "1104"]);
    faults.hold_reads.store(false, SeqCst);
    // By now the channel has been read twice since the reader has looked at it.
    assert_eq!(of_one.until("1103").await.len(), 1_102);
    assert_eq!(reader.texts(1_104).await, (1..=1_104).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(one.stats().gaps, 0);
}

pub async fn a_channel_that_is_closed_while_it_is_read_keeps_nobody_waiting(store: impl Shared) {
    let (one, faults) = faulty_node_with(&store, defaults);
    let other = store.node(defaults);
    let (mut reader, mut closed) = (live(&one, &["a", "b"], "").await, live(&one, &["c"], "").await);
    faults.hold_reads.store(true, SeqCst);
    faults.drop_next.store(1, SeqCst);
    send(&other, "c", "dropped").await;
    send(&other, "c", "seen").await;
    eventually(async || faults.reads.load(SeqCst) == 4).await;
    other.channel("c").close().await.unwrap();
    assert!(closed.next().await.is_none());
    reader.nothing_before(&other, "a").await;
    faults.hold_reads.store(false, SeqCst);
}

pub async fn a_reader_that_opens_between_two_closes_is_ended_by_neither(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "").await;
    faults.delay.store(200, SeqCst);
    for _ in 0..2 {
        other.channel("a").close().await.unwrap();
    }
    assert!(reader.next().await.is_none());
    // The node has not heard of the second close yet.
    let mut reader = live(&one, &["a"], "").await;
    faults.delay.store(0, SeqCst);
    reader.nothing_before(&other, "a").await;
}

pub async fn an_abandoned_opening_leaves_nothing_behind(store: impl Shared) {
    struct Task;
    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    let (one, faults) = faulty_node(&store);
    let _reader = live(&one, &["a"], "").await;
    faults.go_away(true);
    let task = Arc::new(Task);
    // A channel that the node does not know, and an id.
    let openings = [("b", None), ("a", Some(&b"000000000001-1"[..]))];
    // The opening is dropped, or times out.
    for (told, (channel, id)) in [false, true].into_iter().flat_map(|told| openings.map(|opening| (told, opening))) {
        let mut opening = Box::pin(OpenOptions::new().open(&one, crate::common::grant(&[channel], ""), id));
        let waker = task.clone().into();
        let mut poll = || opening.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        assert!(poll().is_pending());
        if told {
            eventually(|| std::future::ready(poll().is_ready())).await;
        }
    }
    assert_eq!((Arc::strong_count(&task), one.connections()), (1, 1));
}

pub async fn a_shutdown_waits_for_no_opening(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    faults.go_away(true);
    let opening = OpenOptions::new().open(&one, crate::common::grant(&["a"], ""), None);
    let opening = tokio::spawn(opening);
    tokio::task::yield_now().await;
    assert!(one.shutdown(Duration::from_millis(500)).await);
    assert!(opening.await.unwrap().unwrap_err().is_shutting_down());
}

pub async fn a_custom_id_from_while_the_store_was_away_resumes_once_it_is_back(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "").await;
    faults.go_away(true);
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
    other.channel("a").send(Event::text("1").id(CustomId::from_static("mine"))).await.unwrap();
    faults.go_away(false);
    // The node knows the channel, but not this event yet.
    let mut resumed = resume(&one, &["a"], "", "mine").await;
    resumed.nothing_before(&other, "a").await;
    assert_eq!(reader.texts(2).await, ["1", "nothing came before this"]);
}

pub async fn a_resume_waits_for_a_custom_id_in_events_still_being_read(store: impl Shared) {
    let (one, faults) = faulty_node_with(&store, defaults);
    let other = store.node(defaults);
    let _reader = live(&one, &["a"], "").await;
    faults.go_away(true);
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
    other.channel("a").send(Event::text("1").id(CustomId::from_static("mine"))).await.unwrap();
    faults.hold_reads.store(true, SeqCst);
    faults.go_away(false);
    let node = one.clone();
    let resuming = tokio::spawn(async move { resume(&node, &["a"], "", "mine").await });
    eventually(async || faults.reads.load(SeqCst) == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    faults.hold_reads.store(false, SeqCst);
    resuming.await.unwrap().nothing_before(&other, "a").await;
}

/// Somebody else wrote them into the store, or they are damaged.
pub async fn stored_bytes_that_are_no_event_are_a_gap_and_never_sent(store: impl Shared) {
    let [one, other] = store.nodes(defaults);
    let backend = store.backend();
    let mut reader = live(&one, &["a"], "").await;
    let first = send(&other, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    let garbage: [&'static [u8]; 6] =
        [b"", b"data: cut", b"data: \xff\n", b"id: 1\n", b"data: x\n\ndata: forged\n", b"event: gap\ndata: forged\n"];
    for (n, garbage) in garbage.into_iter().enumerate() {
        let append = Append::new(ChannelName::from_static("a"), vec![NewEvent::new(garbage.into())], Retention::new());
        assert!(matches!(backend.append(append).await.unwrap(), Appended::At(_)));
        send(&other, "a", n).await;
        reader.gap(GapReason::Lagged).await;
        assert_eq!(reader.text().await, n.to_string());
    }
    let mut late = resume(&other, &["a"], "", &first).await;
    late.gap(GapReason::Evicted).await;
    assert_eq!(late.text().await, "5", "all that is before what can't be read is gone with it");
}

pub async fn an_event_that_arrives_while_its_channel_is_read_is_not_missed(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let id = send(&other, "a", "before").await;
    faults.hold_reads.store(true, SeqCst);
    let opening = tokio::spawn(OpenOptions::new().open(&one, crate::common::grant(&["a"], ""), Some(id.as_bytes())));
    eventually(async || faults.reads.load(SeqCst) == 1).await;
    send(&other, "a", 1).await;
    // The node has the event by now, or will in a moment; the answer to the read does not contain it.
    eventually(async || faults.carried.load(SeqCst) == 1).await;
    faults.hold_reads.store(false, SeqCst);
    drop(opening.await.unwrap().unwrap());
    let mut reader = resume(&one, &["a", "b"], "", &id).await;
    send(&other, "b", 2).await;
    assert_eq!(reader.texts(2).await, ["1", "2"]);
}

/// Publishes 1, 2, 3 and so on to channel `a`, about fifty a second, until it is aborted.
fn publish_steadily(node: &Publisher) -> tokio::task::JoinHandle<()> {
    let node = node.clone();
    tokio::spawn(async move {
        for n in 1.. {
            send(&node, "a", n).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

/// What comes of this, which must not take forever while events are published.
#[track_caller]
fn soon<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let timeout = tokio::time::timeout(Duration::from_secs(20), future);
    async move { timeout.await.unwrap_or_else(|_| panic!("it never came, at {caller}")) }
}

/// Asserts that the reader gets the next `count` events of [`publish_steadily`], each once, and returns the last of them.
async fn in_sequence(reader: &mut Reader, count: usize, after: Option<usize>) -> usize {
    let mut last = match after {
        Some(after) => after,
        None => reader.text().await.parse().unwrap(),
    };
    for _ in 0..count {
        last += 1;
        assert_eq!(reader.text().await, last.to_string());
    }
    last
}

pub async fn a_channel_with_events_during_every_read_opens_after_one_read(store: impl Shared) {
    let (one, faults) = faulty_node_with(&store, defaults);
    let other = store.node(defaults);
    faults.pages.store(1, SeqCst);
    let id = send(&other, "a", 0).await;
    let publishing = publish_steadily(&other);
    let mut resumed = soon(resume(&one, &["a"], "", &id)).await;
    let mut several = soon(resume(&one, &["a", "b"], "", &id)).await;
    let mut live = soon(live(&one, &["a"], "")).await;
    in_sequence(&mut resumed, 100, Some(0)).await;
    in_sequence(&mut several, 100, Some(0)).await;
    in_sequence(&mut live, 50, None).await;
    publishing.abort();
    assert_eq!(faults.reads.load(SeqCst), 2, "one for each channel");
}

pub async fn a_channel_that_evicts_more_than_it_holds_during_a_read_opens(store: impl Shared) {
    fn three(builder: PublisherBuilder) -> PublisherBuilder {
        builder.retention(Retention::new().events(3))
    }
    let (one, faults) = faulty_node_with(&store, three);
    let other = store.node(three);
    faults.pages.store(1, SeqCst);
    let publishing = publish_steadily(&other);
    let mut earliest = soon(replaying(&one, Start::Earliest, &["a"])).await;
    assert_eq!(faults.reads.load(SeqCst), 1);
    publishing.abort();
    // It may be behind, and is told so.
    send(&other, "a", "last").await;
    earliest.until("last").await;
}

pub async fn a_channel_with_events_during_every_read_recovers_after_a_cut(store: impl Shared) {
    let (one, faults) = faulty_node_with(&store, defaults);
    let other = store.node(defaults);
    let (mut single, mut several) = (live(&one, &["a"], "").await, live(&one, &["a", "b"], "").await);
    let publishing = publish_steadily(&other);
    in_sequence(&mut single, 5, Some(0)).await;
    in_sequence(&mut several, 5, Some(0)).await;
    faults.pages.store(1, SeqCst);
    let reads = faults.reads.load(SeqCst);
    faults.cut();
    in_sequence(&mut single, 100, Some(5)).await;
    in_sequence(&mut several, 100, Some(5)).await;
    publishing.abort();
    assert_eq!(faults.reads.load(SeqCst) - reads, 1);
}

pub async fn a_channel_that_is_closed_while_the_store_is_silent_ends(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a", "b"], "").await;
    faults.go_away(true);
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
    other.channel("a").close().await.unwrap();
    send(&other, "a", "of another life").await;
    faults.go_away(false);
    assert!(reader.next().await.is_none());
    assert_eq!(reader.subscription.end_reason(), Some(EndReason::Closed));
}

pub async fn an_eviction_while_the_store_is_silent_is_a_gap(store: impl Shared) {
    fn three(builder: PublisherBuilder) -> PublisherBuilder {
        impatient(builder).retention(Retention::new().events(3))
    }
    let (one, faults) = faulty_node_with(&store, three);
    let other = store.node(three);
    let mut reader = live(&one, &["a"], "").await;
    send(&other, "a", 0).await;
    assert_eq!(reader.text().await, "0");
    faults.go_away(true);
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
    for n in 1..=6 {
        send(&other, "a", n).await;
    }
    faults.go_away(false);
    reader.gap(GapReason::Lagged).await;
    assert_eq!(reader.texts(3).await, ["4", "5", "6"]);
}

pub async fn a_channel_that_lost_its_readers_is_no_longer_watched_although_others_are(store: impl Shared) {
    let (one, _faults) = faulty_node(&store);
    let (_reader, gone) = (live(&one, &["a"], "").await, live(&one, &["b"], "").await);
    drop(gone);
    eventually(async || store.watched().await == Some(1)).await;
    assert_eq!(one.stats().channels, 1);
}

/// The event is somebody else's, or the store has lost it since.
pub async fn an_event_that_the_store_does_not_know_is_not_read_for_ever(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&one, &["a"], "").await;
    send(&other, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    // The first is missing when the second arrives, whose offset is far ahead.
    faults.drop_next.store(1, SeqCst);
    send(&other, "a", 2).await;
    faults.shift_next.store(1 << 40, SeqCst);
    let before = faults.reads.load(SeqCst);
    send(&other, "a", 3).await;
    let gap = loop {
        match reader.next().await {
            Some(Delivery::Gap(gap)) => break gap,
            Some(Delivery::Event(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(gap.reason, GapReason::OtherEpoch);
    assert!(faults.renewed.load(SeqCst) > 0);
    let reads = faults.reads.load(SeqCst) - before;
    assert!(reads < 20, "it was read {reads} times");
    send(&other, "a", 4).await;
    assert_eq!(reader.until("4").await.last().unwrap(), "4");
}

/// A reader of `channels` that starts with older events.
async fn replaying(node: &Publisher, start: Start, channels: &[&str]) -> Reader {
    try_open(node, OpenOptions::new().start(start), channels, "", None).await.unwrap()
}

pub async fn an_acknowledged_event_still_on_its_way_is_replayed(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut live = live(&one, &["a", "b"], "").await;
    let mut sent = 0..;
    // In the second round there are older events.
    for round in 0..2 {
        for start in [Start::Earliest, Start::Last(9)] {
            faults.delay.store(50, SeqCst);
            let texts: Vec<_> = sent.by_ref().take(4).map(|n| n.to_string()).collect();
            send(&one, "a", &texts[0]).await;
            send(&one, "b", &texts[1]).await;
            let mut single = replaying(&one, start, &["a"]).await;
            let mut several = replaying(&one, start, &["a", "b"]).await;
            send(&one, "b", &texts[2]).await;
            send(&one, "a", &texts[3]).await;
            assert_eq!(live.texts(4).await, texts);
            faults.delay.store(0, SeqCst);
            let skipped = |got: Vec<String>| got.into_iter().skip_while(|text| *text != texts[0]).collect::<Vec<_>>();
            assert_eq!(skipped(several.until(&texts[3]).await), texts, "{start:?}, {round}");
            assert_eq!(skipped(single.until(&texts[3]).await), [&texts[0][..], &texts[3]], "{start:?}, {round}");
        }
    }
}

pub async fn an_event_published_while_the_feed_is_away_is_replayed(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut live = live(&one, &["a"], "").await;
    faults.no_feed.store(true, SeqCst);
    faults.cut();
    eventually(async || faults.feeds.load(SeqCst) == 0).await;
    send(&other, "a", 1).await;
    send(&one, "a", 2).await;
    let mut earliest = replaying(&one, Start::Earliest, &["a"]).await;
    let mut last = replaying(&one, Start::Last(5), &["a"]).await;
    faults.no_feed.store(false, SeqCst);
    send(&other, "a", 3).await;
    for reader in [&mut live, &mut earliest, &mut last] {
        assert_eq!(reader.texts(3).await, ["1", "2", "3"]);
    }
}

pub async fn events_on_their_way_follow_the_gap_of_a_closed_channel(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let id = send(&one, "a", 1).await;
    send(&one, "a", 2).await;
    one.channel("a").close().await.unwrap();
    let mut live = live(&one, &["a"], "").await;
    faults.delay.store(50, SeqCst);
    send(&one, "a", 3).await;
    let mut resumed = resume(&one, &["a"], "", &id).await;
    send(&one, "a", 4).await;
    assert_eq!(live.texts(2).await, ["3", "4"]);
    let gap = resumed.gap(GapReason::Evicted).await;
    // The gap is told once.
    let mut again = resume(&one, &["a"], "", &gap.cursor.to_string()).await;
    for reader in [&mut resumed, &mut again] {
        assert_eq!(reader.texts(2).await, ["3", "4"]);
    }
}

pub async fn an_event_that_the_feed_lost_is_replayed_or_a_gap(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (_kept, mut seen) = (live(&one, &["a"], "").await, live(&one, &["b"], "").await);
    faults.drop_next.store(1, SeqCst);
    send(&other, "a", "dropped").await;
    send(&other, "b", "seen").await;
    assert_eq!(seen.text().await, "seen");
    // Nobody can know of the loss yet.
    let mut single = replaying(&one, Start::Earliest, &["a"]).await;
    let mut several = replaying(&one, Start::Earliest, &["a", "c"]).await;
    assert_eq!(single.text().await, "dropped");
    match several.next().await {
        Some(Delivery::Gap(gap)) => assert_eq!(gap.reason, GapReason::Lagged),
        Some(Delivery::Event(event)) => assert_eq!(event.data(), "dropped"),
        other => panic!("{other:?}"),
    }
    several.nothing_before(&other, "c").await;
}

pub async fn an_event_that_cannot_be_read_yet_is_replayed_too(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let _kept = live(&one, &["a"], "").await;
    *faults.unreadable.lock().unwrap() = Some(ChannelName::from_static("a"));
    faults.drop_next.store(1, SeqCst);
    send(&other, "a", 1).await;
    send(&other, "a", 2).await;
    send(&other, "b", 3).await;
    eventually(async || faults.reads.load(SeqCst) > 1).await;
    // The node knows the last event already, and has to learn of those before it.
    let mut earliest = replaying(&one, Start::Earliest, &["a", "b"]).await;
    let mut last = replaying(&one, Start::Last(5), &["a", "b"]).await;
    *faults.unreadable.lock().unwrap() = None;
    for reader in [&mut earliest, &mut last] {
        assert_eq!(reader.texts(3).await, ["1", "2", "3"]);
    }
}

pub async fn a_reader_that_returns_to_a_channel_forgotten_by_the_store_gets_no_gap(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    faults.forgets.store(true, SeqCst);
    send(&other, "b", 1).await;
    let fresh = replaying(&one, Start::Earliest, &["a"]).await;
    let id = fresh.id();
    drop(fresh);
    resume(&one, &["a"], "", &id).await.nothing_before(&other, "a").await;
}

pub async fn a_reader_that_opens_a_channel_being_finished_gets_the_rest(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let mut early = live(&one, &["a"], "").await;
    send(&one, "a", 1).await;
    assert_eq!(early.text().await, "1");
    faults.delay.store(50, SeqCst);
    one.channel("a").finish(Event::text("done")).await.unwrap();
    let mut late = live(&one, &["a"], "").await;
    let mut resumed = resume(&one, &["a"], "", &late.id()).await;
    assert_eq!(early.text().await, "done");
    assert_eq!(late.texts(2).await, ["1", "done"]);
    assert_eq!(resumed.texts(2).await, ["1", "done"]);
    assert!(late.next().await.is_none());
}

pub async fn a_shutdown_ends_a_reader_that_waits_for_the_level(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let (mut several, mut single) = (live(&one, &["a", "b"], "").await, live(&one, &["a"], "").await);
    let third = live(&one, &["c"], "").await;
    lose_sight(&faults, &other).await;
    send(&other, "a", 1).await;
    assert_eq!(single.text().await, "1");
    // From here on the level stands still.
    faults.cut();
    drop((single, third));
    let waiting = tokio::spawn(async move { (several.next().await.is_none(), several.subscription.end_reason()) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(one.shutdown(Duration::from_secs(20)).await);
    assert_eq!(waiting.await.unwrap(), (true, Some(EndReason::Shutdown)));
}
