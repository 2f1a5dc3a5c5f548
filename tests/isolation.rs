//! Promises 5 and 6, as far as a test can see them: nobody waits for a reader, and all readers share an event's bytes.

mod common;

use std::{
    collections::HashSet,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use bytes::Bytes;
use common::*;
use futures_util::{FutureExt as _, Stream as _};
use http_body_util::BodyExt as _;
use tower_sse::{Delivery, Event, Publisher, Retention, SseBody, Subscription};

#[test]
fn publishing_waits_for_no_reader() {
    let publisher = Publisher::builder().retention(Retention::new().events(10)).build();
    let stalled: Vec<_> = (0..200).map(|n| live(&publisher, &["a"], &format!("client{}", n % 7))).collect();
    // `send` is ready at once or panics.
    for n in 0..1_000 {
        assert_eq!(try_send(&publisher, "a", None, n).unwrap().reached, 200);
        send_to(&publisher, "a", "client0", n);
    }
    assert_eq!(stalled.len(), 200);
}

#[test]
fn a_stalled_reader_holds_no_memory() {
    let publisher = Publisher::builder().retention(Retention::new().events(10)).build();
    let mut stalled = live(&publisher, &["a"], "ana");
    let mut most = 0;
    for n in 0..1_000 {
        send(&publisher, "a", format!("{n:01000}"));
        most = most.max(publisher.stats().held_bytes);
    }
    assert!(most < 16 * 1_000, "{most} bytes for ten events of 1,000, and the newest as it was published");
    assert_eq!(texts(&mut stalled).len(), 11, "a gap, then what is held");
}

#[test]
fn a_stalled_reader_delays_no_other() {
    let publisher = Publisher::builder().retention(Retention::new().events(2)).build();
    let mut stalled = live(&publisher, &["a"], "");
    let mut quick = live(&publisher, &["a"], "");
    for n in 0..100 {
        send(&publisher, "a", n);
        assert_eq!(texts(&mut quick), [n.to_string()]);
    }
    assert_eq!(texts(&mut stalled), ["gap:lagged", "98", "99"]);
    assert_eq!(publisher.stats().lagged, 1);
}

fn bytes(deliveries: Vec<Delivery>) -> Bytes {
    match &deliveries[..] {
        [Delivery::Event(event)] => event.as_bytes().clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_readers_get_the_same_allocation() {
    let publisher = Publisher::new();
    let mut readers: Vec<_> = (0..50).map(|n| live(&publisher, &["a"], ["", "ana"][n % 2])).collect();
    readers.push(live(&publisher, &["a", "b"], "ana"));
    send(&publisher, "a", "shared");
    readers.push(earliest(&publisher, &["a"], ""));
    let mut addresses: HashSet<_> = readers.iter_mut().map(|reader| bytes(drain(reader)).as_ptr()).collect();
    addresses.insert(publisher.channel("a").recent(1)[0].as_bytes().as_ptr());
    assert_eq!(addresses.len(), 1);
}

#[test]
fn all_connections_of_a_client_get_the_same_allocation() {
    let publisher = Publisher::new();
    let mut readers: Vec<_> = (0..9).map(|_| live(&publisher, &["a"], "ana")).collect();
    send_to(&publisher, "a", "ana", "shared");
    let addresses: HashSet<_> = readers.iter_mut().map(|reader| bytes(drain(reader)).as_ptr()).collect();
    assert_eq!(addresses.len(), 1);
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A parked reader, and how often it was woken.
fn waiting(publisher: &Publisher, channels: &[&str], client: &str) -> (Subscription, Arc<Count>) {
    let (mut reader, woken) = (live(publisher, channels, client), Arc::new(Count::default()));
    let waker = Waker::from(woken.clone());
    assert!(pin!(&mut reader).poll_next(&mut Context::from_waker(&waker)).is_pending());
    (reader, woken)
}

#[test]
fn a_publish_wakes_the_readers_it_concerns_once_and_nobody_else() {
    let publisher = Publisher::new();
    let readers = [&["a"][..], &["a"], &["a", "b"]].map(|channels| waiting(&publisher, channels, "ana"));
    let others = ["bob", ""].map(|client| waiting(&publisher, &["a"], client));
    let woken = |readers: &[(_, Arc<Count>)]| -> Vec<usize> {
        readers.iter().map(|(_, woken)| woken.0.load(Ordering::SeqCst)).collect()
    };
    for _ in 0..2 {
        send_to(&publisher, "a", "ana", "x");
        assert_eq!(
            (woken(&readers), woken(&others)),
            (vec![1, 1, 1], vec![0, 0]),
            "no second wake-up before the reader has polled"
        );
    }
    send(&publisher, "a", "x");
    assert_eq!((woken(&readers), woken(&others)), (vec![1, 1, 1], vec![1, 1]));
}

#[test]
fn a_reader_that_leaves_takes_nobody_elses_place() {
    for gone in 0..4 {
        let publisher = Publisher::new();
        let mut readers: Vec<_> =
            ["ana", "", "ana", ""].map(|client| waiting(&publisher, &["a"], client)).into_iter().collect();
        drop(readers.remove(gone));
        send(&publisher, "a", "x");
        assert!(readers.iter().all(|(_, woken)| woken.0.load(Ordering::SeqCst) == 1), "without {gone}");
    }
}

#[test]
fn a_publisher_that_blocks_on_a_runtime_of_its_own_wakes_everybody() {
    let publisher = Publisher::new();
    let readers: Vec<_> = (0..1_000).map(|_| waiting(&publisher, &["a"], "")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(publisher.channel("a").send(Event::text("x"))).unwrap();
    assert!(readers.iter().all(|(_, woken)| woken.0.load(Ordering::SeqCst) == 1));
}

/// How often another task on the same thread runs until `work` is done.
async fn turns_of_another(work: impl Future<Output = ()> + Send + 'static) -> usize {
    let turns = Arc::new(AtomicUsize::new(0));
    let count = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    tokio::spawn(work).await.unwrap();
    other.abort();
    turns.load(Ordering::Relaxed)
}

fn of_long_history() -> Publisher {
    Publisher::builder().retention(Retention::new().events(10_000).bytes(usize::MAX)).build()
}

#[tokio::test]
async fn a_task_that_reads_a_long_history_lets_others_run() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = of_long_history();
        (0..10_000).for_each(|n| drop(send(&publisher, "a", n)));
        let mut reader = earliest(&publisher, channels, "");
        let turns = turns_of_another(async move {
            for _ in 0..10_000 {
                next(&mut reader).await.unwrap();
            }
        });
        let turns = turns.await;
        assert!(turns >= 50, "{turns} turns");
    }
}

#[tokio::test]
async fn a_body_of_a_long_history_lets_others_run() {
    let publisher = of_long_history();
    (0..1_000).for_each(|_| drop(send(&publisher, "a", "x".repeat(32 << 10))));
    let mut body = SseBody::new(earliest(&publisher, &["a"], ""));
    let turns = turns_of_another(async move {
        for _ in 0..1_000 {
            body.frame().await.unwrap().unwrap();
        }
    });
    let turns = turns.await;
    assert!(turns >= 5, "{turns} turns");
}

#[tokio::test]
async fn a_task_that_sends_in_a_loop_lets_others_run() {
    let publisher = of_long_history();
    let turns = turns_of_another(async move {
        for n in 0..10_000 {
            publisher.channel("a").send(Event::text(n.to_string())).await.unwrap();
        }
    });
    let turns = turns.await;
    assert!(turns >= 50, "{turns} turns");
}

#[tokio::test]
async fn a_send_that_is_dropped_while_it_yields_has_sent_nothing() {
    let publisher = Publisher::new();
    let sent = (0..1_000).filter(|_| publisher.channel("a").send(Event::text("x")).now_or_never().is_some()).count();
    assert!(sent < 1_000);
    assert_eq!(publisher.stats().published, sent as u64);
}
