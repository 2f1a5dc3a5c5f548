//! What a new epoch means for a hub in Redis: what outlives the old one, and what readers are told.

use std::time::Duration;

use tower_sse::{
    CustomId, EndReason, Event, EventId, GapReason, IdempotencyKey, OpenOptions, Publisher, Retention, Start,
};

use crate::{
    reader::*,
    redis::RedisStore,
    store::{Store, defaults},
};

pub const HUB: &str = "{tower-sse}:hub";

impl RedisStore {
    /// Makes the hub forget its last event: the next publish of a node that knows better begins a new epoch.
    fn forget_one(&self) {
        self.command(&["HINCRBY", HUB, "n", "-1"]);
    }
}

async fn everything(node: &Publisher, channel: &str) -> Reader {
    try_open(node, OpenOptions::new().start(Start::Earliest), &[channel], "", None).await.unwrap()
}

#[tokio::test]
async fn an_idempotency_key_outlives_an_epoch() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(defaults);
    let start = || Event::text("start").idempotency_key(IdempotencyKey::from_static("start"));
    let first = one.channel("run").send(start()).await.unwrap();
    let before = send(&one, "x", 1).await;
    store.forget_one();
    assert_ne!(send(&one, "x", 2).await[..12], before[..12], "another epoch");
    for node in [&one, &other] {
        let again = node.channel("run").send(start()).await.unwrap();
        assert!(again.repeated);
        // A reader that resumes with this id gets a gap, since later events may be lost.
        assert_eq!(again.id, first.id);
    }
    let mut reader = resume(&other, &["run"], "", &first.id.to_string()).await;
    reader.gap(GapReason::OtherEpoch).await;
    reader.nothing_before(&one, "run").await;
}

#[tokio::test]
async fn a_finished_channel_stays_finished_and_whole_in_another_epoch() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(defaults);
    let first = send(&one, "run", 1).await;
    let last = one.channel("run").finish(Event::text("2")).await.unwrap().id.to_string();
    send(&one, "x", 1).await;
    store.forget_one();
    send(&one, "x", 2).await;
    for node in [&one, &other] {
        assert!(node.channel("run").send(Event::text("3")).await.unwrap_err().is_finished());
        for (id, left) in [(&first, &["2"][..]), (&last, &[])] {
            let mut reader = resume(node, &["run"], "", id).await;
            reader.gap(GapReason::OtherEpoch).await;
            assert_eq!(reader.texts(left.len()).await, left);
            assert!(reader.next().await.is_none());
            assert_eq!(reader.subscription.end_reason(), Some(EndReason::Finished));
        }
        let mut fresh = everything(node, "run").await;
        assert_eq!(fresh.texts(2).await, ["1", "2"]);
    }
    // The channel stays finished until it is closed.
    one.channel("run").close().await.unwrap();
    send(&one, "run", 3).await;
}

#[tokio::test]
async fn an_epoch_leaves_no_keys_behind() {
    let Some(store) = RedisStore::begin().await else { return };
    let node = store.node(|builder| builder.retention(Retention::new().age(Duration::MAX)));
    let mut sizes = Vec::new();
    for _ in 0..4 {
        for channel in ["a", "b", "c"] {
            let id = CustomId::try_from(format!("id {channel}").replace(' ', "-")).unwrap();
            let key = IdempotencyKey::from_static("key");
            let _ = node.channel(channel).send_to("ana", Event::text("x").id(id).idempotency_key(key)).await;
            send(&node, channel, "y").await;
        }
        store.forget_one();
        sizes.push(store.command(&["DBSIZE"]).parse::<usize>().unwrap());
    }
    assert!(sizes.is_sorted_by(|before, after| before >= after), "{sizes:?}");
}

#[tokio::test]
async fn a_reader_goes_on_in_another_epoch_with_a_gap_and_what_it_has_not_seen() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(defaults);
    let (mut single, mut several) = (live(&other, &["a"], "").await, live(&other, &["a", "b"], "").await);
    let mut away = Vec::new();
    for n in 1..=3 {
        away.push(send(&one, "a", n).await);
        for reader in [&mut single, &mut several] {
            assert_eq!(reader.text().await, n.to_string());
        }
    }
    send(&one, "x", "to be lost").await;
    store.forget_one();
    send(&one, "b", "after").await;
    single.gap(GapReason::OtherEpoch).await;
    several.gap(GapReason::OtherEpoch).await;
    assert_eq!(several.text().await, "after");
    // The gap is told once, and nothing is repeated.
    send(&one, "a", 4).await;
    for reader in [&mut single, &mut several] {
        assert_eq!(reader.text().await, "4");
    }
    let mut back = resume(&other, &["a", "b"], "", &away[1]).await;
    back.gap(GapReason::OtherEpoch).await;
    // Nothing from before the hole is held.
    assert_eq!(back.texts(2).await, ["after", "4"]);
}

