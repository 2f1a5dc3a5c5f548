//! Who is connected: duplicates of a client, disconnecting and closing. A dropped subscription frees its place.

mod common;

use std::{task::Poll, time::Duration};

use common::*;
use tower_sse::{
    ClientId, Duplicates, EndReason, GapReason, Limits, OpenError, OpenOptions, Publisher, Retention, Subscription,
};

fn open(publisher: &Publisher, duplicates: Duplicates, channels: &[&str]) -> Result<Subscription, OpenError> {
    ready(OpenOptions::new().duplicates(duplicates).open(publisher, grant(channels, "ana"), None))
}

#[test]
fn duplicates_are_kept_by_default() {
    let publisher = Publisher::new();
    let mut readers = [live(&publisher, &["a"], "ana"), live(&publisher, &["a"], "ana")];
    assert_eq!(publisher.channel("a").clients(), [(ClientId::from_static("ana"), 2)]);
    send_to(&publisher, "a", "ana", 1);
    assert_eq!(readers.each_mut().map(texts), [["1"], ["1"]]);
}

#[test]
fn a_newer_connection_replaces_the_older() {
    let publisher = Publisher::new();
    let mut older = open(&publisher, Duplicates::Replace, &["a"]).unwrap();
    let mut other = live(&publisher, &["a"], "bob");
    let mut newer = open(&publisher, Duplicates::Replace, &["b", "a"]).unwrap();
    assert_eq!(publisher.channel("a").connections(), 2);
    assert_eq!(try_send(&publisher, "a", Some("ana"), 1).unwrap().reached, 1);
    assert!(matches!(poll(&mut older), Poll::Ready(None)));
    assert_eq!(older.end_reason(), Some(EndReason::Replaced));
    assert_eq!((texts(&mut newer), texts(&mut other)), (vec!["1".into()], vec![]));
}

#[test]
fn a_reader_that_ended_on_one_channel_counts_on_none_of_its_others() {
    let publisher = Publisher::new();
    let _reader = live(&publisher, &["a", "b"], "ana");
    let limits = [OpenOptions::new().max_per_channel(1), OpenOptions::new().max_per_client(1)];
    let open = |options: &OpenOptions| ready(options.open(&publisher, grant(&["b"], "ana"), None));
    assert!(limits.iter().all(|options| open(options).is_err()));
    // It has not read that yet.
    ready(publisher.channel("a").disconnect("ana")).unwrap();
    assert!(limits.iter().all(|options| open(options).is_ok()));
    assert_eq!(publisher.channel("b").connections(), 0);
}

#[test]
fn a_newer_connection_is_refused() {
    let publisher = Publisher::new();
    let older = open(&publisher, Duplicates::Refuse, &["a"]).unwrap();
    assert!(open(&publisher, Duplicates::Refuse, &["a"]).unwrap_err().is_limit());
    assert!(open(&publisher, Duplicates::Refuse, &["b", "a"]).unwrap_err().is_limit());
    assert!(open(&publisher, Duplicates::Refuse, &["b"]).is_ok());
    assert_eq!((publisher.connections(), publisher.stats().limited, publisher.stats().channels), (1, 2, 1));
    drop(older);
    assert!(open(&publisher, Duplicates::Refuse, &["b", "a"]).is_ok());
}

#[test]
fn readers_without_a_client_are_no_duplicates() {
    let publisher = Publisher::new();
    for duplicates in [Duplicates::Replace, Duplicates::Refuse] {
        let open =
            || ready(OpenOptions::new().duplicates(duplicates).open(&publisher, grant(&["a"], ""), None)).unwrap();
        let mut readers = [open(), open()];
        assert!(readers.iter_mut().all(|reader| poll(reader).is_pending()));
    }
}

#[test]
fn a_disconnected_client_gets_the_end_at_once_and_others_nothing() {
    let publisher = Publisher::new();
    let mut ana: Vec<_> = [&["a"][..], &["a", "b"], &["b"]].map(|channels| live(&publisher, channels, "ana")).into();
    let mut bob = live(&publisher, &["a"], "bob");
    send(&publisher, "a", "unread");
    assert_eq!(ready(publisher.channel("a").disconnect("ana")).unwrap(), 2);
    assert_eq!(publisher.channel("a").connections(), 1);
    assert_eq!(ready(publisher.disconnect("ana")).unwrap(), 2, "its connections on b");
    assert_eq!(ready(publisher.disconnect("ana")).unwrap(), 0);
    for reader in &mut ana {
        assert!(matches!(poll(reader), Poll::Ready(None)));
        assert_eq!(reader.end_reason(), Some(EndReason::Disconnected));
    }
    assert_eq!(texts(&mut bob), ["unread"]);
    assert_eq!(ready(publisher.disconnect("nobody")).unwrap(), 0);
    assert_eq!(ready(publisher.disconnect("not\nvalid")).unwrap(), 0);
}

