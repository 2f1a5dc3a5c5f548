//! Taking access back from readers that are connected.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use common::*;
use tokio::sync::oneshot;
use tower_sse::{ChannelName, ClientId, Denied, EndReason, Grant, Publisher, Resumed, SseBody, Subscription};

fn open(publisher: &Publisher, grant: Grant) -> Subscription {
    ready(Subscription::open(publisher, grant)).unwrap()
}

fn reauthorize(publisher: &Publisher, client: &str) -> usize {
    ready(publisher.reauthorize(client)).unwrap()
}

/// A reader of these channels, for whom the authorizer decides so from now on.
fn decided(publisher: &Publisher, channels: &[&str], verdict: fn() -> Result<Grant, Denied>) -> Subscription {
    open(publisher, grant(channels, "ana").recheck(move || async move { verdict() }))
}

#[track_caller]
fn ended(reader: &mut Subscription) -> EndReason {
    assert!(matches!(poll(reader), Poll::Ready(None)));
    reader.end_reason().unwrap()
}

#[test]
fn a_reader_loses_the_channels_that_it_may_no_longer_read_and_keeps_the_others() {
    let publisher = Publisher::new();
    let mut reader = decided(&publisher, &["a", "b", "c"], || Ok(grant(&["a", "c", "d"], "ana")));
    let mut bob = live(&publisher, &["a", "b"], "bob");
    assert_eq!(texts(&mut reader), [""; 0]);
    send(&publisher, "b", "before");
    assert_eq!(reauthorize(&publisher, "ana"), 3, "once for each channel");
    for channel in ["a", "b", "c", "d"] {
        send(&publisher, channel, channel);
        send_to(&publisher, channel, "ana", format!("{channel} to ana"));
    }
    assert_eq!(texts(&mut reader), ["a", "a to ana", "c", "c to ana"], "and nothing of a channel that was not open");
    assert_eq!(texts(&mut bob), ["before", "a", "b"]);
    assert_eq!(["a", "b", "c"].map(|channel| publisher.channel(channel).connections()), [2, 1, 1]);
    assert_eq!((reauthorize(&publisher, "ana"), publisher.connections()), (2, 2), "it can be decided again");
    send(&publisher, "c", "later");
    assert_eq!(texts(&mut reader), ["later"]);
}

#[test]
fn a_reader_that_may_read_nothing_any_more_ends_with_a_goodbye() {
    let publisher = Publisher::new();
    let verdicts: [fn() -> Result<Grant, Denied>; 3] =
        [|| Err(Denied::forbidden()), || Ok(grant(&["d"], "ana")), || Ok(grant(&[], "ana"))];
    for verdict in verdicts {
        let mut reader = decided(&publisher, &["a"], verdict);
        reauthorize(&publisher, "ana");
        send(&publisher, "a", "secret");
        assert_eq!(ended(&mut reader), EndReason::Revoked);
        assert_eq!((publisher.connections(), publisher.channel("a").connections()), (0, 0));
    }
    assert_eq!(publisher.stats().denied, 0, "no request was denied");
}

#[test]
fn a_reader_about_which_nobody_can_decide_gets_nothing_more_and_comes_back() {
    let publisher = Publisher::new();
    let failing: [Grant; 3] = [
        grant(&["a"], "ana").recheck(|| async { Err::<Grant, _>(std::io::Error::other("no database")) }),
        grant(&["a"], "ana").recheck(|| async { panic!("a bug") as Result<Grant, Denied> }),
        grant(&["a"], "ana").recheck(|| async { Ok::<_, Denied>(grant(&["a"], "bob")) }),
    ];
    for grant in failing {
        let mut reader = open(&publisher, grant);
        reauthorize(&publisher, "ana");
        send(&publisher, "a", "unread");
        assert_eq!(ended(&mut reader), EndReason::Reauthorize);
        let mut back = resume(&publisher, &["a"], "ana", reader.cursor().to_string());
        assert_eq!((back.resumed(), texts(&mut back)), (Resumed::Exact, vec!["unread".to_owned()]));
    }
}

