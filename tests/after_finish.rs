//! A channel can hold everything while it is in progress, and some time longer; and one in progress is no victim of a full hub
//! as long as there are others.

mod common;

use std::time::Duration;

use common::*;
use tokio::time::advance;
use tower_sse::{Event, Limits, Publisher, Retention};

const HOUR: Duration = Duration::from_secs(3_600);

fn hub() -> Publisher {
    let run = Retention::new().events(3).age(Duration::from_secs(60)).bytes(100_000).after_finish(2 * HOUR);
    Publisher::builder().retention_by(move |channel| if *channel == "run" { run } else { Retention::new() }).build()
}

fn all(publisher: &Publisher) -> String {
    texts(&mut earliest(publisher, &["run"], "")).concat()
}

#[tokio::test(start_paused = true)]
async fn neither_count_nor_age_evicts_what_is_in_progress_and_the_end_begins_its_age() {
    let publisher = hub();
    for n in 0..10 {
        send(&publisher, "run", n);
        advance(10 * HOUR).await;
    }
    assert_eq!(all(&publisher), "0123456789");
    finish(&publisher, "run", "!");
    advance(2 * HOUR - Duration::from_millis(1)).await;
    assert_eq!(all(&publisher), "0123456789!");
    advance(Duration::from_millis(1)).await;
    assert!(try_resume(&publisher, &["run"], "", "").is_err_and(|error| error.is_over()));
    assert_eq!(publisher.stats().evicted, 11);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_progress_is_history_whatever_the_lag() {
    let run = Retention::new().events(1).lag(5).after_finish(HOUR);
    let publisher = Publisher::builder().retention(run).build();
    (0..10).for_each(|n| drop(send(&publisher, "run", n)));
    assert_eq!(all(&publisher), "0123456789");
    assert_eq!(publisher.channel("run").recent(99).len(), 10);
}

#[tokio::test(start_paused = true)]
async fn bytes_bound_what_is_in_progress_and_its_readers_are_told() {
    let publisher = hub();
    let mut slow = live(&publisher, &["run"], "");
    (0..30).for_each(|n| drop(send(&publisher, "run", n.to_string().repeat(5_000))));
    assert_eq!(texts(&mut slow)[0], "gap:lagged");
    assert!(publisher.stats().evicted > 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_hub_evicts_finished_and_idle_channels_before_one_in_progress() {
    let publisher = Publisher::builder()
        .retention(Retention::new().events(usize::MAX).bytes(usize::MAX).after_finish(HOUR))
        .limits(Limits::new().hub_bytes(4 << 20))
        .build();
    let text = "x".repeat(1_000);
    let mut reader = live(&publisher, &["run"], "");
    // The oldest events are those of the channel in progress.
    let first = send(&publisher, "run", "first");
    (0..1_000).for_each(|_| drop(send(&publisher, "run", &text)));
    for n in 0..20 {
        (0..100).for_each(|_| drop(send(&publisher, &format!("done/{n}"), &text)));
        finish(&publisher, &format!("done/{n}"), "end");
    }
    (0..800).for_each(|_| drop(send(&publisher, "idle", &text)));
    // All channels are looked at once a minute.
    for _ in 0..1_024 {
        advance(Duration::from_millis(250)).await;
        send(&publisher, "tick", "");
    }
    let before = publisher.stats();
    assert!(before.held_bytes <= 4 << 20 && before.evicted > 0, "{before:?}");
    let has_lost = |channel: &str, id: &str| texts(&mut resume(&publisher, &[channel], "", id))[0].starts_with("gap");
    (0..1_000).for_each(|_| drop(send(&publisher, "run", &text)));
    assert!(publisher.stats().evicted > before.evicted);
    assert!(has_lost("done/0", &first) && !has_lost("idle", &first), "what is finished goes first");
    (0..1_300).for_each(|_| drop(send(&publisher, "run", &text)));
    assert!(has_lost("idle", &first));
    // Nothing of it was evicted, and the reader has lost nothing.
    assert_eq!(texts(&mut resume(&publisher, &["run"], "", &first)).len(), 3_300);
    assert_eq!(texts(&mut reader).len(), 3_301);
    // Once there is nothing else, it is its turn, and that is told.
    (0..4_000).for_each(|_| drop(send(&publisher, "run", &text)));
    assert_eq!(texts(&mut reader)[0], "gap:lagged");
    assert_eq!(texts(&mut resume(&publisher, &["run"], "", &first))[0], "gap:evicted");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_goes_on_is_in_progress_again() {
    goes_on(|publisher, text| drop(send(publisher, "one", text))).await;
    goes_on(|publisher, text| drop(ready(publisher.channel("one").send_all([Event::text(text)])).unwrap())).await;
}

/// After `send` has sent an event to the channel `one`, which was idle.
async fn goes_on(send_one: impl FnOnce(&Publisher, &str)) {
    let publisher = Publisher::builder()
        .retention(Retention::new().events(usize::MAX).bytes(usize::MAX).age(1_000 * HOUR))
        .limits(Limits::new().hub_bytes(4 << 20))
        .build();
    let text = "x".repeat(1_000);
    (0..500).for_each(|_| drop(send(&publisher, "one", &text)));
    (0..500).for_each(|_| drop(send(&publisher, "other", &text)));
    for _ in 0..1_024 {
        advance(Duration::from_millis(250)).await;
        send(&publisher, "tick", "");
    }
    send_one(&publisher, &text);
    (0..3_100).for_each(|_| drop(send(&publisher, "tick", &text)));
    assert_eq!(publisher.channel("one").recent(usize::MAX).len(), 501);
    assert!(publisher.channel("other").recent(usize::MAX).len() < 500);
}
