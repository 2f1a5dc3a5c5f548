//! Promise 8: every limit with its error, and that reaching it is counted.

mod common;

use std::time::Duration;

use common::*;
use tower_sse::{CustomId, Duplicates, Event, GapReason, Limits, OpenOptions, Publisher, Retention, Subscription};

fn with(limits: Limits) -> Publisher {
    Publisher::builder().limits(limits).build()
}

#[test]
fn channels() {
    let publisher = with(Limits::new().channels(2));
    send(&publisher, "a", 1);
    let reader = live(&publisher, &["b"], "");
    assert!(try_send(&publisher, "c", None, 1).unwrap_err().is_limit());
    assert!(ready(Subscription::open(&publisher, grant(&["a", "c"], ""))).unwrap_err().is_limit());
    send(&publisher, "a", 2);
    send(&publisher, "b", 2);
    let stats = publisher.stats();
    assert_eq!((stats.channels, stats.subscriptions, stats.publish_refused, stats.limited), (2, 1, 1, 1));
    close(&publisher, "a");
    send(&publisher, "c", 1);
    drop(reader);
}

#[tokio::test(start_paused = true)]
async fn idle_channels_make_room_for_others() {
    let retention = Retention::new().age(Duration::from_secs(10));
    let publisher = Publisher::builder().limits(Limits::new().channels(50)).retention(retention).build();
    for round in 0..20 {
        (0..50).for_each(|n| drop(send(&publisher, &format!("{round}-{n}"), 1)));
        assert!(try_send(&publisher, "more", None, 1).unwrap_err().is_limit());
        tokio::time::advance(Duration::from_secs(11)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_leaves_no_channel_behind() {
    let publisher = with(Limits::new().lanes(0).event_bytes(100));
    finish(&publisher, "over", "last");
    assert!(try_send(&publisher, "a", Some("ana"), 1).unwrap_err().is_limit());
    assert!(try_send(&publisher, "a", None, "x".repeat(101)).unwrap_err().is_too_large());
    assert!(ready(Subscription::open(&publisher, grant(&["b"], "ana"))).unwrap_err().is_limit());
    let none = OpenOptions::new().max_per_channel(0);
    assert!(ready(none.open(&publisher, grant(&["c"], ""), None)).unwrap_err().is_limit());
    assert_eq!(publisher.stats().channels, 1);
    publisher.shutdown(Duration::ZERO).await;
    for n in 0..100 {
        assert!(try_send(&publisher, &format!("channel{n}"), None, 1).unwrap_err().is_shutting_down());
    }
    assert_eq!(publisher.stats().channels, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_revive_a_finished_channel_that_was_dropped() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(10))).build();
    finish(&publisher, "over", "last");
    until_swept(&publisher, ROUND).await;
    for _ in 0..3 {
        assert!(try_send(&publisher, "over", None, "more").unwrap_err().is_finished());
        assert_eq!(publisher.stats().channels, 1);
    }
}

/// How many seconds a hub may take to look at all of its channels, whatever their names are.
const ROUND: u64 = 64;

/// Lets that many seconds pass while the hub is used once, and gives the task that sweeps it a chance to run.
async fn until_swept(publisher: &Publisher, seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    send(publisher, "used", "once a minute");
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_used_once_a_minute_is_swept_once_a_minute() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    (0..3_000).for_each(|n| drop(send(&publisher, &format!("channel{n}"), 1)));
    until_swept(&publisher, ROUND).await;
    assert_eq!(publisher.stats().channels, 1);
}

#[tokio::test(start_paused = true)]
async fn refused_publishes_sweep_too() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    finish(&publisher, "over", "last");
    (0..100).for_each(|n| drop(send(&publisher, &format!("channel{n}"), 1)));
    for _ in 0..100 {
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(try_send(&publisher, "over", None, "more").unwrap_err().is_finished());
        tokio::task::yield_now().await;
    }
    assert_eq!(publisher.stats().channels, 0);
}

#[tokio::test(start_paused = true)]
async fn one_publish_sweeps_no_more_than_a_slice() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    (0..3_000).for_each(|n| drop(send(&publisher, &format!("channel{n}"), 1)));
    tokio::time::advance(Duration::from_secs(200)).await;
    let before = publisher.stats().channels;
    send(&publisher, "used", 1);
    assert!(publisher.stats().channels + 100 > before, "the rest is left to a task");
}