#[test]
fn a_reader_without_a_recheck_is_sent_back_to_the_authorizer_and_misses_nothing() {
    let publisher = Publisher::new();
    let mut readers = [&["a"][..], &["a", "b"]].map(|channels| live(&publisher, channels, "ana"));
    let mut others = ["bob", ""].map(|client| live(&publisher, &["a"], client));
    send(&publisher, "a", 1);
    assert_eq!(reauthorize(&publisher, "ana"), 3, "one of them on two channels");
    send(&publisher, "a", 2);
    for reader in &mut readers {
        assert_eq!(ended(reader), EndReason::Reauthorize);
        assert_eq!(texts(&mut resume(&publisher, &["a"], "ana", reader.cursor().to_string())), ["1", "2"]);
    }
    for other in &mut others {
        assert_eq!(texts(other), ["1", "2"]);
    }
    assert_eq!((reauthorize(&publisher, "nobody"), reauthorize(&publisher, "not\nvalid")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_the_decision_and_is_woken_by_it() {
    let publisher = Publisher::new();
    let (decide, mut decisions) = tokio::sync::mpsc::unbounded_channel();
    let grant = grant(&["a"], "ana").recheck(move || {
        let (verdict, decided) = oneshot::channel();
        decide.send(verdict).unwrap();
        async move { decided.await.unwrap_or(Err(Denied::forbidden())) }
    });
    let mut reader = open(&publisher, grant);
    assert!(poll(&mut reader).is_pending());
    let waiting = tokio::spawn(async move { (next(&mut reader).await, reader) });
    tokio::task::yield_now().await;
    reauthorize(&publisher, "ana");
    send(&publisher, "a", "held back");
    let verdict: oneshot::Sender<Result<Grant, Denied>> = decisions.recv().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished(), "nothing before it is decided");
    verdict.send(Ok(common::grant(&["a"], "ana"))).unwrap();
    let (got, reader) = waiting.await.unwrap();
    assert_eq!(text(&got.unwrap()), "held back");

    // What ends it while it waits, ends it.
    drop(reader);
    for end in [EndReason::Disconnected, EndReason::Shutdown] {
        let never = common::grant(&["a"], "ana").recheck(std::future::pending::<Result<Grant, Denied>>);
        let mut reader = open(&publisher, never);
        reauthorize(&publisher, "ana");
        assert!(poll(&mut reader).is_pending());
        let waiting = tokio::spawn(async move { (next(&mut reader).await.is_none(), reader.end_reason()) });
        tokio::task::yield_now().await;
        match end {
            EndReason::Disconnected => assert_eq!(ready(publisher.disconnect("ana")).unwrap(), 1),
            _ => assert!(publisher.shutdown(Duration::from_secs(1)).await),
        }
        assert_eq!(waiting.await.unwrap(), (true, Some(end)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_grant_expires_when_it_says() {
    let publisher = Publisher::new();
    let expiring = |seconds| grant(&["a"], "ana").expires_in(Duration::from_secs(seconds));
    let mut reader = open(&publisher, expiring(10).recheck(move || async move { Ok::<_, Denied>(expiring(100)) }));
    reauthorize(&publisher, "ana");
    assert!(poll(&mut reader).is_pending());
    tokio::time::advance(Duration::from_secs(99)).await;
    assert!(poll(&mut reader).is_pending());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(ended(&mut reader), EndReason::Expired);
}

#[test]
fn a_new_grant_brings_the_recheck_for_the_next_decision() {
    let publisher = Publisher::new();
    let mut reader = decided(&publisher, &["a"], || {
        Ok(grant(&["a"], "ana").recheck(|| async { Err::<Grant, _>(Denied::forbidden()) }))
    });
    reauthorize(&publisher, "ana");
    send(&publisher, "a", 1);
    assert_eq!(texts(&mut reader), ["1"]);
    reauthorize(&publisher, "ana");
    assert_eq!(ended(&mut reader), EndReason::Revoked);
}

#[test]
fn all_readers_of_a_client_are_reached_however_many_there_are() {
    const MANY: usize = 600;
    let publisher = Publisher::new();
    let deny = || decided(&publisher, &["a"], || Err(Denied::forbidden()));
    let mut called: Vec<_> = (0..MANY).map(|_| deny()).collect();
    assert_eq!(reauthorize(&publisher, "ana"), MANY);
    assert!(called.iter_mut().all(|reader| ended(reader) == EndReason::Revoked));
    let mut sent_back: Vec<_> = (0..MANY).map(|_| live(&publisher, &["a"], "ana")).collect();
    assert_eq!(reauthorize(&publisher, "ana"), MANY);
    assert!(sent_back.iter_mut().all(|reader| ended(reader) == EndReason::Reauthorize));
}

#[test]
fn a_call_during_a_decision_asks_for_another() {
    let (publisher, asked) = (Publisher::new(), Arc::new(AtomicUsize::new(0)));
    let (count, calls) = (asked.clone(), publisher.clone());
    let mut reader = open(
        &publisher,
        grant(&["a"], "ana").recheck(move || {
            if count.fetch_add(1, SeqCst) == 0 {
                assert_eq!(reauthorize(&calls, "ana"), 1);
            }
            async { Ok::<_, Denied>(grant(&["a"], "ana")) }
        }),
    );
    reauthorize(&publisher, "ana");
    send(&publisher, "a", 1);
    assert_eq!((texts(&mut reader), asked.load(SeqCst)), (vec!["1".to_owned()], 2));
    assert!(poll(&mut reader).is_pending());
    assert_eq!(asked.load(SeqCst), 2, "and only when it is called");
}

#[tokio::test(start_paused = true)]
async fn a_body_says_goodbye_to_a_revoked_reader_and_when_to_retry_to_one_that_comes_back() {
    use http_body_util::BodyExt as _;
    let publisher = Publisher::builder().reconnect(Duration::from_secs(2), Duration::from_secs(2)).build();
    let name = ChannelName::from_static("a");
    let grant = Grant::new([name]).client(ClientId::from_static("ana"));
    let revoked = grant.clone().recheck(|| async { Err::<Grant, _>(Denied::forbidden()) });
    for (grant, last) in [(revoked, "event: goodbye\ndata: {\"last_event_id\":"), (grant, "retry: 2000\n")] {
        let body = SseBody::<tower_sse::NoBody>::from(open(&publisher, grant));
        let collected = tokio::spawn(body.collect());
        tokio::task::yield_now().await;
        reauthorize(&publisher, "ana");
        let bytes = collected.await.unwrap().unwrap().to_bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.contains(last), "{text}");
        assert_eq!(text.contains("\"reason\":\"revoked\""), last.starts_with("event"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_grant_expires_is_told_when_to_reconnect_and_misses_nothing() {
    use http_body_util::BodyExt as _;
    let publisher = Publisher::builder().reconnect(Duration::from_secs(2), Duration::from_secs(2)).build();
    let grant = || grant(&["a"], "ana").expires_in(Duration::from_secs(60));
    let body = SseBody::<tower_sse::NoBody>::from(open(&publisher, grant()));
    let collected = tokio::spawn(body.collect());
    tokio::task::yield_now().await;
    let read = send(&publisher, "a", "read");
    tokio::time::advance(Duration::from_secs(60)).await;
    let bytes = collected.await.unwrap().unwrap().to_bytes();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.ends_with(&format!("data: read\nid: {read}\n\nretry: 2000\n")), "{text}");
    send(&publisher, "a", "missed");
    let mut back = resume(&publisher, &["a"], "ana", read);
    assert_eq!((back.resumed(), texts(&mut back)), (Resumed::Exact, vec!["missed".to_owned()]));
}
