//! How far a connected reader may lag is apart from how much history whoever comes later gets.

mod common;

use common::*;
use tower_sse::{GapReason, OpenOptions, Publisher, Retention, Start};

fn hub(events: usize, lag: usize) -> Publisher {
    Publisher::builder().retention(Retention::new().events(events).lag(lag)).build()
}

#[test]
fn a_channel_without_history_loses_nothing_for_a_reader_that_is_connected() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = hub(0, 100);
        let mut reader = live(&publisher, channels, "");
        (0..100).for_each(|n| drop(send(&publisher, "a", n)));
        assert_eq!(texts(&mut earliest(&publisher, channels, "")), [""; 0]);
        assert!(publisher.channel("a").recent(9).is_empty());
        assert_eq!(texts(&mut reader), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
        (0..101).for_each(|n| drop(send(&publisher, "a", n)));
        assert_eq!(texts(&mut reader)[..2], ["gap:lagged", "1"]);
    }
}

#[test]
fn a_reader_that_comes_later_gets_only_the_history() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = hub(3, 10);
        let mut reader = live(&publisher, channels, "ana");
        let ids: Vec<_> = (0..8).map(|n| send(&publisher, "a", n)).collect();
        assert_eq!(texts(&mut earliest(&publisher, channels, "")).concat(), "567");
        let last = OpenOptions::new().start(Start::Last(5)).open(&publisher, grant(channels, ""), None);
        assert_eq!(texts(&mut ready(last).unwrap()).concat(), "567");
        assert_eq!(publisher.channel("a").recent(9).len(), 3);
        assert_eq!(texts(&mut resume(&publisher, channels, "", &ids[4])).concat(), "567");
        let mut resumed = resume(&publisher, channels, "", &ids[3]);
        assert_gap(&gap(&mut resumed), GapReason::Evicted, Some(&ids[3]), Some(&ids[5]));
        assert_eq!(texts(&mut resumed).concat(), "567");
        assert_eq!(texts(&mut reader).concat(), "01234567");
    }
}

#[test]
fn what_is_no_history_and_was_for_others_is_no_gap() {
    let publisher = hub(1, 10);
    let _reader = live(&publisher, &["a"], "");
    let before = send(&publisher, "a", 1);
    (0..5).for_each(|n| drop(send_to(&publisher, "a", "ana", n)));
    assert!(texts(&mut resume(&publisher, &["a"], "bob", &before)).is_empty());
    assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", &before)), ["gap:evicted", "4"]);
}

#[test]
fn a_channel_that_nobody_reads_holds_its_history_alone() {
    let publisher = hub(0, 1_000);
    let reader = live(&publisher, &["a"], "");
    let before = publisher.stats().held_bytes;
    (0..50).for_each(|_| drop(send(&publisher, "a", "x".repeat(1_000))));
    assert!(publisher.stats().held_bytes > before + 50_000);
    let last = send(&publisher, "a", "last");
    drop(reader);
    assert_eq!((publisher.stats().channels, publisher.stats().evicted), (0, 51));
    send(&publisher, "a", "x");
    assert_eq!(publisher.stats().channels, 0, "nothing is kept of it");
    assert_eq!(texts(&mut resume(&publisher, &["a"], "", &last)), ["gap:evicted"]);
}

#[test]
fn the_end_of_a_channel_without_history_reaches_its_readers() {
    let publisher = hub(0, 10);
    let mut reader = live(&publisher, &["a"], "");
    let before = send(&publisher, "a", "x");
    finish(&publisher, "a", "bye");
    assert_eq!(texts(&mut resume(&publisher, &["a"], "", &before)), ["gap:evicted"]);
    assert_eq!(texts(&mut reader), ["x", "bye"]);
    assert!(reader.end_reason().is_some());
}
