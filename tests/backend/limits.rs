//! How many streams a client may have open, on all nodes together.

use std::{
    sync::{Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use tower::ServiceExt;
use tower_sse::{
    AllowAll, AuthorizeRequest, ChannelName, ClientId, EndReason, OpenError, OpenOptions, Publisher, backend::Presence,
    limits::RateLimit,
};

use crate::{
    faults::faulty_node,
    reader::*,
    store::{Shared, Store, defaults},
};

const SECOND: Duration = Duration::from_secs(1);

/// Opens a stream for a client that may have `max` of them.
pub async fn open(node: &Publisher, channel: &str, client: &str, max: usize) -> Result<Reader, OpenError> {
    let parts = http::Request::get("/").body(()).unwrap().into_parts().0;
    let (channel, client) = (ChannelName::try_from(channel).unwrap(), ClientId::try_from(client).unwrap());
    let request = AuthorizeRequest::new(parts, [channel], client);
    let grant = RateLimit::new().streams(max).around(AllowAll).oneshot(request).await.unwrap();
    OpenOptions::new().open(node, grant, None).await.map(Reader::new)
}

pub async fn assert_refused(node: &Publisher, client: &str, max: usize) {
    let error = open(node, "a", client, max).await.err().expect("it was let in");
    assert!(error.is_client_limit(), "{error}");
}

/// Opens a stream as soon as there is room.
pub async fn open_soon(node: &Publisher, client: &str, max: usize) -> Reader {
    let opened = Mutex::new(None);
    eventually(|| async {
        let attempt = open(node, "a", client, max).await.ok();
        let is_open = attempt.is_some();
        *opened.lock().unwrap() = attempt;
        is_open
    })
    .await;
    opened.into_inner().unwrap().expect("it is open")
}

pub async fn a_client_has_no_more_streams_than_it_may_on_all_nodes_together(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let _ana = [
        open(&one, "a", "ana", 3).await.unwrap(),
        open(&one, "b", "ana", 3).await.unwrap(),
        open(&other, "a", "ana", 3).await.unwrap(),
    ];
    let before = one.connections() + other.connections();
    for node in [&one, &other] {
        assert_refused(node, "ana", 3).await;
    }
    assert_eq!(one.connections() + other.connections(), before);
    let mut bob = open(&other, "a", "bob", 1).await.unwrap();
    assert_refused(&one, "bob", 1).await;
    bob.nothing_before(&one, "a").await;
    // Somebody else may have more.
    let more = open(&one, "a", "ana", 4).await.unwrap();
    assert_refused(&other, "ana", 4).await;
    drop(more);
    let _again = open_soon(&other, "ana", 4).await;
}

pub async fn a_client_that_opens_many_streams_at_once_gets_as_many_as_it_may(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let first = open(&other, "a", "ana", 5).await.unwrap();
    let opening = (0..20).map(|n| {
        let node = if n % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move { open(&node, "a", "ana", 5).await })
    });
    let opening: Vec<_> = opening.collect();
    let mut opened = vec![first];
    for opening in opening {
        opened.extend(opening.await.unwrap());
    }
    assert!(opened.len() <= 5, "{}", opened.len());
    // What was refused left nothing behind.
    while opened.len() < 5 {
        opened.push(open_soon(&one, "ana", 5).await);
    }
    assert_refused(&other, "ana", 5).await;
}

pub async fn a_stream_that_ends_makes_room_on_every_node_before_its_reader_has_read_the_end(store: impl Store) {
    let [one, other] = store.nodes(defaults);
    let mut ana = open(&one, "a", "ana", 1).await.unwrap();
    assert_refused(&other, "ana", 1).await;
    one.disconnect("ana").await.unwrap();
    let mut again = open_soon(&other, "ana", 1).await;
    assert_refused(&one, "ana", 1).await;
    again.nothing_before(&one, "a").await;
    ana.until_the_end(EndReason::Disconnected).await;
    drop(ana);
    assert_refused(&one, "ana", 1).await;
}

pub async fn the_streams_of_a_node_that_is_gone_count_for_fifteen_seconds(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let _ana = open(&one, "a", "ana", 1).await.unwrap();
    eventually(async || faults.present.load(SeqCst) == 1).await;
    assert_refused(&other, "ana", 1).await;
    faults.go_away(true);
    tokio::time::sleep(2 * Presence::EVERY - SECOND).await;
    assert_refused(&other, "ana", 1).await;
    tokio::time::sleep(Presence::EVERY + 2 * SECOND).await;
    let _again = open(&other, "a", "ana", 1).await.unwrap();
}

pub async fn a_store_that_has_lost_the_streams_learns_of_them_with_the_next_report(store: impl Shared) {
    let [one, other] = store.nodes(defaults);
    let mut ana = open(&one, "a", "ana", 1).await.unwrap();
    store.lose().await;
    tokio::time::sleep(2 * Presence::EVERY + SECOND).await;
    assert_refused(&other, "ana", 1).await;
    assert!(ana.try_next().await.is_none() || ana.subscription.end_reason().is_none());
}

pub async fn while_the_store_is_away_each_node_limits_its_own_streams(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let _elsewhere = open(&other, "a", "ana", 2).await.unwrap();
    // Its channel is loaded.
    let _reader = live(&one, &["a"], "").await;
    faults.go_away(true);
    let _here = [open(&one, "a", "ana", 2).await.unwrap(), open(&one, "a", "ana", 2).await.unwrap()];
    assert_refused(&one, "ana", 2).await;
}

pub async fn a_stream_that_ends_while_the_store_is_away_makes_room_once_it_is_back(store: impl Shared) {
    let (one, faults) = faulty_node(&store);
    let other = store.node(defaults);
    let [ana, _stays] = [open(&one, "a", "ana", 2).await.unwrap(), open(&one, "a", "ana", 2).await.unwrap()];
    faults.go_away(true);
    drop(ana);
    tokio::time::sleep(2 * SECOND).await;
    assert_refused(&other, "ana", 2).await;
    faults.go_away(false);
    let _again = open_soon(&other, "ana", 2).await;
    assert_refused(&other, "ana", 2).await;
}
