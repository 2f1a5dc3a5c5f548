//! What the feature `metrics` records, seen by a recorder of the tests' own.

#[path = "metrics/broken.rs"]
mod broken;
mod common;
#[path = "metrics/recorder.rs"]
mod recorder;

use std::time::Duration;

use broken::Broken;
use common::*;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use metrics::{Unit, with_local_recorder};
use recorder::Recorder;
use tower::ServiceExt as _;
use tower_sse::{Event, Grant, OpenOptions, Publisher, PublisherBuilder, Retention, Route, SseBody, SseLayer};

fn hub(recorder: &Recorder, settings: fn(PublisherBuilder) -> PublisherBuilder) -> Publisher {
    with_local_recorder(recorder, || settings(Publisher::builder()).build())
}

#[tokio::test]
async fn publishes_are_counted_by_what_became_of_them_and_some_are_timed() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder);
    send(&publisher, "a", 1);
    finish(&publisher, "a", 2);
    publisher.channel("b").send_all([Event::text("3"), Event::text("4")]).await.unwrap();
    publisher.channel("a").send(Event::text("late")).await.unwrap_err();
    publisher.channel("two\nlines").send(Event::text("5")).await.unwrap_err();
    publisher.channel("b").send_to("", Event::text("6")).await.unwrap_err();
    let count = |outcome| recorder.counter("tower_sse_publishes_total", &[("outcome", outcome)]);
    assert_eq!(["ok", "finished", "invalid"].map(count), [3, 1, 2]);
    // One in 16 is timed.
    let timed = || recorder.times("tower_sse_publish_duration_seconds", &[]);
    let before = timed();
    (0..15).for_each(|n| _ = send(&publisher, "c", n));
    assert!((0..=1).contains(&(timed() - before)));
    send(&publisher, "c", 15);
    assert_eq!(timed() - before, 1);
    publisher.record_metrics();
    assert_eq!(recorder.counter("tower_sse_published_events_total", &[]), 20);
    assert_eq!(recorder.gauge("tower_sse_channels", &[]), 3.0);
}

#[tokio::test]
async fn openings_are_counted_by_how_they_begin() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder.retention(Retention::new().events(2)));
    let count =
        |outcome, reason| recorder.counter("tower_sse_opens_total", &[("outcome", outcome), ("reason", reason)]);
    let first = send(&publisher, "a", 1);
    let second = send(&publisher, "a", 2);
    let mut readers = vec![live(&publisher, &["a"], ""), resume(&publisher, &["a"], "", &second)];
    assert_eq!([count("fresh", ""), count("resumed", "")], [1, 1]);
    (3..5).for_each(|n| _ = send(&publisher, "a", n));
    readers.push(resume(&publisher, &["a"], "", &first));
    readers.push(resume(&publisher, &["a"], "", "nonsense"));
    assert_eq!([count("gap", "evicted"), count("gap", "unknown-id")], [1, 1]);
    // A reader that is overrun gets a gap, but does not open again.
    (5..8).for_each(|n| _ = send(&publisher, "a", n));
    assert_eq!(texts(&mut readers[0]), ["gap:lagged", "6", "7"]);
    let gaps = |reason| recorder.counter("tower_sse_gaps_total", &[("reason", reason)]);
    assert_eq!(["evicted", "unknown-id", "lagged"].map(gaps), [1, 1, 1]);

    let last = finish(&publisher, "b", 1);
    assert!(try_resume(&publisher, &["b"], "", last).is_err());
    let once = OpenOptions::new().max_per_client(1);
    let open = || ready(once.open(&publisher, grant(&["a"], "ana"), None));
    readers.push(open().unwrap());
    assert!(open().is_err());
    assert_eq!([count("over", ""), count("refused", "client_limit")], [1, 1]);

    publisher.record_metrics();
    assert_eq!(recorder.gauge("tower_sse_connections", &[]), 5.0);
    drop(readers);
    publisher.shutdown(Duration::ZERO).await;
    publisher.record_metrics();
    assert_eq!([recorder.gauge("tower_sse_connections", &[]), recorder.gauge("tower_sse_draining", &[])], [0.0, 1.0]);
    assert!(recorder.counter("tower_sse_evicted_events_total", &[]) > 0);
}