#[test]
fn lanes() {
    let publisher = with(Limits::new().lanes(2));
    send_to(&publisher, "a", "ana", 1);
    let bob = live(&publisher, &["a"], "bob");
    assert!(try_send(&publisher, "a", Some("cid"), 1).unwrap_err().is_limit());
    assert!(ready(Subscription::open(&publisher, grant(&["a"], "cid"))).unwrap_err().is_limit());
    send_to(&publisher, "a", "bob", 1);
    send_to(&publisher, "b", "cid", 1);
    drop(live(&publisher, &["a"], ""));
    assert_eq!((publisher.stats().publish_refused, publisher.stats().limited, publisher.connections()), (1, 1, 1));
    drop(bob);
}

#[test]
fn subscriptions() {
    let publisher = with(Limits::new().subscriptions(2));
    let one = live(&publisher, &["a"], "");
    let _two = live(&publisher, &["b"], "");
    assert!(ready(Subscription::open(&publisher, grant(&["a"], ""))).unwrap_err().is_limit());
    assert_eq!((publisher.stats().limited, publisher.connections()), (1, 2));
    drop(one);
    drop(live(&publisher, &["a"], ""));
}

#[test]
fn channels_per_subscription() {
    let publisher = with(Limits::new().channels_per_subscription(2));
    drop(live(&publisher, &["a", "b", "a"], ""));
    let refused = ready(Subscription::open(&publisher, grant(&["a", "b", "c"], ""))).unwrap_err();
    assert!(refused.is_channel_count() && !refused.is_limit());
    assert!(ready(Subscription::open(&publisher, grant(&[], ""))).unwrap_err().is_channel_count());
    assert_eq!((publisher.stats().channels, publisher.connections()), (0, 0));
}

#[test]
fn event_bytes() {
    let publisher = with(Limits::new().event_bytes(100));
    assert!(try_send(&publisher, "a", None, "x".repeat(101)).unwrap_err().is_too_large());
    // Each line ending costs a field on the wire.
    assert!(try_send(&publisher, "a", None, "\n".repeat(20)).unwrap_err().is_too_large());
    // The wire format adds 27 bytes.
    assert!(try_send(&publisher, "a", None, "x".repeat(74)).unwrap_err().is_too_large());
    send(&publisher, "a", "x".repeat(73));
    assert_eq!((publisher.stats().published, publisher.stats().publish_refused), (1, 3));
}

#[test]
fn hub_bytes_evict_the_oldest_whatever_its_channel() {
    let publisher = with(Limits::new().hub_bytes(20_000));
    for n in 0..1_000 {
        send(&publisher, &format!("channel{}", n % 7), format!("{n:0100}"));
        assert!(publisher.stats().held_bytes <= 20_000);
    }
    let held = (0..7).flat_map(|n| publisher.channel(format!("channel{n}")).recent(1_000));
    let mut held: Vec<_> = held.map(|event| event.offset().get()).collect();
    held.sort_unstable();
    assert!(held.len() > 60);
    assert_eq!(held, (1_001 - held.len() as u64..=1_000).collect::<Vec<_>>());
    assert_eq!(publisher.stats().evicted, 1_000 - held.len() as u64);
}

#[test]
fn at_its_limit_a_hub_evicts_what_an_event_needs_and_little_more() {
    for channels in [1, 7, 30] {
        let publisher = with(Limits::new().hub_bytes(64_000));
        let mut evicted = 0;
        for n in 0..2_000 {
            send(&publisher, &format!("channel{}", n % channels), format!("{n:0100}"));
            let stats = publisher.stats();
            assert!(stats.held_bytes <= 64_000);
            if stats.evicted > evicted {
                // Memory that events share is given back when half of it is free.
                assert!(stats.held_bytes > 48_000, "{stats:?}");
                evicted = stats.evicted;
            }
        }
        assert!(evicted > 1_000);
    }
}

