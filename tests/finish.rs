//! Finishing a channel: its readers get the rest and the end, and later readers get what is held. After that the
//! channel is over.

mod common;

use std::{task::Poll, time::Duration};

use common::*;
use tower_sse::{EndReason, OpenOptions, Publisher, Retention, Start, Subscription};

#[test]
fn readers_get_the_rest_and_the_end() {
    let publisher = Publisher::new();
    let mut level = live(&publisher, &["a"], "");
    let mut behind = live(&publisher, &["a"], "ana");
    send_to(&publisher, "a", "ana", 1);
    assert_eq!(texts(&mut level), [""; 0]);
    finish(&publisher, "a", "last");
    assert_eq!(texts(&mut level), ["last"]);
    assert_eq!(texts(&mut behind), ["1", "last"]);
    for reader in [&mut level, &mut behind] {
        assert!(matches!(poll(reader), Poll::Ready(None)));
        assert_eq!(reader.end_reason(), Some(EndReason::Finished));
    }
}

#[test]
fn nothing_follows_the_last_event() {
    let publisher = Publisher::new();
    finish(&publisher, "a", "last");
    assert!(try_send(&publisher, "a", None, "more").unwrap_err().is_finished());
    assert!(try_send(&publisher, "a", Some("ana"), "more").unwrap_err().is_finished());
    assert_eq!(texts(&mut earliest(&publisher, &["a"], "ana")), ["last"]);
}

#[test]
fn a_late_reader_gets_what_is_held_then_the_end_then_is_told_it_is_over() {
    let publisher = Publisher::new();
    let first = send(&publisher, "a", 1);
    let last = finish(&publisher, "a", "last");
    let mut late = resume(&publisher, &["a"], "", first);
    assert_eq!(texts(&mut late), ["last"]);
    assert_eq!(late.end_reason(), Some(EndReason::Finished));
    assert!(try_resume(&publisher, &["a"], "", last).unwrap_err().is_over());
}

#[test]
fn a_fresh_reader_of_a_finished_channel_gets_all_that_is_held_whatever_its_start() {
    let publisher = Publisher::new();
    send(&publisher, "a", 1);
    finish(&publisher, "a", "last");
    for (start, expected) in
        [(Start::Live, &["1", "last"][..]), (Start::Earliest, &["1", "last"]), (Start::Last(1), &["last"])]
    {
        let mut reader = ready(OpenOptions::new().start(start).open(&publisher, grant(&["a"], ""), None)).unwrap();
        assert_eq!(texts(&mut reader), expected);
        assert!(matches!(poll(&mut reader), Poll::Ready(None)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_channel_that_holds_nothing_is_over_for_fresh_readers_too() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    let first = send(&publisher, "a", 1);
    let last = finish(&publisher, "a", "last");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(ready(Subscription::open(&publisher, grant(&["a"], ""))).unwrap_err().is_over());
    assert!(try_resume(&publisher, &["a"], "", last).unwrap_err().is_over());
    // A reader that missed something gets a gap before the end.
    let mut reader = resume(&publisher, &["a"], "", first);
    assert_eq!(texts(&mut reader), ["gap:evicted"]);
    let told = reader.cursor().to_string();
    drop(reader);
    assert_eq!(publisher.stats().channels, 0);
    assert!(try_resume(&publisher, &["a"], "", told).unwrap_err().is_over());
    assert!(try_send(&publisher, "a", None, "more").unwrap_err().is_finished(), "even after it was dropped");
}

#[tokio::test(start_paused = true)]
async fn closing_makes_the_name_usable_again_also_when_the_channel_was_dropped() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    let first = finish(&publisher, "a", "last");
    close(&publisher, "a");
    finish(&publisher, "a", "last");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(ready(Subscription::open(&publisher, grant(&["a"], ""))).unwrap_err().is_over());
    assert_eq!(publisher.stats().channels, 0, "it was dropped");
    close(&publisher, "a");
    let again = send(&publisher, "a", "again");
    let mut reader = resume(&publisher, &["a"], "", &first);
    assert_gap(&gap(&mut reader), tower_sse::GapReason::Evicted, Some(&first), Some(&again));
}

#[test]
fn a_reader_of_several_channels_ends_when_all_are_finished() {
    let publisher = Publisher::new();
    let mut reader = live(&publisher, &["a", "b"], "");
    finish(&publisher, "a", "last of a");
    assert_eq!(texts(&mut reader), ["last of a"]);
    assert_eq!(reader.end_reason(), None);
    send(&publisher, "b", 1);
    let last = finish(&publisher, "b", "last of b");
    assert_eq!(texts(&mut reader), ["1", "last of b"]);
    assert_eq!(reader.end_reason(), Some(EndReason::Finished));
    assert!(try_resume(&publisher, &["b", "a"], "", last).unwrap_err().is_over());
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_several_finished_channels_ends_when_the_rest_is_too_old() {
    let publisher = Publisher::builder().retention(Retention::new().age(Duration::from_secs(60))).build();
    let mut reader = live(&publisher, &["a", "b"], "");
    (0..3).for_each(|n| drop(send(&publisher, "a", n)));
    ["a", "b"].iter().for_each(|channel| drop(finish(&publisher, channel, "last")));
    assert!(matches!(poll(&mut reader), Poll::Ready(Some(_))));
    tokio::time::advance(Duration::from_secs(61)).await;
    ["a", "b"].iter().for_each(|channel| drop(publisher.channel(*channel).recent(0)));
    assert_eq!(texts(&mut reader), ["gap:lagged"]);
    assert_eq!(reader.end_reason(), Some(EndReason::Finished));
}
