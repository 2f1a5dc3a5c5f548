//! What a node says about itself when anything between it and the store fails.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tower_sse::ChannelName;

use crate::{
    faults::faulty_node,
    reader::*,
    store::{Shared, defaults},
};

/// Longer than a node lags as long as nothing is wrong.
const NOTABLE: Duration = Duration::from_millis(750);

pub async fn a_node_without_readers_is_ready_as_long_as_the_store_answers(store: impl Shared) {
    let (node, faults) = faulty_node(&store);
    let health = node.health().await;
    assert!(health.is_ready() && health.level_lag.is_zero(), "{health:?}");
    faults.go_away(true);
    let health = node.health().await;
    assert!(!health.is_ready() && health.backend.is_err() && health.feed_alive, "{health:?}");
    assert_eq!(health.to_string(), "not ready: the backend failed");
    faults.go_away(false);
    assert!(node.health().await.is_ready());
}

pub async fn a_node_whose_feed_is_down_is_not_ready_and_lags_more_and_more(store: impl Shared) {
    let (node, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&node, &["a"], "").await;
    eventually(async || node.health().await.is_ready()).await;
    faults.no_feed.store(true, SeqCst);
    faults.cut();
    eventually(async || !node.health().await.feed_alive).await;
    send(&other, "a", 1).await;
    eventually(async || node.health().await.level_lag > NOTABLE).await;
    let health = node.health().await;
    assert!(health.backend.is_ok() && !health.is_ready(), "{health:?}");
    assert_eq!(health.to_string(), "not ready: the feed is down");
    faults.no_feed.store(false, SeqCst);
    assert_eq!(reader.text().await, "1");
    eventually(async || node.health().await.is_ready()).await;
    eventually(async || node.health().await.level_lag < NOTABLE).await;
}

pub async fn a_node_lags_as_long_as_it_can_not_read_what_the_feed_has_lost(store: impl Shared) {
    let (node, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let mut reader = live(&node, &["a"], "").await;
    send(&other, "a", 1).await;
    assert_eq!(reader.text().await, "1");
    *faults.unreadable.lock().unwrap() = Some(ChannelName::from_static("a"));
    faults.drop_next.store(1, SeqCst);
    send(&other, "a", 2).await;
    send(&other, "a", 3).await;
    // Readers of other channels no longer wait by then.
    eventually(async || node.health().await.level_lag > Duration::from_secs(5)).await;
    // It is no reason to send new readers away: they may want other channels.
    assert!(node.health().await.is_ready());
    *faults.unreadable.lock().unwrap() = None;
    assert_eq!(reader.texts(2).await, ["2", "3"]);
    eventually(async || node.health().await.level_lag < NOTABLE).await;
}

pub async fn a_silent_feed_is_a_lag(store: impl Shared) {
    let (node, faults) = faulty_node(&store);
    let reader = live(&node, &["a"], "").await;
    eventually(async || node.health().await.is_ready()).await;
    // Nothing comes any more, and nothing is published.
    faults.delay.store(3_600_000, SeqCst);
    eventually(async || node.health().await.level_lag > NOTABLE).await;
    faults.delay.store(0, SeqCst);
    eventually(async || node.health().await.level_lag < NOTABLE).await;
    // The node has nothing to follow once nobody reads.
    drop(reader);
    eventually(async || node.health().await.level_lag.is_zero()).await;
}