#[test]
fn a_refused_newcomer_replaces_nobody() {
    let publisher = Publisher::new();
    let replace = |max| OpenOptions::new().duplicates(Duplicates::Replace).max_per_channel(max);
    let mut older = ready(replace(9).open(&publisher, grant(&["a"], "ana"), None)).unwrap();
    let _full = live(&publisher, &["b"], "bob");
    assert!(ready(replace(1).open(&publisher, grant(&["a", "b"], "ana"), None)).unwrap_err().is_limit());
    send(&publisher, "a", 1);
    assert_eq!(texts(&mut older), ["1"]);
    assert!(
        ready(replace(1).open(&publisher, grant(&["a"], "ana"), None)).is_ok(),
        "it takes the older connection's place"
    );
    assert_eq!(older.end_reason(), None);
    assert!(matches!(poll(&mut older), Poll::Ready(None)));
}

#[test]
fn one_of_many_simultaneous_newcomers_stays() {
    for _ in 0..200 {
        let publisher = Publisher::new();
        let channels: [&[&str]; 3] = [&["a", "b", "c"], &["c", "a", "b"], &["b", "c", "a"]];
        let mut readers: Vec<_> = std::thread::scope(|scope| {
            let open = |channels| open(&publisher, Duplicates::Replace, channels).unwrap();
            let threads = channels.map(|channels| scope.spawn(move || open(channels)));
            threads.map(|thread| thread.join().unwrap()).into()
        });
        readers.retain_mut(|reader| poll(reader).is_pending());
        assert_eq!(readers.len(), 1);
        assert_eq!(try_send(&publisher, "a", None, 1).unwrap().reached, 1);
    }
}

#[test]
fn two_newcomers_that_open_at_the_same_time_do_not_both_stay() {
    use std::sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    };
    static PUBLISHER: OnceLock<Publisher> = OnceLock::new();
    static FASTER: Mutex<Option<Subscription>> = Mutex::new(None);
    static ASKED: AtomicBool = AtomicBool::new(false);
    // An opening calls the retention function half-way: that is when the faster reader opens.
    let publisher = Publisher::builder().retention_by(|_| {
        if !ASKED.swap(true, Ordering::SeqCst) {
            let faster = open(PUBLISHER.get().unwrap(), Duplicates::Replace, &["a"]).unwrap();
            *FASTER.lock().unwrap() = Some(faster);
        }
        Retention::new()
    });
    let publisher = PUBLISHER.get_or_init(|| publisher.build());
    let _slower = open(publisher, Duplicates::Replace, &["a"]).unwrap();
    assert_eq!(publisher.channel("a").connections(), 1);
}

#[test]
fn a_client_that_was_disconnected_is_not_among_the_clients() {
    let publisher = Publisher::new();
    let _reader = live(&publisher, &["a"], "ana");
    assert_eq!(ready(publisher.channel("a").disconnect("ana")).unwrap(), 1);
    assert_eq!(publisher.channel("a").clients(), []);
}

#[test]
fn a_reader_that_returns_with_a_goodbyes_id_is_told_that_it_is_over() {
    let publisher = Publisher::new();
    send(&publisher, "a", "held");
    let cursor = live(&publisher, &["a"], "").cursor();
    assert!(try_resume(&publisher, &["a"], "ana", format!("{cursor}-end")).unwrap_err().is_over());
    // Another hub, or the same application after a restart, has said goodbye to nobody.
    let other = Publisher::new();
    let mut reader = resume(&other, &["a"], "ana", format!("{cursor}-end"));
    assert_eq!(gap(&mut reader).reason, GapReason::OtherEpoch);
}

#[test]
fn a_parked_reader_is_woken_by_its_end() {
    let publisher = Publisher::new();
    let ends: [fn(&Publisher); 3] = [
        // A reader of two channels may have left the second one before the hub looks at it.
        |publisher| assert!((2..=3).contains(&ready(publisher.disconnect("ana")).unwrap())),
        |publisher| assert_eq!(close(publisher, "a"), 2),
        |publisher| drop(open(publisher, Duplicates::Replace, &["a"]).unwrap()),
    ];
    for end in ends {
        let waiting = [&["a"][..], &["a", "b"]].map(|channels| {
            let mut reader = live(&publisher, channels, "ana");
            assert!(poll(&mut reader).is_pending());
            std::thread::spawn(move || block_on(next(&mut reader)).is_none())
        });
        end(&publisher);
        assert!(waiting.into_iter().all(|reader| reader.join().unwrap()));
    }
}