#[test]
fn an_event_that_is_larger_than_many_makes_room_for_itself() {
    let publisher = with(Limits::new().hub_bytes(1 << 20));
    (0..20_000).for_each(|n| drop(send(&publisher, &format!("channel{}", n % 100), n)));
    let before = publisher.stats().held_bytes;
    assert!(before > 1_000_000);
    for n in 0..50 {
        send(&publisher, "large", "x".repeat(500_000));
        assert!(publisher.stats().held_bytes <= 1 << 20, "after {n}");
    }
}

#[tokio::test]
async fn a_large_event_takes_the_place_of_small_ones_in_slices() {
    let max = 2 << 20;
    let retention = Retention::new().events(1_000_000).bytes(usize::MAX);
    let publisher = Publisher::builder().limits(Limits::new().hub_bytes(max)).retention(retention).build();
    while publisher.stats().evicted == 0 {
        send(&publisher, "small", "");
    }
    let large = "x".repeat(30_000);
    for _ in 0..50 {
        let before = publisher.stats();
        send(&publisher, "large", &large);
        let (held, evicted) = (publisher.stats().held_bytes, publisher.stats().evicted - before.evicted);
        assert!(held <= max + max / 24, "{held}");
        // As long as the event fits into the slack.
        if before.held_bytes + 40_000 <= max + max / 32 {
            assert!((1..=512).contains(&evicted), "{evicted}");
        }
    }
    // The rest goes in the background.
    let before = publisher.stats();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let after = publisher.stats();
    assert!(
        before.held_bytes > max && after.held_bytes <= max && after.evicted > before.evicted,
        "{before:?} {after:?}"
    );
}

#[test]
fn a_hub_may_be_full_to_the_byte() {
    let filled = |max: usize| {
        let publisher = with(Limits::new().hub_bytes(max));
        // All of the same size.
        (0..9).for_each(|n| drop(send(&publisher, "a", n)));
        publisher.stats()
    };
    let bytes = filled(usize::MAX).held_bytes;
    assert_eq!((filled(bytes).evicted, filled(bytes).held_bytes), (0, bytes));
    assert!(filled(bytes - 1).evicted > 0);
}

/// Whatever else an event brings counts too: a client's lane, custom ids, channels, what is remembered of those that are gone.
#[test]
fn hub_bytes_hold_whatever_events_bring() {
    for (lanes, custom_ids, channels) in [(1_000, false, 10), (1, true, 10), (100, true, 100), (10, false, 3_000)] {
        let max = 1 << 20;
        let publisher = with(Limits::new().hub_bytes(max));
        for n in 0..20_000 {
            let channel = publisher.channel(format!("channel{}", n % channels));
            let mut event = Event::text("x");
            if custom_ids {
                event = event.id(CustomId::try_from(format!("order-{n:08}")).unwrap());
            }
            ready(channel.send_to(format!("client{}", n / channels % lanes), event)).unwrap();
            assert!(publisher.stats().held_bytes <= max + max / 16, "{} after {n}", publisher.stats().held_bytes);
        }
        let stats = publisher.stats();
        assert!(stats.evicted > 5_000 && stats.held_bytes > max / 2, "{stats:?}");
    }
}

#[test]
fn readers_take_no_more_than_half_of_a_hubs_bytes() {
    let publisher = with(Limits::new().hub_bytes(2 << 20));
    let mut readers = Vec::new();
    let refused = loop {
        let client = format!("client{}", readers.len());
        let channels = [format!("channel{}", readers.len() % 50), "all".into()];
        match ready(Subscription::open(&publisher, grant(&channels.each_ref().map(|name| name.as_str()), &client))) {
            Ok(reader) => readers.push(reader),
            Err(refused) => break refused,
        }
    };
    assert!(refused.is_limit() && publisher.stats().limited == 1);
    let held = publisher.stats().held_bytes;
    assert!((800_000..1_500_000).contains(&held), "{held} bytes for {} readers", readers.len());
    // There is room for events still, also for a client that is not there.
    send(&publisher, "all", "x".repeat(100_000));
    send_to(&publisher, "another", "somebody", "x");
    assert_eq!(publisher.stats().evicted, 0);
    readers.truncate(readers.len() / 2);
    drop(live(&publisher, &["all"], ""));
}

