//! Promise 3: a reader that may have lost an event gets a gap first, and a reader that lost nothing gets none.

mod common;

use std::{task::Poll, time::Duration};

use common::*;
use tower_sse::{CustomId, Event, GapReason, Limits, Publisher, Retention};

fn holding(events: usize) -> Publisher {
    Publisher::builder().retention(Retention::new().events(events)).build()
}

fn no_gap(publisher: &Publisher, channels: &[&str], client: &str, id: &str) -> Vec<String> {
    let before = publisher.stats().gaps;
    let texts = texts(&mut resume(publisher, channels, client, id));
    assert_eq!(publisher.stats().gaps, before);
    texts
}

#[test]
fn evicted_by_count() {
    let publisher = holding(3);
    let ids: Vec<_> = (0..6).map(|n| send(&publisher, "a", n)).collect();
    let mut reader = resume(&publisher, &["a"], "", &ids[1]);
    assert_gap(&gap(&mut reader), GapReason::Evicted, Some(&ids[1]), Some(&ids[3]));
    assert_eq!(texts(&mut reader), ["3", "4", "5"]);
    assert_eq!(no_gap(&publisher, &["a"], "", &ids[2]), ["3", "4", "5"]);
    assert_eq!(publisher.stats().gaps, 1);
}

#[test]
fn evicted_by_bytes() {
    let publisher = Publisher::builder().retention(Retention::new().bytes(500)).build();
    let ids: Vec<_> = (0..6).map(|n| send(&publisher, "a", n.to_string().repeat(100))).collect();
    let mut reader = resume(&publisher, &["a"], "", &ids[0]);
    assert_gap(&gap(&mut reader), GapReason::Evicted, Some(&ids[0]), Some(&ids[3]));
    assert_eq!(drain(&mut reader).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn evicted_by_age() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    let first = send(&publisher, "a", 1);
    send(&publisher, "a", 2);
    tokio::time::advance(Duration::from_secs(40)).await;
    let third = send(&publisher, "a", 3);
    tokio::time::advance(Duration::from_secs(21)).await;
    let mut reader = resume(&publisher, &["a"], "", &first);
    assert_gap(&gap(&mut reader), GapReason::Evicted, Some(&first), Some(&third));
    assert_eq!(texts(&mut reader), ["3"]);
}

#[test]
fn evicted_by_the_hubs_bytes() {
    let publisher = Publisher::builder().limits(Limits::new().hub_bytes(4_000)).build();
    let old = send(&publisher, "old", "x");
    send(&publisher, "old", "y");
    (0..40).for_each(|_| drop(send(&publisher, "busy", "x".repeat(100))));
    let mut reader = resume(&publisher, &["old"], "", &old);
    let gap = gap(&mut reader);
    assert_gap(&gap, GapReason::Evicted, Some(&old), None);
    assert_eq!(texts(&mut reader), [""; 0]);
    // The gap's id resumes without another gap.
    assert_eq!(no_gap(&publisher, &["old"], "", &gap.cursor.to_string()), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn evicted_with_its_idle_channel() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    let (first, last) = (send(&publisher, "a", 1), send(&publisher, "a", 2));
    sweep(&publisher, Duration::from_secs(61)).await;
    assert!(publisher.channels().is_empty());
    let mut reader = resume(&publisher, &["a"], "", &first);
    assert_gap(&gap(&mut reader), GapReason::Evicted, Some(&first), None);
    drop(reader);
    assert_eq!(no_gap(&publisher, &["a"], "", &last), [""; 0], "it had read everything");
}

/// Lets time pass, so that the sweep visits every channel.
async fn sweep(publisher: &Publisher, time: Duration) {
    tokio::time::advance(time).await;
    for _ in 0..16 {
        tokio::time::advance(Duration::from_secs(4)).await;
        drop(live(publisher, &["sweeper"], ""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_channel_remembers_each_clients_evictions() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    let all = send(&publisher, "a", "all");
    let ana = send_to(&publisher, "a", "ana", "ana");
    let bob = send_to(&publisher, "a", "bob", "bob");
    sweep(&publisher, Duration::from_secs(61)).await;
    assert_eq!(publisher.stats().channels, 0);

    assert_eq!(no_gap(&publisher, &["a"], "", &all), [""; 0]);
    assert_eq!(no_gap(&publisher, &["a"], "cid", &all), [""; 0]);
    assert_eq!(no_gap(&publisher, &["a"], "ana", &ana), [""; 0], "the event for bob does not concern ana");
    assert_eq!(no_gap(&publisher, &["a"], "bob", &bob), [""; 0]);
    assert_gap(&gap(&mut resume(&publisher, &["a"], "bob", &ana)), GapReason::Evicted, Some(&ana), None);
    assert_gap(&gap(&mut resume(&publisher, &["a"], "ana", &all)), GapReason::Evicted, Some(&all), None);
}

#[test]
fn an_unknown_id() {
    let publisher = holding(10);
    let first = send(&publisher, "a", 1);
    for id in ["42", "never-given", "A"] {
        let mut reader = resume(&publisher, &["a"], "", id);
        assert_gap(&gap(&mut reader), GapReason::UnknownId, Some(id), Some(&first));
        assert_eq!(texts(&mut reader), ["1"]);
    }
}

#[test]
fn a_malformed_id() {
    let publisher = holding(10);
    let first = send(&publisher, "a", 1);
    let mut ids: Vec<Vec<u8>> =
        [&b"\xff\xfe"[..], b"a b", b"\r\n", b"0123456789ab-", b"0123456789ab-01", b"0123456789ab--1", b"\0"]
            .map(Vec::from)
            .into();
    ids.push(vec![b'x'; 128]);
    ids.push("\u{1F980}".repeat(10_000).into_bytes());
    ids.push(format!("{first}0000000000000000000000").into_bytes());
    ids.push(first.to_uppercase().replace('-', "--").into_bytes());
    for id in ids {
        let mut reader = resume(&publisher, &["a"], "", &id);
        let gap = gap(&mut reader);
        let requested = String::from_utf8_lossy(&id[..id.len().min(128)]).into_owned();
        assert_gap(&gap, GapReason::UnknownId, Some(&requested), Some(&first));
        assert_eq!(texts(&mut reader), ["1"]);
    }
}

#[test]
fn an_id_of_another_epoch() {
    let publisher = holding(10);
    let first = send(&publisher, "a", 1);
    let other = send(&holding(10), "a", 1);
    assert_ne!(first, other);
    let mut reader = resume(&publisher, &["a"], "", &other);
    assert_gap(&gap(&mut reader), GapReason::OtherEpoch, Some(&other), Some(&first));
    assert_eq!(texts(&mut reader), ["1"]);
}

#[test]
fn an_id_from_the_future() {
    let publisher = holding(10);
    let first = send(&publisher, "a", 1);
    for future in [with_offset(&first, 2), with_offset(&first, u64::MAX)] {
        let mut reader = resume(&publisher, &["a"], "", &future);
        assert_gap(&gap(&mut reader), GapReason::UnknownId, Some(&future), Some(&first));
        assert_eq!(texts(&mut reader), ["1"]);
        assert_eq!(reader.cursor().to_string(), first);
    }
}

#[test]
fn a_custom_id_that_was_evicted() {
    let publisher = holding(2);
    let event = Event::text("custom").id(CustomId::from_static("order-1"));
    ready(publisher.channel("a").send(event)).unwrap();
    assert_eq!(no_gap(&publisher, &["a"], "", "order-1"), [""; 0]);
    let ids: Vec<_> = (1..3).map(|n| send(&publisher, "a", n)).collect();
    let mut reader = resume(&publisher, &["a"], "", "order-1");
    assert_gap(&gap(&mut reader), GapReason::UnknownId, Some("order-1"), Some(&ids[0]));
    assert_eq!(texts(&mut reader), ["1", "2"]);
}

#[test]
fn a_live_reader_that_is_overrun() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = holding(3);
        let mut reader = live(&publisher, channels, "");
        send(&publisher, "a", "read");
        assert_eq!(texts(&mut reader), ["read"]);
        let ids: Vec<_> = (0..5).map(|n| send(&publisher, "a", n)).collect();
        assert_gap(&gap(&mut reader), GapReason::Lagged, None, Some(&ids[2]));
        assert_eq!(texts(&mut reader), ["2", "3", "4"]);
        assert_eq!((publisher.stats().gaps, publisher.stats().lagged), (1, 1));
    }
}

#[test]
fn an_overrun_in_one_channel_does_not_hide_a_later_one_in_another() {
    let publisher = holding(3);
    let mut reader = live(&publisher, &["slow", "fast"], "");
    let slow: Vec<_> = (0..3).map(|n| send(&publisher, "slow", format!("slow{n}"))).collect();
    let fast: Vec<_> = (0..4).map(|n| send(&publisher, "fast", format!("fast{n}"))).collect();
    assert_gap(&gap(&mut reader), GapReason::Lagged, None, Some(&slow[0]));
    // Now the slow channel's first event is evicted too, at a lower offset than the gap about the fast channel named.
    send(&publisher, "slow", "slow3");
    assert!(offset(&slow[0]) < offset(&fast[0]));
    assert_gap(&gap(&mut reader), GapReason::Lagged, None, Some(&slow[1]));
    assert_eq!(texts(&mut reader), ["slow1", "slow2", "fast1", "fast2", "fast3", "slow3"]);
}

#[test]
fn an_eviction_in_one_channel_does_not_hide_a_later_one_from_a_fresh_reader() {
    let publisher = holding(3);
    (0..3).for_each(|n| drop(send(&publisher, "slow", format!("slow{n}"))));
    (0..4).for_each(|n| drop(send(&publisher, "fast", format!("fast{n}"))));
    let mut reader = earliest(&publisher, &["slow", "fast"], "");
    send(&publisher, "slow", "slow3");
    assert_eq!(texts(&mut reader), ["gap:lagged", "slow1", "slow2", "fast1", "fast2", "fast3", "slow3"]);
}

#[test]
fn a_fresh_reader_has_no_gap() {
    let publisher = holding(2);
    (0..5).for_each(|n| drop(send(&publisher, "a", n)));
    assert_eq!(texts(&mut live(&publisher, &["a"], "")), [""; 0]);
    assert_eq!(texts(&mut earliest(&publisher, &["a"], "ana")), ["3", "4"]);
    let empty_id = ready(tower_sse::OpenOptions::new().open(&publisher, grant(&["a"], ""), Some(b""))).unwrap();
    assert_eq!(texts(&mut { empty_id }), [""; 0]);
    assert_eq!(publisher.stats().gaps, 0);
}

#[test]
fn targeted_events_of_others_that_were_evicted_are_no_gap() {
    let publisher = holding(2);
    let id = send(&publisher, "a", "all");
    (0..9).for_each(|n| drop(send_to(&publisher, "a", "bob", n)));
    assert_eq!(no_gap(&publisher, &["a"], "", &id), [""; 0]);
    assert_eq!(no_gap(&publisher, &["a"], "ana", &id), [""; 0]);
    assert_gap(
        &gap(&mut resume(&publisher, &["a"], "bob", &id)),
        GapReason::Evicted,
        Some(&id),
        Some(&with_offset(&id, 9)),
    );
}

#[test]
fn evictions_of_other_channels_are_no_gap() {
    let publisher = holding(2);
    let id = send(&publisher, "quiet", 1);
    send(&publisher, "quiet", 2);
    (0..9).for_each(|n| drop(send(&publisher, "busy", n)));
    assert_eq!(no_gap(&publisher, &["quiet"], "", &id), ["2"]);
    assert_eq!(texts(&mut resume(&publisher, &["quiet", "busy"], "", &id))[..2], ["gap:evicted", "2"]);
}

#[test]
fn a_live_reader_gets_no_gap_for_events_it_does_not_read() {
    let publisher = holding(2);
    let mut ana = live(&publisher, &["a", "b"], "ana");
    let mut alone = live(&publisher, &["a"], "ana");
    (0..9).for_each(|n| drop(send_to(&publisher, "a", "bob", n)));
    (0..9).for_each(|n| drop(send(&publisher, "c", n)));
    send(&publisher, "a", "all");
    assert_eq!((texts(&mut ana), texts(&mut alone)), (vec!["all".into()], vec!["all".into()]));
}

#[test]
fn a_reader_of_several_channels_that_was_just_told_of_a_loss_is_told_of_the_next_at_once() {
    let publisher = holding(1);
    let mut reader = live(&publisher, &["a", "b", "c"], "");
    let [_, second, third] = ["a", "b", "c"].map(|channel| send(&publisher, channel, channel));
    assert!(matches!(poll(&mut reader), Poll::Ready(Some(delivery)) if text(&delivery) == "a"));
    (4..6).for_each(|n| drop(send(&publisher, "a", n)));
    assert_gap(&gap(&mut reader), GapReason::Lagged, None, Some(&second));
    (6..8).for_each(|n| drop(send(&publisher, "c", n)));
    assert_gap(&gap(&mut reader), GapReason::Lagged, None, Some(&second));
    assert_eq!(texts(&mut reader), ["b", "5", "7"], "{third} is lost");
}
