//! A node that drains hands its runs over to another one. The nodes of these tests share the hub of one process.

use futures_util::future::join_all;
use tokio::time::Instant;
use tower_sse::{
    Event, Publisher,
    runs::{AiSdk, Conflict, New, OnDrain, Outcome, Plain, Runs, Status, Writer},
};

use crate::helpers::*;

fn nodes() -> [Runs; 3] {
    let publisher = Publisher::new();
    [(); 3].map(|()| Runs::new(publisher.clone(), Plain).on_drain(OnDrain::HandOver))
}

async fn says_and_waits(run: Writer, text: &str) -> Result<(), tower_sse::runs::ProducerError> {
    run.send(Event::text(text)).await?;
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_on_another_node_for_the_readers_who_stay() {
    let [one, other, third] = nodes();
    let (gives, mut takes) = tokio::sync::mpsc::unbounded_channel();
    let producer = async move |run: Writer| {
        assert_eq!(run.attempt(), 1);
        gives.send(run.clone())?;
        says_and_waits(run, "a").await
    };
    let response = one.start(New::run().id("1").thread("chat"), producer).await;
    moment().await;
    assert_eq!(one.drain(SECOND).await, 1);
    assert_eq!(one.active(), 0);
    for node in [&one, &other] {
        assert_eq!(node.status("1").await.unwrap(), Some(Status::HandedOver));
    }
    let old = takes.recv().await.unwrap();
    assert!(old.send(Event::text("late")).await.unwrap_err().is_stopped());
    let channel = one.publisher().channel("run/1");
    assert!(channel.fence(1).send(Event::text("late")).await.unwrap_err().is_fenced());
    assert!(other.spawn(New::run().thread("chat"), hangs).await.unwrap_err().is_conflict(), "the thread is busy");

    let waits = other.attach_thread("chat", &get()).await;
    let goes_on = async |run: Writer| {
        assert_eq!(run.attempt(), 2);
        run.send(Event::text("b")).await?;
        moment().await;
        Ok(())
    };
    other.take_over("1", goes_on).await.unwrap();
    assert!(is_running(&third, "1").await);
    let all = ["a", r#"{"attempt":2}"#, "b", r#"{"outcome":"done"}"#];
    for response in [response, waits, third.attach("1", &get()).await] {
        assert_eq!(read(response).await.data(), all);
    }
    // Its place in the thread is free.
    moment().await;
    assert_eq!(other.attach_thread("chat", &get()).await.status(), 404);
    other.spawn(New::run().thread("chat"), hangs).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_may_be_handed_over_again() {
    let nodes = nodes();
    nodes[0].spawn(New::run().id("1"), async |run| says_and_waits(run, "1").await).await.unwrap();
    for (n, next) in nodes.iter().enumerate().skip(1) {
        moment().await;
        assert_eq!(nodes[n - 1].drain(SECOND).await, 1);
        next.take_over("1", async |run| {
            let text = run.attempt().to_string();
            says_and_waits(run, &text).await
        })
        .await
        .unwrap();
    }
    moment().await;
    nodes[2].stop("1").await.unwrap();
    let got = read(nodes[0].attach("1", &get()).await).await;
    assert_eq!(got.data(), ["1", r#"{"attempt":2}"#, "2", r#"{"attempt":3}"#, "3", r#"{"outcome":"stopped"}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_taken_over_by_one_node_and_only_if_it_was_handed_over() {
    let [one, other, third] = nodes();
    assert!(other.take_over("1", hangs).await.unwrap_err().is_conflict(), "there is none");
    one.spawn(New::run().id("1"), hangs).await.unwrap();
    assert!(other.take_over("1", hangs).await.unwrap_err().is_conflict(), "it has a producer");
    assert_eq!(one.drain(SECOND).await, 1);
    assert!(one.take_over("1", hangs).await.unwrap_err().is_draining(), "it goes");
    let tries = (0..20).map(|n| [&other, &third][n % 2].take_over("1", hangs));
    let taken = join_all(tries).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
    assert!(taken.iter().all(|taken| taken.as_ref().err().is_none_or(|error| error.is_conflict())));
    assert_eq!(other.active() + third.active(), 1);
    other.stop("1").await.unwrap();
    third.stop("1").await.unwrap();
    assert_eq!(ended(&other, "1").await, Some(Outcome::Stopped));
    assert!(third.take_over("1", hangs).await.unwrap_err().is_conflict(), "it has ended");
}

/// A node that watched the first producer declares it lost under the next higher fence, however late.
#[tokio::test(start_paused = true)]
async fn a_watcher_that_declares_the_first_producer_lost_cannot_end_the_run_of_the_second() {
    let [one, other, _] = nodes();
    one.spawn(New::run().id("1"), hangs).await.unwrap();
    moment().await;
    one.drain(SECOND).await;
    other.take_over("1", hangs).await.unwrap();
    let lost = || Event::text(r#"{"outcome":"lost"}"#).name(tower_sse::EventName::from_static("run.outcome"));
    let channel = |fence| one.publisher().channel("run/1").fence(fence);
    assert!(channel(2).finish(lost()).await.unwrap_err().is_fenced());
    assert!(is_running(&other, "1").await);
    // A watcher of the second producer uses this fence.
    channel(5).finish(lost()).await.unwrap();
    assert_eq!(ended(&other, "1").await, Some(Outcome::Lost));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_declares_a_node_lost_cannot_end_a_run_that_the_node_handed_over() {
    let [one, other, _] = nodes();
    one.spawn(New::run().id("1"), hangs).await.unwrap();
    moment().await;
    one.drain(SECOND).await;
    let channel = one.publisher().channel("run/1").fence(2);
    assert!(channel.finish(Event::text("lost")).await.unwrap_err().is_fenced());
    assert_eq!(other.status("1").await.unwrap(), Some(Status::HandedOver));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_takes_over_in_time_ends_as_drained() {
    let [one, other, _] = nodes();
    let one = one.take_over_within(30 * SECOND);
    let response = one.start(New::run().id("1").thread("chat"), hangs).await;
    moment().await;
    one.drain(SECOND).await;
    let begun = Instant::now();
    assert_eq!(read(response).await.data(), ["begun", r#"{"outcome":"drained"}"#]);
    // The deadline is a time of day, and that clock goes on while the test runs.
    assert!((28..=30).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(other.status("1").await.unwrap(), Some(Status::Ended(Outcome::Drained)));
    assert!(other.take_over("1", hangs).await.unwrap_err().is_conflict());
    other.spawn(New::run().thread("chat"), hangs).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_a_producer_can_be_stopped_and_interrupted() {
    for interrupts in [false, true] {
        let [one, other, _] = nodes();
        one.spawn(New::run().id("1").thread("chat"), hangs).await.unwrap();
        moment().await;
        one.drain(SECOND).await;
        match interrupts {
            true => {
                drop(other.clone().conflict(Conflict::Interrupt).spawn(New::run().thread("chat"), hangs).await.unwrap())
            }
            false => other.stop_thread("chat").await.unwrap(),
        }
        assert_eq!(other.status("1").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_sends_the_tokens_that_it_holds_before_its_run_is_handed_over() {
    let [one, other, _] = nodes();
    let (one, other) = (one.dialect(AiSdk).roll_up(SECOND), other.dialect(AiSdk));
    let producer = async |run: Writer| {
        for token in ["a", "b", "c"] {
            run.send(AiSdk::text_delta("1", token)).await?;
        }
        std::future::pending().await
    };
    let reads = tokio::spawn(read(one.start(New::run().id("1"), producer).await));
    moment().await;
    one.drain(SECOND / 10).await;
    let goes_on = async |run: Writer| {
        run.send(AiSdk::text_delta("1", "d")).await?;
        Ok(())
    };
    other.take_over("1", goes_on).await.unwrap();
    for got in [reads.await.unwrap(), read(other.attach("1", &get()).await).await] {
        let data = got.data();
        let joined = joined(&data[..data.len() - 2]);
        assert_eq!(joined.iter().map(|(_, text)| &**text).collect::<String>(), "abcd", "{}", got.text);
    }
}