#[test]
fn a_closed_channel_ends_its_readers_and_forgets_its_history() {
    let publisher = Publisher::new();
    let id = send(&publisher, "a", "before");
    let mut readers = [live(&publisher, &["a"], "ana"), live(&publisher, &["a", "b"], "")];
    let unread = send(&publisher, "a", "unread");
    assert_eq!(close(&publisher, "a"), 2);
    assert!(publisher.channel("a").recent(1).is_empty() && publisher.channel("a").connections() == 0);
    for reader in &mut readers {
        assert!(matches!(poll(reader), Poll::Ready(None)));
        assert_eq!(reader.end_reason(), Some(EndReason::Closed));
    }
    assert_eq!(close(&publisher, "a"), 0);

    // The name can be used again, and a reader that reconnects late gets a gap.
    let anew = send(&publisher, "a", "anew");
    let mut late = resume(&publisher, &["a"], "", &id);
    assert_gap(&gap(&mut late), GapReason::Evicted, Some(&id), Some(&anew));
    assert_eq!(texts(&mut late), ["anew"]);
    assert_eq!(texts(&mut resume(&publisher, &["a"], "", &unread)), ["anew"], "it had read everything");
}

#[test]
fn a_dropped_subscription_frees_its_place_at_once() {
    let publisher = Publisher::new();
    let mut reader = live(&publisher, &["a", "b"], "ana");
    let _ = poll(&mut reader);
    assert_eq!((publisher.stats().subscriptions, publisher.channels().len()), (1, 2));
    drop(reader);
    let stats = publisher.stats();
    assert_eq!((stats.subscriptions, stats.channels, publisher.channels().len()), (0, 0, 0));
    assert_eq!(publisher.channel("a").clients(), []);
    assert_eq!(try_send(&publisher, "a", None, 1).unwrap().reached, 0);
}

