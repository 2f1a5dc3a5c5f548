//! Promise 10, in the engine: published events are delivered, then the streams end, and nobody waits beyond the grace.

mod common;

use std::{task::Poll, time::Duration};

use common::*;
use tower_sse::{EndReason, Publisher};

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn events_published_before_a_shutdown_are_delivered_before_the_end() {
    let publisher = Publisher::new();
    let mut readers = vec![live(&publisher, &["a"], "ana"), live(&publisher, &["a", "b"], "ana")];
    let mut parked = live(&publisher, &["b"], "");
    assert!(poll(&mut parked).is_pending());
    send(&publisher, "a", 1);
    send_to(&publisher, "a", "ana", 2);
    let shutdown = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.shutdown(GRACE).await }
    });
    tokio::task::yield_now().await;
    for reader in &mut readers {
        assert_eq!(texts(reader), ["1", "2"]);
        assert_eq!(reader.end_reason(), Some(EndReason::Shutdown));
        assert!(matches!(poll(reader), Poll::Ready(None)));
    }
    assert!(next(&mut parked).await.is_none());
    assert!(!shutdown.is_finished());
    drop((readers, parked));
    assert!(shutdown.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_hub_in_process_is_ready_until_it_shuts_down() {
    let publisher = Publisher::new();
    let health = publisher.health().await;
    assert!(health.is_ready() && health.backend.is_ok() && health.level_lag.is_zero(), "{health:?}");
    assert!(publisher.shutdown(GRACE).await);
    let health = publisher.health().await;
    assert!(health.draining && !health.is_ready(), "{health:?}");
    assert_eq!(health.to_string(), "not ready: the node is draining");
}

#[tokio::test(start_paused = true)]
async fn readers_of_finished_channels_are_told_that_all_is_complete() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = Publisher::new();
        let mut behind = live(&publisher, channels, "ana");
        let mut parked = live(&publisher, channels, "");
        assert!(poll(&mut parked).is_pending());
        let finished: Vec<_> = channels.iter().map(|channel| finish(&publisher, channel, "last")).collect();
        let _ = futures_util::poll!(Box::pin(publisher.shutdown(GRACE)));
        for reader in [&mut behind, &mut parked] {
            assert_eq!(texts(reader), vec!["last"; channels.len()]);
            assert_eq!(reader.end_reason(), Some(EndReason::Finished));
        }
        let last = finished.last().unwrap();
        assert!(
            try_resume(&publisher, channels, "", last).unwrap_err().is_over(),
            "and it is over for a reader that resumes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_an_unfinished_channel_is_told_to_reconnect() {
    let publisher = Publisher::new();
    let mut reader = live(&publisher, &["a", "b"], "");
    finish(&publisher, "a", "last");
    let _ = futures_util::poll!(Box::pin(publisher.shutdown(GRACE)));
    assert_eq!(texts(&mut reader), ["last"]);
    assert_eq!(reader.end_reason(), Some(EndReason::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn parked_readers_are_woken() {
    let publisher = Publisher::new();
    let readers: Vec<_> = (0..200)
        .map(|n| {
            let mut reader = live(&publisher, &["a", "b"][..1 + n % 2], "");
            tokio::spawn(async move { next(&mut reader).await.is_none() })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(publisher.shutdown(GRACE).await);
    for reader in readers {
        assert!(reader.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn publishes_and_readers_are_refused_after_a_shutdown_began() {
    let publisher = Publisher::new();
    send(&publisher, "a", 1);
    assert!(publisher.shutdown(GRACE).await);
    assert!(try_send(&publisher, "a", None, 2).unwrap_err().is_shutting_down());
    assert!(try_send(&publisher, "new", Some("ana"), 2).unwrap_err().is_shutting_down());
    let refused = try_resume(&publisher, &["a"], "", "1").unwrap_err();
    assert!(refused.is_shutting_down() && !refused.is_over());
    assert_eq!(publisher.connections(), 0);
    assert_eq!(publisher.stats().publish_refused, 2);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_without_readers_is_done_at_once() {
    let publisher = Publisher::new();
    let before = tokio::time::Instant::now();
    assert!(publisher.shutdown(GRACE).await);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_an_unpolled_reader_no_longer_than_its_grace() {
    let publisher = Publisher::new();
    let mut stalled = live(&publisher, &["a"], "");
    send(&publisher, "a", 1);
    let before = tokio::time::Instant::now();
    assert!(!publisher.shutdown(GRACE).await);
    assert!(before.elapsed() >= GRACE);
    assert_eq!(texts(&mut stalled), ["1"], "and it still gets the rest");
    drop(stalled);
    assert!(publisher.shutdown(GRACE).await, "a second call checks again");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_returns_once_the_last_reader_is_gone() {
    let publisher = Publisher::new();
    let readers: Vec<_> = (0..10u64)
        .map(|n| {
            let mut reader = live(&publisher, &["a"], "");
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100 * n)).await;
                assert!(next(&mut reader).await.is_none());
            })
        })
        .collect();
    let before = tokio::time::Instant::now();
    assert!(publisher.shutdown(GRACE).await);
    assert!(before.elapsed() < GRACE);
    assert!(readers.iter().all(|reader| reader.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_hub_without_publishers_read_what_is_left_and_end() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = Publisher::new();
        let [mut behind, mut parked] = [(); 2].map(|()| live(&publisher, channels, "ana"));
        send(&publisher, "a", 1);
        assert_eq!(texts(&mut parked), ["1"]);
        let parked = tokio::spawn(async move { (next(&mut parked).await.is_none(), parked.end_reason()) });
        tokio::task::yield_now().await;
        // As long as there is a handle of any kind, something may come.
        let (clone, channel) = (publisher.clone(), publisher.channel("other"));
        drop((publisher, clone));
        tokio::task::yield_now().await;
        assert!(!parked.is_finished());
        drop(channel);
        assert_eq!(parked.await.unwrap(), (true, Some(EndReason::Shutdown)));
        assert_eq!(texts(&mut behind), ["1"]);
        assert_eq!(behind.end_reason(), Some(EndReason::Shutdown));
    }
}

#[tokio::test]
async fn readers_of_a_finished_channel_are_told_so_when_no_publisher_is_left() {
    let publisher = Publisher::new();
    let mut reader = live(&publisher, &["a"], "");
    finish(&publisher, "a", "last");
    drop(publisher);
    assert_eq!(texts(&mut reader), ["last"]);
    assert_eq!(reader.end_reason(), Some(EndReason::Finished));
}
