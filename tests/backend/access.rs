//! Taking access back on all nodes, and knowing that nobody reads on any.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tower_sse::{Denied, EndReason, Grant, OpenOptions, Publisher, backend::Presence};

use crate::{
    common::grant,
    reader::*,
    store::{Store, defaults},
};

pub async fn a_client_is_disconnected_on_every_node(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut ana = [live(&one, &["a"], "ana").await, live(&other, &["a", "b"], "ana").await];
    let mut stays = [live(&other, &["b"], "ana").await, live(&other, &["a"], "bo").await];
    // Each node has a feed by then.
    send(&one, "a", 0).await;
    send(&one, "b", 0).await;
    for reader in ana.iter_mut().chain(&mut stays) {
        assert_eq!(reader.text().await, "0");
    }
    assert!(one.channel("a").disconnect("ana").await.unwrap() >= 1);
    for reader in &mut ana {
        reader.until_the_end(EndReason::Disconnected).await;
    }
    for (reader, channel) in stays.iter_mut().zip(["b", "a"]) {
        reader.nothing_before(&one, channel).await;
    }
    one.disconnect("ana").await.unwrap();
    stays[0].until_the_end(EndReason::Disconnected).await;
    stays[1].nothing_before(&one, "a").await;
    // It may come back at once.
    let mut again = live(&other, &["a"], "ana").await;
    again.nothing_before(&one, "a").await;
}

pub async fn a_client_is_authorized_anew_on_every_node(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let banned = Arc::new(AtomicBool::new(false));
    let rechecked = || {
        let banned = banned.clone();
        grant(&["a", "b"], "ana").recheck(move || {
            let granted = grant(if banned.load(SeqCst) { &[] } else { &["b"] }, "ana");
            async move { Ok::<Grant, Denied>(granted) }
        })
    };
    let open = async |node: &Publisher, grant| Reader::new(OpenOptions::new().open(node, grant, None).await.unwrap());
    let mut stay = [open(&one, rechecked()).await, open(&other, rechecked()).await];
    let mut back = live(&other, &["a", "b"], "ana").await;
    send(&one, "a", 0).await;
    for reader in stay.iter_mut().chain([&mut back]) {
        assert_eq!(reader.text().await, "0");
    }
    one.reauthorize("ana").await.unwrap();
    back.until_the_end(EndReason::Reauthorize).await;
    // A notice is on its way to each node by itself: it is there once the readers that were on a have left it.
    let connected = || one.channel("a").connections() + other.channel("a").connections();
    while connected() > 0 {
        look(&mut stay).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    send(&one, "a", "secret").await;
    send(&other, "b", 1).await;
    for reader in &mut stay {
        assert_eq!(reader.text().await, "1");
    }
    let mut returned = resume(&one, &["b"], "ana", &back.id()).await;
    assert_eq!(returned.text().await, "1", "exactly where it was");

    banned.store(true, SeqCst);
    other.reauthorize("ana").await.unwrap();
    for reader in &mut stay {
        reader.until_the_end(EndReason::Revoked).await;
    }
    returned.until_the_end(EndReason::Reauthorize).await;
}

/// Polls the readers, for which nothing has come.
async fn look(readers: &mut [Reader]) {
    for reader in readers {
        assert!(reader.try_next().await.is_none());
    }
}

pub async fn a_channel_is_unread_when_nobody_reads_it_on_any_node(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let reader = live(&other, &["a"], "").await;
    eventually(async || !one.channel("a").presence().await.unwrap().is_empty()).await;
    let waiting = tokio::spawn({
        let channel = one.channel("a");
        async move { channel.unread(Duration::from_millis(100)).await }
    });
    // Longer than the nodes take to report their connections, which is waited for in any case.
    tokio::time::sleep(Presence::EVERY + Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    let left = tokio::time::Instant::now();
    drop(reader);
    waiting.await.unwrap();
    assert!(left.elapsed() >= Duration::from_millis(100));
}