/// Channels of more clients than a hub can remember make it forget none of what it remembers of others.
#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_clients_has_a_share_for_each_channel() {
    let retention = Retention::new().events(1).age(Duration::from_secs(60));
    let publisher = Publisher::builder().limits(Limits::new().hub_bytes(4 << 20)).retention(retention).build();
    let ana = send_to(&publisher, "quiet", "ana", 1);
    let all = send(&publisher, "quiet", 2);
    let before = send(&publisher, "finished", 1);
    let end = finish(&publisher, "finished", "the end");
    tokio::time::advance(Duration::from_secs(61)).await;
    for _ in 0..64 {
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(live(&publisher, &["sweeper"], ""));
    }
    assert_eq!(publisher.stats().channels, 0);

    for n in 0..60_000 {
        send_to(&publisher, &format!("busy{}", n % 4), &format!("client{n}"), n);
        if n % 20_000 == 19_999 {
            (0..4).for_each(|n| _ = close(&publisher, &format!("busy{n}")));
        }
        assert!(publisher.stats().held_bytes <= 4 << 20);
    }
    assert!(publisher.stats().held_bytes > 500_000, "it remembers some: {}", publisher.stats().held_bytes);
    assert!(try_resume(&publisher, &["finished"], "", &end).unwrap_err().is_over(), "and not that nothing will come");
    assert_gap(&gap(&mut resume(&publisher, &["finished"], "", &before)), GapReason::Evicted, Some(&before), None);
    let asked = with_offset(&ana, 0);
    assert_gap(&gap(&mut resume(&publisher, &["quiet"], "ana", &asked)), GapReason::Evicted, Some(&asked), None);
    assert_eq!(texts(&mut resume(&publisher, &["quiet"], "ana", &all)), [""; 0]);
    assert_eq!(texts(&mut resume(&publisher, &["quiet"], "bob", &all)), [""; 0]);
}

#[test]
fn per_channel_and_per_client() {
    let publisher = Publisher::new();
    let options = OpenOptions::new().max_per_client(2).max_per_channel(3);
    let open = |channel, client| ready(options.open(&publisher, grant(&[channel], client), None));
    let _ana = [open("a", "ana").unwrap(), open("a", "ana").unwrap()];
    assert!(open("a", "ana").unwrap_err().is_limit());
    let _other_channel = open("b", "ana").unwrap();
    let bob = open("a", "bob").unwrap();
    assert!(open("a", "").unwrap_err().is_limit());
    drop(bob);
    drop(open("a", "").unwrap());
    assert_eq!(publisher.stats().limited, 2);
}

#[test]
fn a_replacement_takes_the_place_of_the_reader_it_replaces() {
    let publisher = Publisher::new();
    let options = OpenOptions::new().max_per_client(1).max_per_channel(2).duplicates(Duplicates::Replace);
    let open = |client| ready(options.open(&publisher, grant(&["a"], client), None));
    let readers = ["ana", "bob", "ana", "bob"].map(|client| open(client).unwrap());
    assert_eq!(publisher.channel("a").connections(), 2);
    assert!(open("cyd").unwrap_err().is_limit());
    drop(readers);
}

