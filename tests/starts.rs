//! Where a reader starts: without an id, or with a custom one.

mod common;

use std::time::Duration;

use common::*;
use tower_sse::{CustomId, Event, EventId, OpenOptions, Publisher, Retention, Start, Subscription};

fn start(publisher: &Publisher, channels: &[&str], client: &str, start: Start) -> Subscription {
    ready(OpenOptions::new().start(start).open(publisher, grant(channels, client), None)).unwrap()
}

fn with_history() -> Publisher {
    let publisher = Publisher::builder().retention(Retention::new().events(3)).build();
    for n in 0..5 {
        send(&publisher, "a", format!("a{n}"));
        send_to(&publisher, "b", "ana", format!("b{n}"));
    }
    publisher
}

#[test]
fn live_starts_with_the_next_event() {
    let publisher = with_history();
    let mut readers = [&["a"][..], &["a", "b"]].map(|channels| start(&publisher, channels, "ana", Start::Live));
    send(&publisher, "a", "next");
    assert_eq!(readers.each_mut().map(texts), [["next"], ["next"]]);
}

#[test]
fn a_cursor_that_is_taken_before_the_state_misses_nothing_after_it() {
    for before in [0, 3] {
        let publisher = Publisher::new();
        for n in 0..before {
            send(&publisher, "a", format!("in the state {n}"));
        }
        let cursor = start(&publisher, &["a"], "ana", Start::Live).cursor();
        send(&publisher, "a", "while the state is read");
        send_to(&publisher, "a", "ana", "to ana");
        let mut page = resume(&publisher, &["a"], "ana", cursor.to_string());
        send(&publisher, "a", "later");
        assert_eq!(texts(&mut page), ["while the state is read", "to ana", "later"]);
    }
}

#[test]
fn earliest_starts_with_the_oldest_held_event() {
    let publisher = with_history();
    assert_eq!(texts(&mut start(&publisher, &["a"], "", Start::Earliest)), ["a2", "a3", "a4"]);
    let mut many = start(&publisher, &["a", "b"], "ana", Start::Earliest);
    assert_eq!(texts(&mut many), ["a2", "b2", "a3", "b3", "a4", "b4"]);
}

#[test]
fn last_n_counts_over_all_channels() {
    let publisher = with_history();
    let last = |channels: &[&str], client, n| texts(&mut start(&publisher, channels, client, Start::Last(n)));
    assert_eq!(last(&["a"], "", 2), ["a3", "a4"]);
    assert_eq!(last(&["a", "b"], "ana", 3), ["b3", "a4", "b4"]);
    assert_eq!(last(&["a", "b"], "", 3), ["a2", "a3", "a4"]);
    assert_eq!(last(&["a", "b"], "ana", 100), ["a2", "b2", "a3", "b3", "a4", "b4"]);
    assert_eq!(last(&["a"], "", 0), [""; 0]);
    assert_eq!(last(&["empty"], "", 5), [""; 0]);
}

#[test]
fn the_last_n_of_a_long_history_are_the_newest_of_both_lanes() {
    let publisher = Publisher::new();
    let channel = publisher.channel("a");
    let sent =
        |n: usize| if n.is_multiple_of(3) { send_to(&publisher, "a", "ana", n) } else { send(&publisher, "a", n) };
    (0..300).for_each(|n| drop(sent(n)));
    for n in [0, 1, 63, 64, 65, 128, 200, 300, 1_000, usize::MAX] {
        let expected: Vec<_> = (300_usize.saturating_sub(n)..300).map(|n| n.to_string()).collect();
        let recent = channel.recent_for("ana", n);
        assert_eq!(recent.iter().map(|event| event.data()).collect::<Vec<_>>(), expected);
        assert_eq!(texts(&mut start(&publisher, &["a", "b"], "ana", Start::Last(n))), expected);
    }
    assert_eq!((channel.recent(150).len(), channel.recent(150)[0].data()), (150, "76".to_owned()));
}

#[test]
fn last_n_continues_live() {
    let publisher = with_history();
    for n in [0, 1] {
        let mut reader = start(&publisher, &["a", "b"], "ana", Start::Last(n));
        send(&publisher, "a", "next");
        let read = texts(&mut reader);
        assert_eq!((read.len(), read.last().unwrap().as_str()), (n + 1, "next"));
    }
}