#[test]
fn ten_thousand_opens_and_drops_leave_nothing() {
    let publisher = Publisher::new();
    for n in 0..10_000 {
        let reader = live(&publisher, &[&format!("channel{}", n % 500), "all"], &format!("client{n}"));
        assert_eq!(publisher.stats().subscriptions, 1);
        drop(reader);
    }
    let readers: Vec<_> =
        (0..10_000).map(|n| live(&publisher, &["all", &format!("channel{n}")], &format!("client{n}"))).collect();
    assert_eq!((publisher.stats().subscriptions, publisher.stats().channels), (10_000, 10_001));
    assert_eq!(publisher.channel("all").clients().len(), 10_000);
    drop(readers);
    let stats = publisher.stats();
    assert_eq!((stats.subscriptions, stats.channels, stats.held_bytes), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_expired_grant_ends_the_stream() {
    let publisher = Publisher::new();
    let grant = || grant(&["a"], "ana").expires_in(Duration::from_secs(60));
    let mut reader = ready(Subscription::open(&publisher, grant())).unwrap();
    send(&publisher, "a", 1);
    assert_eq!(texts(&mut reader), ["1"]);
    let before = tokio::time::Instant::now();
    let end = tokio::time::timeout(Duration::from_secs(120), next(&mut reader)).await;
    assert!(end.expect("it expires").is_none());
    assert_eq!(reader.end_reason(), Some(EndReason::Expired));
    assert!(before.elapsed() >= Duration::from_secs(60));
    assert_eq!(publisher.channel("a").connections(), 0);

    let late = grant();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(ready(Subscription::open(&publisher, late)).unwrap_err().is_expired());
    let past = std::time::SystemTime::now() - Duration::from_secs(1);
    let grant = common::grant(&["a"], "").expires_at(past);
    assert!(ready(Subscription::open(&publisher, grant)).unwrap_err().is_expired());
}

fn limited(subscriptions: usize) -> Publisher {
    Publisher::builder().limits(Limits::new().subscriptions(subscriptions)).build()
}

#[test]
fn a_client_that_replaces_its_connections_and_reads_none_takes_one_place() {
    let publisher = limited(18);
    let options = OpenOptions::new().duplicates(Duplicates::Replace).max_per_client(1);
    let open = |client: &str| ready(options.open(&publisher, grant(&["a"], client), None));
    let mut mallory: Vec<_> = std::iter::from_fn(|| open("mallory").ok()).take(100).collect();
    assert_eq!(mallory.len(), 17, "and 16 that linger");
    assert_eq!((publisher.connections(), publisher.stats().lingering), (1, 16));
    assert_eq!(publisher.channel("a").clients(), [(ClientId::from_static("mallory"), 1)]);
    let others: Vec<_> = (0..17).map(|n| open(&format!("client{n}")).unwrap()).collect();
    assert!(open("one more").unwrap_err().is_limit());
    assert_eq!(publisher.connections(), 18);
    // One that reads its end, or is dropped, lets the next one come.
    assert!(matches!(poll(&mut mallory[3]), Poll::Ready(None)));
    assert_eq!(mallory[3].end_reason(), Some(EndReason::Replaced));
    drop(others);
    mallory.push(open("mallory").unwrap());
    assert!(open("mallory").unwrap_err().is_limit());
    mallory.remove(0);
    mallory.push(open("mallory").unwrap());
    drop(mallory);
    assert_eq!((publisher.connections(), publisher.stats().lingering, publisher.stats().channels), (0, 0, 0));
}

#[test]
fn a_connection_that_somebody_ended_gives_its_place_back_at_once() {
    type End = fn(&Publisher);
    let ends: [End; 3] = [
        |publisher| assert_eq!(ready(publisher.disconnect("ana")).unwrap(), 6),
        |publisher| {
            assert_eq!(["a", "b"].map(|channel| ready(publisher.channel(channel).disconnect("ana")).unwrap()), [3, 3])
        },
        |publisher| assert_eq!(["a", "b"].map(|channel| close(publisher, channel)), [3, 3]),
    ];
    for end in ends {
        let publisher = limited(3);
        let ana: Vec<_> = (0..3).map(|_| live(&publisher, &["a", "b"], "ana")).collect();
        assert!(ready(Subscription::open(&publisher, grant(&["a"], "bob"))).unwrap_err().is_limit());
        end(&publisher);
        assert_eq!((publisher.connections(), publisher.stats().lingering), (0, 3));
        let bob: Vec<_> = (0..3).map(|_| live(&publisher, &["a", "b"], "bob")).collect();
        drop((ana, bob));
        assert_eq!((publisher.connections(), publisher.stats().lingering), (0, 0));
    }
}

#[test]
fn a_connection_that_is_ended_on_one_channel_ends_before_it_reads_on_another() {
    let publisher = Publisher::new();
    let mut reader = live(&publisher, &["a", "b"], "ana");
    ["a", "b", "b"].iter().for_each(|channel| drop(send(&publisher, channel, 1)));
    assert_eq!(text(&deliver(&mut reader)), "1");
    assert_eq!(ready(publisher.channel("a").disconnect("ana")).unwrap(), 1);
    assert_eq!(texts(&mut reader), [""; 0]);
    assert_eq!(reader.end_reason(), Some(EndReason::Disconnected));
}

fn deliver(reader: &mut Subscription) -> tower_sse::Delivery {
    match poll(reader) {
        Poll::Ready(Some(delivery)) => delivery,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_of_many_connections_is_disconnected_from_all() {
    let publisher = Publisher::new();
    let readers: Vec<_> = (0..1_000).map(|_| live(&publisher, &["a"], "ana")).collect();
    assert_eq!(ready(publisher.channel("a").disconnect("ana")).unwrap(), 1_000);
    assert_eq!((publisher.connections(), publisher.stats().lingering), (0, 1_000));
    drop(readers);
}

#[test]
fn all_of_many_clients_are_listed() {
    let publisher = Publisher::new();
    let clients: Vec<_> = (0..1_000).map(|n| format!("client{n:03}")).collect();
    let mut readers: Vec<_> = clients.iter().map(|client| live(&publisher, &["a"], client)).collect();
    readers.extend([live(&publisher, &["a"], ""), live(&publisher, &["a"], "client000")]);
    // Those that go take others' places in the list.
    readers.drain(100..200);
    let mut listed = publisher.channel("a").clients();
    listed.sort();
    assert_eq!(listed.len(), 900);
    assert_eq!(listed[0], (ClientId::from_static("client000"), 2));
    assert!(listed[1..].iter().all(|(_, connections)| *connections == 1));
    let present = ready(publisher.channel("a").presence()).unwrap();
    assert_eq!((present.len(), present.contains(&(None, 1))), (901, true));
}