#[test]
fn a_refusal_for_another_reason_is_not_counted_as_limited() {
    let publisher = Publisher::new();
    assert!(ready(OpenOptions::new().open(&publisher, grant(&[], ""), None)).is_err());
    assert_eq!((publisher.stats().limited, publisher.stats().opened), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn retention_by_count_bytes_and_age() {
    let held = |retention: Retention| {
        let publisher = Publisher::builder().retention(retention).build();
        (0..20).for_each(|n| drop(send(&publisher, "a", format!("{n:0100}"))));
        (publisher.channel("a").recent(100).len(), publisher)
    };
    assert_eq!(held(Retention::new().events(7)).0, 7);
    assert_eq!(held(Retention::new().events(0)).0, 1, "the newest is always held");
    assert_eq!(held(Retention::new().bytes(1)).0, 1);
    let (count, publisher) = held(Retention::new().bytes(1_300));
    assert!(count == 8 && publisher.stats().held_bytes <= 3_500);
    let (count, publisher) = held(Retention::new().age(Duration::from_secs(9)));
    assert_eq!(count, 20);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(publisher.channel("a").recent(100).is_empty());
    assert!(publisher.stats().held_bytes < 1_000 && publisher.stats().evicted == 20);
}

#[tokio::test(start_paused = true)]
async fn retention_is_set_per_channel() {
    let publisher = Publisher::builder()
        .retention_by(|channel| Retention::new().events(if channel == "long" { 10 } else { 2 }))
        .build();
    for n in 0..20 {
        send(&publisher, "long", n);
        send(&publisher, "short", n);
    }
    assert_eq!((publisher.channel("long").recent(99).len(), publisher.channel("short").recent(99).len()), (10, 2));
}

#[tokio::test(start_paused = true)]
async fn the_sweep_drops_idle_channels() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    (0..200).for_each(|n| drop(send(&publisher, &format!("channel{n}"), n)));
    let kept = live(&publisher, &["channel0"], "");
    tokio::time::advance(Duration::from_secs(61)).await;
    for _ in 0..16 {
        send(&publisher, "busy", "keeps the hub going");
        tokio::time::advance(Duration::from_secs(4)).await;
    }
    let mut channels = publisher.channels();
    channels.sort();
    assert_eq!(channels, ["busy", "channel0"]);
    assert_eq!(publisher.stats().channels, 2);
    drop(kept);
}

/// However long a history is that becomes too old, no call waits until all of it is evicted.
#[tokio::test(start_paused = true)]
async fn a_history_that_is_too_old_is_hidden_at_once_and_evicted_in_slices() {
    let retention = Retention::new().events(usize::MAX).age(Duration::from_secs(60));
    let publisher = Publisher::builder().retention(retention).build();
    let first = send_to(&publisher, "a", "ana", 0);
    (1..10_000).for_each(|n| drop(send(&publisher, "a", n)));
    tokio::time::advance(Duration::from_secs(30)).await;
    let young = send(&publisher, "a", "young");
    tokio::time::advance(Duration::from_secs(31)).await;
    let evicted = || publisher.stats().evicted;
    for client in ["", "ana"] {
        let before = evicted();
        let mut reader = resume(&publisher, &["a"], client, &first);
        assert_gap(&gap(&mut reader), GapReason::Evicted, Some(&first), Some(&young));
        assert_eq!(texts(&mut reader), ["young"]);
        assert_eq!(publisher.channel("a").recent(9).len(), 1);
        assert!((1..1_500).contains(&(evicted() - before)), "{before} and then {}", evicted());
    }
    // The upkeep evicts the rest, a slice at a time.
    for _ in 0..1_000 {
        tokio::time::advance(Duration::from_secs(1)).await;
        send(&publisher, "b", "keeps the hub going");
        tokio::task::yield_now().await;
        if evicted() >= 10_000 {
            break;
        }
    }
    assert!(evicted() >= 10_000 && publisher.stats().held_bytes < 100_000);
}

/// The application's function is called without a lock held, so it may call the hub.
#[test]
fn a_retention_function_may_call_the_hub() {
    let slot = std::sync::Arc::new(std::sync::OnceLock::<Publisher>::new());
    let hub = slot.clone();
    let publisher = Publisher::builder()
        .retention_by(move |channel| {
            let channels = hub.get().map_or(0, |publisher| publisher.channels().len());
            let held = hub.get().map_or(0, |publisher| publisher.channel(channel).recent(1).len());
            Retention::new().events(10 + channels + held)
        })
        .build();
    slot.set(publisher.clone()).unwrap();
    send(&publisher, "a", 1);
    assert_eq!(publisher.channels(), ["a"]);
}
