//! Coalescing: events right after one that was sent wait, and are sent as one chunk. In virtual time.

mod common;

use std::{pin::Pin, time::Duration};

use common::*;
use http_body::Body as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tower_sse::{KeepAlive, Publisher, Retention, SseBody};

const MS: Duration = Duration::from_millis(1);

/// What a body yields and when, in milliseconds, read by a task of its own as a server does; `None` is the end.
fn read(mut body: SseBody) -> mpsc::UnboundedReceiver<(u128, Option<String>)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let start = Instant::now();
    tokio::spawn(async move {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let text = frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap());
            let over = text.is_none();
            if sender.send((start.elapsed().as_millis(), text)).is_err() || over {
                return;
            }
        }
    });
    receiver
}

/// The data in a chunk, in order; `:` for a keep-alive, and the first field for the bytes that end a stream.
fn texts(chunk: Option<String>) -> Vec<String> {
    let Some(chunk) = chunk else { return vec!["end".into()] };
    let lines = chunk.lines().filter_map(|line| match line {
        ":" => Some(":"),
        _ if line.starts_with("event: ") || line.starts_with("retry: ") => line.split(':').next(),
        _ => line.strip_prefix("data: "),
    });
    lines.map(String::from).collect()
}

async fn settle(receiver: &mut mpsc::UnboundedReceiver<(u128, Option<String>)>) -> Vec<(u128, Vec<String>)> {
    sleep(100 * MS).await;
    let mut all = Vec::new();
    while let Ok((at, chunk)) = receiver.try_recv() {
        all.push((at, texts(chunk)));
    }
    all
}

fn body(publisher: &Publisher, channels: &[&str], pause: Duration) -> SseBody {
    SseBody::new(live(publisher, channels, "")).keep_alive(KeepAlive::off()).retry(None).coalesce(pause)
}

fn chunks<const N: usize>(chunks: [(u128, &[&str]); N]) -> Vec<(u128, Vec<String>)> {
    chunks.map(|(at, texts)| (at, texts.iter().map(ToString::to_string).collect())).into()
}