#[test]
fn a_request_that_is_refused_is_counted_once() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder);
    let expired = grant(&["a"], "").expires_at(std::time::SystemTime::UNIX_EPOCH);
    for grant in [expired, Grant::new([])] {
        let error = ready(OpenOptions::new().open(&publisher, grant, None)).unwrap_err();
        drop(SseBody::refused(&publisher, &error));
    }
    publisher.record_metrics();
    let count =
        |outcome, reason| recorder.counter("tower_sse_opens_total", &[("outcome", outcome), ("reason", reason)]);
    assert_eq!([count("denied", ""), count("refused", "bad_request")], [1, 1]);
    assert_eq!(recorder.sum("tower_sse_opens_total"), 2);
}

#[test]
fn what_the_hub_counts_is_added_once_however_often_it_is_recorded() {
    let recorder = Recorder::default();
    let [one, other] = [(); 2].map(|()| hub(&recorder, |builder| builder));
    for n in 1..=3 {
        send(&one, "a", n);
        send(&other, "a", n);
        (0..n).for_each(|_| [&one, &other].into_iter().for_each(Publisher::record_metrics));
        assert_eq!(recorder.counter("tower_sse_published_events_total", &[]), 2 * n);
    }
}

#[test]
fn hubs_with_names_have_metrics_of_their_own() {
    let recorder = Recorder::default();
    let (one, other) = (
        hub(&recorder, |builder| builder.metrics_name("one")),
        hub(&recorder, |builder| builder.metrics_name("other")),
    );
    send(&one, "a", 1);
    send(&one, "a", 2);
    send(&other, "a", 3);
    [&one, &other].into_iter().for_each(Publisher::record_metrics);
    let published = |hub| recorder.counter("tower_sse_published_events_total", &[("hub", hub)]);
    assert_eq!(["one", "other"].map(published), [2, 1]);
}

/// <https://prometheus.io/docs/practices/naming/>
#[test]
fn names_and_units_are_as_prometheus_wants_them() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder);
    publisher.record_metrics();
    let described = recorder.described();
    for name in recorder.registered() {
        let (_, kind, unit) = described.iter().find(|(own, ..)| *own == name).expect("it is described");
        assert!(name.starts_with("tower_sse_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        assert_eq!(name.ends_with("_seconds"), *unit == Some(Unit::Seconds), "{name}");
        let is_bytes = name.trim_end_matches("_total").ends_with("_bytes");
        assert_eq!(is_bytes, *unit == Some(Unit::Bytes), "{name}");
    }
}

#[test]
fn no_label_names_a_channel_or_a_client() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder);
    let before = recorder.registered().len();
    for n in 0..100 {
        let (channel, client) = (format!("channel-{n}"), format!("client-{n}"));
        send_to(&publisher, &channel, &client, n);
        drop(texts(&mut earliest(&publisher, &[&channel], &client)));
    }
    publisher.record_metrics();
    assert_eq!(recorder.registered().len(), before, "a fixed number of series");
    let keys = ["outcome", "reason", "call"].map(|label| recorder.values_of(label));
    assert!(keys.iter().flatten().all(|value| !value.contains("channel-") && !value.contains("client-")));
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_backend_are_counted_by_what_became_of_them() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder.backend(Broken));
    let channel = publisher.channel("a");
    assert!(channel.send(Event::text("1")).await.unwrap_err().is_unavailable());
    channel.read(None, 10).await.unwrap_err();
    channel.close().await.unwrap_err();
    assert!(!publisher.health().await.is_ready());
    assert!(channel.presence().await.unwrap().is_empty());
    let count =
        |call, outcome| recorder.counter("tower_sse_backend_calls_total", &[("call", call), ("outcome", outcome)]);
    assert_eq!([count("append", "error"), count("read", "misconfigured"), count("close", "timeout")], [1, 1, 1]);
    assert_eq!([count("heads", "no_answer"), count("presence", "ok")], [1, 1]);
    assert_eq!(recorder.times("tower_sse_backend_call_duration_seconds", &[("call", "heads")]), 1);
    assert_eq!(recorder.counter("tower_sse_publishes_total", &[("outcome", "unavailable")]), 1);
    assert_eq!(recorder.times("tower_sse_publish_duration_seconds", &[]), 1, "every publish to a backend is timed");

    // A reader waits for the timeout. Meanwhile one feed after another is lost.
    assert!(OpenOptions::new().open(&publisher, grant(&["a"], ""), None).await.is_err());
    publisher.record_metrics();
    assert!(recorder.counter("tower_sse_feed_losses_total", &[]) > 1);
    assert_eq!(recorder.gauge("tower_sse_feed_up", &[]), 0.0);
    assert!(recorder.gauge("tower_sse_level_lag_seconds", &[]) > 1.0);
    let refused = recorder.counter("tower_sse_opens_total", &[("outcome", "refused"), ("reason", "unavailable")]);
    assert_eq!(refused, 1);
}