fn send_with_id(publisher: &Publisher, channel: &str, client: Option<&str>, id: &str) -> bool {
    let event = Event::text(id).id(CustomId::try_from(id).unwrap());
    let channel = publisher.channel(channel);
    let sent = match client {
        None => ready(channel.send(event)),
        Some(client) => ready(channel.send_to(client, event)),
    };
    match sent {
        Ok(sent) => {
            assert_eq!(sent.id.to_string(), id);
            true
        }
        Err(error) => {
            assert!(error.is_duplicate_id());
            false
        }
    }
}

#[test]
fn a_custom_id_resumes_after_its_event() {
    let publisher = Publisher::new();
    send(&publisher, "b", 0);
    assert!(send_with_id(&publisher, "a", None, "one"));
    send(&publisher, "b", 1);
    assert!(send_with_id(&publisher, "a", Some("ana"), "two"));
    send(&publisher, "a", 2);
    assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", "one")), ["two", "2"]);
    assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", "two")), ["2"]);
    assert_eq!(texts(&mut resume(&publisher, &["a", "b"], "", "one")), ["1", "2"]);
    assert_eq!(publisher.stats().gaps, 0);
}

#[test]
fn a_browser_returns_with_the_custom_id() {
    let publisher = Publisher::new();
    assert!(send_with_id(&publisher, "a", None, "order-17"));
    let held = &publisher.channel("a").recent(1)[0];
    assert_eq!(held.id().to_string(), "order-17");
    assert_eq!(held.as_bytes(), "data: order-17\nid: order-17\n\n");
}

#[test]
fn a_held_custom_id_is_refused_for_the_same_readers() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    assert!(send_with_id(&publisher, "a", None, "x"));
    assert!(!send_with_id(&publisher, "a", None, "x"));
    assert!(send_with_id(&publisher, "b", None, "x"));
    assert!(send_with_id(&publisher, "b", Some("ana"), "y"));
    assert!(!send_with_id(&publisher, "b", Some("ana"), "y"));
    assert!(send_with_id(&publisher, "b", Some("bob"), "y"));
    // Ana reads the broadcasts too, and a broadcast would reach her and Bob.
    assert!(!send_with_id(&publisher, "a", Some("ana"), "x"));
    assert!(!send_with_id(&publisher, "b", None, "y"));
    // A refused event leaves nothing behind.
    assert_eq!((publisher.channel("a").recent(9).len(), publisher.stats().publish_refused), (1, 4));
    (0..2).for_each(|n| drop(send(&publisher, "a", n)));
    assert!(send_with_id(&publisher, "a", None, "x"), "the event is no longer held");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_clients_have_is_free_for_everybody_once_their_events_are_gone() {
    let retention = Retention::new().events(3).age(Duration::from_secs(10));
    let publisher = Publisher::builder().retention(retention).build();
    // Too old, although nothing has evicted it yet.
    assert!(send_with_id(&publisher, "a", Some("ana"), "x"));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(send_with_id(&publisher, "a", None, "x"));
    // Evicted for later events, whichever client had it last.
    for client in ["ana", "bob", "ana"] {
        assert!(send_with_id(&publisher, "b", Some(client), "y"));
        send(&publisher, "b", 0);
        assert!(!send_with_id(&publisher, "b", None, "y"));
        (0..2).for_each(|n| drop(send_to(&publisher, "b", client, n)));
    }
    send(&publisher, "b", 1);
    assert!(send_with_id(&publisher, "b", None, "y"));
    close(&publisher, "b");
    assert!(send_with_id(&publisher, "b", Some("ana"), "y"));
}

#[test]
fn a_custom_id_that_could_be_of_two_events_gives_a_gap() {
    let publisher = Publisher::new();
    assert!(send_with_id(&publisher, "a", None, "x"));
    send(&publisher, "a", 1);
    assert!(send_with_id(&publisher, "b", None, "x"));
    assert_eq!(texts(&mut resume(&publisher, &["a"], "", "x")), ["1"]);
    assert_eq!(texts(&mut resume(&publisher, &["a", "b"], "", "x")), ["gap:unknown-id", "x", "1", "x"]);
}

#[test]
fn the_starting_cursor_of_a_reader_of_everything_resumes() {
    let publisher = Publisher::builder().retention(Retention::new().events(1)).build();
    (0..3).for_each(|n| drop(send(&publisher, "a", n)));
    let start = EventId::from(earliest(&publisher, &["a"], "").cursor());
    assert_eq!(texts(&mut resume(&publisher, &["a"], "", start.to_string())), ["2"]);
}
