//! Keys that are fetched: how often, and what a reader notices when they change.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::helpers::*;
use crate::{
    Event, OpenOptions, Publisher, SseBody, Start, Subscription,
    authorize::jwt::{JwtKeys, jwt},
};

/// An issuer with a key set that a test can change. It counts how often it was asked.
#[derive(Clone, Default)]
struct Issuer {
    asked: Arc<AtomicUsize>,
    /// `None` if the issuer can't be reached.
    document: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Issuer {
    fn publish(&self, keys: &[&Value]) {
        *self.document.lock().unwrap() = Some(set(keys));
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn keys(&self) -> JwtKeys {
        let issuer = self.clone();
        JwtKeys::fetched(move || {
            issuer.asked.fetch_add(1, SeqCst);
            let document = issuer.document.clone();
            async move {
                tokio::time::sleep(SECOND / 10).await;
                document.lock().unwrap().clone().ok_or_else(|| io::Error::other("unreachable"))
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_unknown_key_ids_causes_one_fetch_per_interval() {
    let (issuer, pair) = (Issuer::default(), ec("1", "P-256"));
    issuer.publish(&[&pair.jwk]);
    let authorizer = jwt(issuer.keys());
    for round in 1..=3 {
        let storm: Vec<_> =
            (0..1000).map(|n| pair.token("ES256", Some(&format!("{round} {n}")), &claims(json!({})))).collect();
        let decided = join_all(storm.iter().map(|token| decide(&authorizer, token))).await;
        assert!(
            decided.iter().all(|decided| matches!(decided, Err(Some(StatusCode::UNAUTHORIZED)))),
            "they waited for it"
        );
        assert_eq!(issuer.asked(), round);
        let late = decide(&authorizer, &pair.token("ES256", Some(&format!("late {round}")), &claims(json!({})))).await;
        assert_eq!((late.unwrap_err(), issuer.asked()), (None, round), "the key may be new: the client retries");
        let again = join_all(storm.iter().map(|token| decide(&authorizer, token))).await;
        let known = again.iter().filter(|decided| matches!(decided, Err(Some(_)))).count();
        assert_eq!((known, issuer.asked()), (256, round), "the number of ids that are remembered as unknown");
        assert_granted(decide(&authorizer, &pair.token("ES256", Some("1"), &claims(json!({})))).await);
        tokio::time::advance(10 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn fresh_keys_refuse_a_token_without_a_key_id_at_once_if_none_of_them_signed_it() {
    let (issuer, mine, other) = (Issuer::default(), ec("1", "P-256"), ec("2", "P-256"));
    let [by_other, by_nobody] =
        [&other, &ec("3", "P-256")].map(|pair| pair.token("ES256", None, &claims(json!({ "exp": now() + 3600 }))));
    let authorizer = jwt(issuer.keys());
    issuer.publish(&[&mine.jwk]);
    for _ in 0..3 {
        assert_unauthorized(&authorizer, &by_other).await;
        assert_eq!(issuer.asked(), 1);
    }
    tokio::time::advance(10 * SECOND).await;
    issuer.publish(&[&mine.jwk, &other.jwk]);
    assert_granted(decide(&authorizer, &by_other).await);
    assert_unauthorized(&authorizer, &by_nobody).await;
    assert_eq!(issuer.asked(), 2);
    // A fetch that fails says nothing about which keys there are.
    *issuer.document.lock().unwrap() = None;
    tokio::time::advance(10 * SECOND).await;
    for _ in 0..2 {
        assert_eq!((decide(&authorizer, &by_nobody).await.unwrap_err(), issuer.asked()), (None, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_causes_no_fetch() {
    let issuer = Issuer::default();
    let authorizer = jwt(issuer.keys());
    assert_unauthorized(&authorizer, "a.b.c").await;
    assert_unauthorized(&authorizer, &forge(&json!({ "alg": "none", "kid": "1" }), &claims(json!({})), |_| Vec::new()))
        .await;
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_a_token_names_it_and_a_removed_key_goes_with_the_next_fetch() {
    let (issuer, old, new) = (Issuer::default(), ec("old", "P-256"), ec("new", "P-256"));
    let authorizer = jwt(issuer.keys());
    let [by_old, by_new] = [(&old, "old"), (&new, "new")]
        .map(|(pair, id)| pair.token("ES256", Some(id), &claims(json!({ "exp": now() + 3600 }))));
    issuer.publish(&[&old.jwk]);
    assert_granted(decide(&authorizer, &by_old).await);
    tokio::time::advance(11 * SECOND).await;
    issuer.publish(&[&new.jwk]);
    assert_granted(decide(&authorizer, &by_old).await);
    assert_granted(decide(&authorizer, &by_new).await);
    assert_unauthorized(&authorizer, &by_old).await;
    // A fetch also happens without a token that names a missing key.
    issuer.publish(&[&old.jwk]);
    tokio::time::advance(300 * SECOND).await;
    assert_granted(decide(&authorizer, &by_new).await);
    tokio::time::sleep(SECOND).await;
    assert_granted(decide(&authorizer, &by_old).await);
    assert_unauthorized(&authorizer, &by_new).await;
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_not_accepted_by_a_node_that_nobody_has_asked_for_long() {
    let (issuer, old, new) = (Issuer::default(), ec("old", "P-256"), ec("new", "P-256"));
    let authorizer = jwt(issuer.keys());
    let by_old = old.token("ES256", Some("old"), &claims(json!({ "exp": now() + 3600 })));
    issuer.publish(&[&old.jwk]);
    assert_granted(decide(&authorizer, &by_old).await);
    issuer.publish(&[&new.jwk]);
    tokio::time::advance(600 * SECOND).await;
    // However many ask at once, each waits for the same fetch.
    let decided = join_all((0..100).map(|_| decide(&authorizer, &by_old))).await;
    assert!(decided.iter().all(|decided| matches!(decided, Err(Some(StatusCode::UNAUTHORIZED)))));
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_holds_up_only_the_first_requests_after_a_long_time() {
    let (asked, pair) = (Arc::new(AtomicUsize::new(0)), ec("1", "P-256"));
    let (count, document) = (asked.clone(), set(&[&pair.jwk]));
    let authorizer = jwt(JwtKeys::fetched(move || {
        let (n, document) = (count.fetch_add(1, SeqCst), document.clone());
        async move {
            match n {
                0 => Ok::<_, io::Error>(document),
                _ => std::future::pending().await,
            }
        }
    }));
    let token = pair.token("ES256", Some("1"), &claims(json!({ "exp": now() + 36_000 })));
    assert_granted(decide(&authorizer, &token).await);
    tokio::time::advance(3600 * SECOND).await;
    let begun = tokio::time::Instant::now();
    assert_granted(decide(&authorizer, &token).await);
    assert_eq!(begun.elapsed().as_secs(), 10, "it waits for the fetch, as long as that may take");
    for n in 0..3 {
        let begun = tokio::time::Instant::now();
        assert_granted(decide(&authorizer, &token).await);
        assert!(begun.elapsed() < SECOND, "the old keys stay in use while the issuer hangs: {n}");
        tokio::time::advance(10 * SECOND).await;
    }
    assert!(asked.load(SeqCst) > 2, "it is tried again");
}

#[tokio::test(start_paused = true)]
async fn a_failed_fetch_keeps_the_old_keys_and_denies_nobody() {
    let (issuer, pair) = (Issuer::default(), ec("1", "P-256"));
    let authorizer = jwt(issuer.keys());
    let [known, unknown] = ["1", "2"].map(|id| pair.token("ES256", Some(id), &claims(json!({ "exp": now() + 3600 }))));
    assert_eq!(decide(&authorizer, &known).await.unwrap_err(), None, "before the first fetch that succeeds");
    assert_eq!((decide(&authorizer, &known).await.unwrap_err(), issuer.asked()), (None, 1));
    tokio::time::advance(10 * SECOND).await;
    issuer.publish(&[&pair.jwk]);
    assert_granted(decide(&authorizer, &known).await);
    for bad in [None, Some(b"<html>".to_vec()), Some(b"{\"keys\":[]}".to_vec())] {
        *issuer.document.lock().unwrap() = bad;
        tokio::time::advance(400 * SECOND).await;
        assert_eq!(decide(&authorizer, &unknown).await.unwrap_err(), None);
        assert_granted(decide(&authorizer, &known).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_or_panics_denies_nobody_and_the_next_one_runs() {
    let (asked, pair) = (Arc::new(AtomicUsize::new(0)), ec("1", "P-256"));
    let (count, document) = (asked.clone(), set(&[&pair.jwk]));
    let authorizer = jwt(JwtKeys::fetched(move || {
        let (n, document) = (count.fetch_add(1, SeqCst), document.clone());
        assert_ne!(n, 0, "a bug before the future");
        async move {
            match n {
                1 => panic!("a bug in the future"),
                2 => std::future::pending().await,
                _ => Ok::<_, io::Error>(document),
            }
        }
    }));
    let token = pair.token("ES256", Some("1"), &claims(json!({ "exp": now() + 3600 })));
    for n in 1..=3 {
        assert_eq!(decide(&authorizer, &token).await.unwrap_err(), None);
        assert_eq!(asked.load(SeqCst), n);
        tokio::time::advance(10 * SECOND).await;
    }
    assert_granted(decide(&authorizer, &token).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_does_not_cancel_the_fetch_for_the_others() {
    let (issuer, pair) = (Issuer::default(), ec("1", "P-256"));
    issuer.publish(&[&pair.jwk]);
    let authorizer = jwt(issuer.keys());
    let token = pair.token("ES256", Some("1"), &claims(json!({})));
    let impatient = tokio::time::timeout(SECOND / 100, decide(&authorizer, &token)).await;
    assert!(impatient.is_err());
    assert_granted(decide(&authorizer, &token).await);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn rotating_a_key_out_ends_no_stream_and_a_reader_with_a_new_token_misses_nothing() {
    let (publisher, keys) = (Publisher::new(), JwtKeys::secret(SECRET).unwrap());
    let authorizer = jwt(keys.clone());
    let token = hs256(&claims(json!({ "exp": now() + 60 })));
    let grant = granted(decide(&authorizer, &token).await);
    let subscription = OpenOptions::new().start(Start::Earliest).open(&publisher, grant, None).await.unwrap();
    let chat = publisher.channel("a");
    chat.send(Event::text("1")).await.unwrap();
    keys.replace(&JwtKeys::secret(OTHER).unwrap());
    chat.send(Event::text("2")).await.unwrap();
    assert_unauthorized(&authorizer, &token).await;

    let reading = tokio::spawn(http_body_util::BodyExt::collect(SseBody::<crate::NoBody>::new(subscription)));
    tokio::task::yield_now().await;
    tokio::time::advance(71 * SECOND).await;
    let bytes = reading.await.unwrap().unwrap().to_bytes();
    let read = std::str::from_utf8(&bytes).unwrap();
    assert!(read.contains("data: 1\n") && read.contains("data: 2\n"), "{read}");
    let (_, end) = read.rsplit_once("\n\n").unwrap();
    assert!(end.contains("retry: "), "the reader is told when to reconnect: {read}");

    chat.send(Event::text("3")).await.unwrap();
    let last = read.rsplit_once("id: ").unwrap().1.lines().next().unwrap();
    let fresh = forge(&json!({ "alg": "HS256" }), &claims(json!({})), with_secret(OTHER));
    let grant = granted(decide(&authorizer, &fresh).await);
    let mut back = OpenOptions::new().open(&publisher, grant, Some(last.as_bytes())).await.unwrap();
    assert_eq!(next(&mut back).await, "3");
}

async fn next(reader: &mut Subscription) -> String {
    match futures_util::StreamExt::next(reader).await {
        Some(crate::Delivery::Event(event)) => event.data(),
        other => panic!("{other:?}"),
    }
}