#[tokio::test]
async fn held_events_outlive_an_epoch_until_a_later_event_would_hide_a_hole() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(defaults);
    let first = send(&one, "a", 1).await;
    one.channel("a").send(Event::text("2").id(CustomId::from_static("two"))).await.unwrap();
    send(&one, "x", "to be lost").await;
    store.forget_one();
    send(&one, "x", "another epoch").await;
    let mut late = everything(&other, "a").await;
    assert_eq!(late.texts(2).await, ["1", "2"]);
    // The old events are still held, so an event with the same id is refused.
    let again = one.channel("a").send(Event::text("2").id(CustomId::from_static("two"))).await;
    assert!(again.unwrap_err().is_duplicate_id());
    let mut away = resume(&other, &["a"], "", &first).await;
    away.gap(GapReason::OtherEpoch).await;
    assert_eq!(away.text().await, "2");
    // A custom id does not say what its reader has missed.
    let mut by_custom_id = resume(&other, &["a"], "", "two").await;
    by_custom_id.gap(GapReason::UnknownId).await;
    assert_eq!(by_custom_id.texts(2).await, ["1", "2"]);
    send(&one, "a", 3).await;
    // One of them had no gap yet, and there may be a hole before this event.
    late.gap(GapReason::Lagged).await;
    for reader in [&mut late, &mut everything(&other, "a").await, &mut everything(&store.node(defaults), "a").await] {
        assert_eq!(reader.text().await, "3");
    }
    one.channel("a").send(Event::text("4").id(CustomId::from_static("two"))).await.unwrap();
}

#[tokio::test]
async fn pages_report_what_an_epoch_may_have_lost_exactly_once() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(defaults);
    let first = send(&one, "a", 1).await;
    send(&one, "a", 2).await;
    send(&one, "a", 3).await;
    send(&one, "x", "to be lost").await;
    store.forget_one();
    send(&one, "x", "another epoch").await;
    let read = async |after: Option<EventId>, limit| {
        let page = other.channel("a").read(after, limit).await.unwrap();
        let texts: Vec<_> = page.events.iter().map(|event| event.data()).collect();
        (texts.join(" "), page.gap.map(|gap| gap.reason), page.caught_up, Some(EventId::from(page.next)))
    };
    let told = Some(GapReason::OtherEpoch);
    let (texts, gap, caught_up, whole) = read(EventId::parse(first.as_bytes()), 9).await;
    assert_eq!((&*texts, gap, caught_up), ("2 3", told, true));
    let (texts, gap, caught_up, part) = read(EventId::parse(first.as_bytes()), 1).await;
    assert_eq!((&*texts, gap, caught_up), ("2", told, false));
    let (texts, gap, caught_up, fresh) = read(None, 9).await;
    assert_eq!((&*texts, gap, caught_up), ("1 2 3", None, true));
    send(&one, "a", 4).await;
    for (after, gap) in [
        (whole, None),
        // This reader does not know yet that an event after the third may be lost, and the third itself is gone.
        (fresh, Some(GapReason::Evicted)),
        (part, Some(GapReason::Evicted)),
    ] {
        let (texts, found, caught_up, next) = read(after, 9).await;
        assert_eq!((&*texts, found, caught_up), ("4", gap, true));
        assert_eq!(read(next, 9).await.1, None);
    }
}

#[tokio::test]
async fn channels_of_a_hub_that_was_lost_are_empty_but_stay_finished() {
    let Some(store) = RedisStore::begin().await else { return };
    let [one, other] = store.nodes(defaults);
    for n in 0..5 {
        send(&one, "a", n).await;
    }
    one.channel("run").finish(Event::text("done")).await.unwrap();
    let mut reader = live(&other, &["a"], "").await;
    store.command(&["DEL", HUB]);
    send(&one, "a", "anew").await;
    reader.gap(GapReason::OtherEpoch).await;
    assert_eq!(reader.text().await, "anew");
    let mut fresh = everything(&store.node(defaults), "a").await;
    assert_eq!(fresh.text().await, "anew");
    assert!(one.channel("run").send(Event::text("more")).await.unwrap_err().is_finished());
    let over = try_open(&other, OpenOptions::new(), &["run"], "", None).await;
    assert!(over.err().unwrap().is_over());
    fresh.nothing_before(&one, "a").await;
}