#[tokio::test(start_paused = true)]
async fn the_first_event_is_sent_at_once_and_those_that_follow_as_one_chunk() {
    for channels in [&["a"][..], &["a", "b"]] {
        let publisher = Publisher::new();
        let mut reader = read(body(&publisher, channels, 10 * MS));
        sleep(20 * MS).await;
        for n in 0..5 {
            send(&publisher, channels[n % channels.len()], n);
            sleep(MS).await;
        }
        // After a pause without events, the next one is sent at once again.
        sleep(25 * MS).await;
        send(&publisher, "a", "later");
        let got = settle(&mut reader).await;
        assert_eq!(got, chunks([(0, &[":"]), (20, &["0"]), (30, &["1", "2", "3", "4"]), (50, &["later"])]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_steady_stream_is_sent_as_one_chunk_per_pause() {
    let publisher = Publisher::new();
    let mut reader = read(body(&publisher, &["a"], 5 * MS));
    sleep(MS).await;
    for n in 0..20 {
        send(&publisher, "a", n);
        sleep(MS).await;
    }
    let got = settle(&mut reader).await;
    let sizes: Vec<_> = got.iter().map(|(at, texts)| (*at, texts.len())).collect();
    assert_eq!(sizes[..2], [(0, 1), (1, 1)]);
    assert!(sizes.len() <= 6 && sizes.windows(2).skip(1).all(|pair| pair[1].0 - pair[0].0 >= 5), "{sizes:?}");
    let all: Vec<_> = got.into_iter().skip(1).flat_map(|(_, texts)| texts).collect();
    assert_eq!(all, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_pause_is_longer_than_a_second() {
    let publisher = Publisher::new();
    let mut reader = read(body(&publisher, &["a"], Duration::MAX));
    sleep(MS).await;
    send(&publisher, "a", "0");
    sleep(MS).await;
    send(&publisher, "a", "1");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(settle(&mut reader).await, chunks([(0, &[":"]), (1, &["0"]), (1_001, &["1"])]));
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_without_coalescing_or_with_zero() {
    let publisher = Publisher::new();
    let mut reader = read(body(&publisher, &["a"], Duration::ZERO));
    for n in 0..3 {
        sleep(MS).await;
        send(&publisher, "a", n);
    }
    assert_eq!(settle(&mut reader).await, chunks([(0, &[":"]), (1, &["0"]), (2, &["1"]), (3, &["2"])]));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_behind_does_not_wait() {
    let publisher = Publisher::builder().retention(Retention::new().events(10_000)).build();
    (0..5_000).for_each(|n| _ = send(&publisher, "a", format!("{n:020}")));
    let late = SseBody::new(earliest(&publisher, &["a"], "")).coalesce(50 * MS);
    let got = settle(&mut read(late)).await;
    assert!(got.len() > 3 && got.iter().all(|(at, _)| *at == 0), "several chunks, all at once");
    assert_eq!(got[1..].iter().map(|(_, texts)| texts.len()).sum::<usize>(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn an_end_waits_no_longer_than_an_event() {
    type End = fn(&Publisher);
    let finish: End = |publisher| _ = finish(publisher, "a", "bye");
    let close: End = |publisher| _ = close(publisher, "a");
    let shutdown: End = |publisher| {
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.shutdown(Duration::from_secs(1)).await });
    };
    let closed = r#"{"last_event_id":"ID","reason":"closed"}"#;
    let ends: [(End, &[&str]); 3] = [(finish, &["1", "bye"]), (close, &["event", closed]), (shutdown, &["1", "retry"])];
    for (end, last) in ends {
        let publisher = Publisher::new();
        let mut reader = read(body(&publisher, &["a"], 10 * MS));
        sleep(MS).await;
        let id = send(&publisher, "a", "0");
        sleep(MS).await;
        send(&publisher, "a", "1");
        sleep(MS).await;
        end(&publisher);
        let got = settle(&mut reader).await;
        assert_eq!(got[..2], chunks([(0, &[":"]), (1, &["0"])]));
        assert!(got[2..].iter().all(|(at, _)| *at == 11), "{got:?}");
        let texts: Vec<_> = got[2..].iter().flat_map(|(_, texts)| texts).map(|text| text.replace(&id, "ID")).collect();
        assert_eq!(texts, [last, &["end"]].concat());
        assert_eq!(publisher.connections(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_expires_in_time() {
    let publisher = Publisher::new();
    let grant = grant(&["a"], "").expires_in(5 * MS);
    let subscription = tower_sse::Subscription::open(&publisher, grant).await.unwrap();
    let mut reader = read(SseBody::new(subscription).retry(None).coalesce(10 * MS));
    assert_eq!(settle(&mut reader).await, chunks([(0, &[":"]), (5, &["retry"]), (5, &["end"])]));
}

#[tokio::test(start_paused = true)]
async fn keep_alives_come_an_interval_after_the_last_chunk() {
    let publisher = Publisher::new();
    let body = SseBody::new(live(&publisher, &["a"], "")).retry(None);
    let mut reader = read(body.keep_alive(KeepAlive::every(30 * MS)).coalesce(10 * MS));
    sleep(MS).await;
    send(&publisher, "a", "0");
    sleep(MS).await;
    send(&publisher, "a", "1");
    let got = settle(&mut reader).await;
    assert_eq!(got, chunks([(0, &[":"]), (1, &["0"]), (11, &["1"]), (41, &[":"]), (71, &[":"]), (101, &[":"])]));
}

#[tokio::test(start_paused = true)]
async fn an_eviction_during_a_pause_is_a_gap() {
    let publisher = Publisher::builder().retention(Retention::new().events(3)).build();
    let mut reader = read(body(&publisher, &["a"], 10 * MS));
    sleep(MS).await;
    (0..5).for_each(|n| _ = send(&publisher, "a", n));
    sleep(MS).await;
    let got = settle(&mut reader).await;
    assert_eq!(got.len(), 3, "{got:?}");
    assert_eq!((got[1].0, got[1].1[0].as_str()), (1, "event"));
    assert_eq!(got[2], (1, vec!["2".into(), "3".into(), "4".into()]));

    send(&publisher, "a", "5");
    sleep(MS).await;
    (6..10).for_each(|n| _ = send(&publisher, "a", n));
    let got = settle(&mut reader).await;
    assert_eq!(got[0].1, ["5"]);
    assert_eq!(got[1].1[0], "event", "a gap");
    assert_eq!(got[2].1, ["7", "8", "9"]);
    assert!(got[1].0 == got[0].0 + 10 && got[2].0 == got[1].0);
}