#[cfg(feature = "runs")]
#[tokio::test(start_paused = true)]
async fn runs_are_counted_by_how_they_end() {
    use tower_sse::runs::{New, Plain, Runs};

    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder);
    let runs = Runs::new(publisher.clone(), Plain);
    let count = |outcome| recorder.counter("tower_sse_runs_total", &[("outcome", outcome)]);
    let active = || recorder.gauge("tower_sse_runs_active", &[]);
    let second = Duration::from_secs(1);
    let done = runs.start(New::run().id("done"), async move |_| {
        tokio::time::sleep(second).await;
        Ok(())
    });
    drop(done.await);
    assert_eq!(active(), 1.0);
    runs.ended("done").await.unwrap();
    drop(runs.start(New::run().id("failed"), async |_| Err("no model".into())).await);
    runs.ended("failed").await.unwrap();
    drop(runs.start(New::run().id("stopped"), async |_| std::future::pending().await).await);
    runs.stop("stopped").await.unwrap();
    runs.ended("stopped").await.unwrap();
    drop(runs.start(New::run().id("drained"), async |_| std::future::pending().await).await);
    runs.drain(second).await;
    assert_eq!(["done", "failed", "stopped", "drained", "lost"].map(count), [1, 1, 1, 1, 0]);
    assert_eq!(active(), 0.0);
    assert_eq!(recorder.times("tower_sse_run_duration_seconds", &[]), 4);
    publisher.record_metrics();
    assert_eq!(recorder.gauge("tower_sse_draining", &[]), 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_delivers_is_counted_chunk_by_chunk_and_its_end_once() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder);
    (1..=3).for_each(|n| _ = send(&publisher, "a", n));
    let mut body = SseBody::new(earliest(&publisher, &["a"], ""));
    let mut sent = 0;
    let totals = || {
        publisher.record_metrics();
        ["delivered_events", "replayed_events", "delivered_bytes"]
            .map(|name| recorder.counter(&format!("tower_sse_{name}_total"), &[]))
    };
    let first_bytes = || recorder.times("tower_sse_time_to_first_byte_seconds", &[]);
    assert_eq!((totals(), first_bytes()), ([0, 0, 0], 0));
    // The preamble, the history, two events, and a keep-alive.
    for (events, replayed) in [(0, 0), (3, 3), (4, 3), (5, 3), (5, 3)] {
        sent += body.frame().await.unwrap().unwrap().into_data().unwrap().len() as u64;
        assert_eq!((totals(), first_bytes()), ([events, replayed, sent], 1));
        if (3..5).contains(&events) {
            send(&publisher, "a", "live");
        }
    }
    let ended = |ending| recorder.counter("tower_sse_streams_ended_total", &[("ending", ending)]);
    assert_eq!(ended("left"), 0);
    drop(body);
    assert_eq!((ended("left"), recorder.times("tower_sse_stream_duration_seconds", &[])), (1, 1));
    let last = earliest(&publisher, &["a"], "");
    close(&publisher, "a");
    let _ = SseBody::new(last).collect().await.unwrap();
    assert_eq!(ended("closed"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_slowest_reader_is_as_late_as_the_oldest_event_that_it_has_not_taken() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder.retention(Retention::new().events(3)));
    let lag = || {
        publisher.record_metrics();
        recorder.gauge("tower_sse_slowest_reader_lag_seconds", &[])
    };
    let mut readers = [live(&publisher, &["a"], ""), live(&publisher, &["a", "b"], "ana")];
    let mut quick = live(&publisher, &["a"], "");
    let second = Duration::from_secs(1);
    for reader in &mut readers {
        send(&publisher, "a", "read by all");
        assert!(poll(reader).is_ready() && texts(&mut quick).len() == 1);
        drop(texts(reader));
        tokio::time::advance(second).await;
    }
    readers.iter_mut().for_each(|reader| drop(texts(reader)));
    assert_eq!(lag(), 0.0);
    send(&publisher, "a", 1);
    tokio::time::advance(second).await;
    send_to(&publisher, "a", "ana", "for one client");
    assert_eq!(texts(&mut quick), ["1"]);
    assert_eq!(lag(), 1.0);
    assert_eq!(texts(&mut readers[0]), ["1"]);
    tokio::time::advance(second).await;
    assert_eq!(lag(), 2.0);
    assert_eq!(texts(&mut readers[1]), ["1", "for one client"]);
    assert_eq!(lag(), 0.0);
    // What is evicted is no longer waited for: the reader will get a gap.
    (2..7).for_each(|n| _ = send(&publisher, "a", n));
    tokio::time::advance(second).await;
    send(&publisher, "a", 7);
    assert_eq!(lag(), 1.0);
    drop((readers, quick));
    assert_eq!(lag(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn wake_ups_are_timed_for_readers_that_waited_and_no_others() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder);
    let woken = || recorder.times("tower_sse_wakeup_duration_seconds", &[]);
    let late = Duration::from_millis(20);
    let mut waits = live(&publisher, &["a"], "");
    for round in 1..=2 {
        for n in 0..16 {
            assert!(poll(&mut waits).is_pending());
            send(&publisher, "a", n);
            tokio::time::advance(late).await;
            assert!(poll(&mut waits).is_ready());
        }
        assert_eq!(woken(), round, "one in 16 readers takes part");
    }
    // Replays, events of other channels, and readers that were behind are no wake-ups.
    let mut other = live(&publisher, &["b"], "");
    for n in 0..32 {
        send(&publisher, "a", n);
        tokio::time::advance(late).await;
        drop(texts(&mut earliest(&publisher, &["a"], "")));
        assert!(poll(&mut other).is_pending());
    }
    (0..32).for_each(|_| assert!(poll(&mut waits).is_ready()));
    send(&publisher, "b", "for the other one");
    assert!(poll(&mut other).is_ready());
    assert!((2..=3).contains(&woken()), "{}", woken());
}

#[tokio::test]
async fn a_strict_reader_that_is_answered_with_410_counts_as_one_that_begins_with_a_gap() {
    let recorder = Recorder::default();
    let publisher = hub(&recorder, |builder| builder);
    let sse = SseLayer::new(publisher).route(Route::new("/s/{channel}").strict(true)).unwrap().into_service();
    for (method, count) in [(Method::HEAD, 0), (Method::GET, 1)] {
        let request = Request::builder().method(method).uri("/s/a").header("last-event-id", "nonsense");
        let response = sse.clone().oneshot(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 410);
        let labels = [("outcome", "gap"), ("reason", "unknown-id")];
        assert_eq!(recorder.counter("tower_sse_opens_total", &labels), count);
        assert_eq!(recorder.counter("tower_sse_gaps_total", &[("reason", "unknown-id")]), count);
    }
}
