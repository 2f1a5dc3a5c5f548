//! Every run has one outcome, whatever becomes of its producer.

use std::{future::pending, time::Duration};

use tower_sse::{
    Event, Publisher,
    runs::{New, Outcome, Plain, ProducerError, RunError, Runs, Status},
};

use crate::helpers::*;

#[tokio::test(start_paused = true)]
async fn a_producer_that_returns_is_done() {
    let runs = runs();
    let run = runs.spawn(New::run(), async |run| says(run, &["a"]).await).await.unwrap();
    assert_eq!(ended(&runs, &run).await, Some(Outcome::Done));
    assert_eq!(runs.status(&run).await.unwrap(), Some(Status::Ended(Outcome::Done)));
    assert_eq!(runs.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_returns_an_error_has_failed_and_its_text_stays_here() {
    let runs = runs();
    let fails = async |_| Err::<(), ProducerError>("the password is swordfish".into());
    let response = runs.start(New::run().id("1"), fails).await;
    assert!(!read(response).await.text.contains("swordfish"));
    assert_eq!(ended(&runs, "1").await, Some(Outcome::Failed(None)));

    let explained = runs.explain(|error| Some(format!("explained: {}", error.to_string().len())));
    explained.spawn(New::run().id("2"), fails).await.unwrap();
    assert_eq!(ended(&explained, "2").await, Some(Outcome::Failed(Some("explained: 25".into()))));
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_panics_has_failed() {
    let runs = runs();
    let at_once = |_| -> std::future::Ready<Result<(), ProducerError>> { panic!("at once") };
    runs.spawn(New::run().id("1"), at_once).await.unwrap();
    let later = async |run| {
        says(run, &["a"]).await?;
        tokio::task::yield_now().await;
        panic!("later")
    };
    runs.spawn(New::run().id("2"), later).await.unwrap();
    for run in ["1", "2"] {
        assert_eq!(ended(&runs, run).await, Some(Outcome::Failed(None)), "{run}");
    }
    assert_eq!(runs.active(), 0);
}

#[test]
fn a_producer_whose_runtime_is_gone_is_lost() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (runs, first) = (runs(), runtime());
    first.block_on(async {
        runs.spawn(New::run().id("1"), hangs).await.unwrap();
        tokio::task::yield_now().await;
    });
    drop(first);
    assert_eq!(runs.active(), 0);
    runtime().block_on(async { assert_eq!(ended(&runs, "1").await, Some(Outcome::Lost)) });
}

#[tokio::test(start_paused = true)]
async fn a_run_is_stopped_for_all_of_its_writers_and_readers() {
    let runs = runs();
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let response = runs.start(New::run().id("1"), async move |run| {
        let clone = run.clone();
        run.send(Event::text("a")).await?;
        run.stopped().await;
        told.send(clone.send(Event::text("late")).await.unwrap_err())?;
        Ok(())
    });
    let response = response.await;
    tokio::task::yield_now().await;
    runs.stop("1").await.unwrap();
    assert_eq!(ended(&runs, "1").await, Some(Outcome::Stopped), "whatever it returned");
    let error: RunError = hears.recv().await.unwrap();
    assert!(error.is_stopped() && !error.is_ended());
    assert_eq!(read(response).await.data(), ["a", r#"{"outcome":"stopped"}"#]);
    // It is over: nothing happens.
    runs.stop("1").await.unwrap();
    assert_eq!(runs.status("1").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
}

/// The producer runs on another thread than the one that stops it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_knows_of_the_stop_sends_nothing_more() {
    let runs = runs();
    for _ in 0..2_000 {
        let (told, hears) = tokio::sync::oneshot::channel();
        let started = runs.spawn(New::run(), async move |run| {
            run.stopped().await;
            let _ = told.send(run.send(Event::text("late")).await.is_err());
            Ok(())
        });
        let id = started.await.unwrap();
        runs.stop(&id).await.unwrap();
        assert!(hears.await.unwrap(), "it was refused");
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_does_not_stop_is_dropped_after_the_grace() {
    let runs = runs().grace(3 * SECOND);
    runs.spawn(New::run().id("1"), hangs).await.unwrap();
    runs.stop("1").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_900)).await;
    assert!(is_running(&runs, "1").await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(runs.status("1").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_a_run_the_time_to_end_and_ends_the_others() {
    let runs = runs();
    let slow = async |run| {
        tokio::time::sleep(5 * SECOND).await;
        says(run, &["late"]).await
    };
    runs.spawn(New::run().id("slow"), slow).await.unwrap();
    let hanging = runs.start(New::run().id("hangs"), hangs).await;
    let drained = tokio::spawn({
        let runs = runs.clone();
        async move { runs.drain(10 * SECOND).await }
    });
    tokio::task::yield_now().await;
    let refused = runs.spawn(New::run(), hangs).await.unwrap_err();
    assert!(refused.is_draining());
    assert_eq!(runs.start(New::run(), hangs).await.status(), 503);

    assert_eq!(drained.await.unwrap(), 1);
    assert_eq!(runs.status("slow").await.unwrap(), Some(Status::Ended(Outcome::Done)));
    assert_eq!(runs.status("hangs").await.unwrap(), Some(Status::Ended(Outcome::Drained)));
    assert_eq!(read(hanging).await.data(), ["begun", r#"{"outcome":"drained"}"#]);
    assert!(runs.publisher().shutdown(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_run_has_one_outcome_whoever_asks_for_its_end() {
    let runs = runs();
    for n in 0..50_u32 {
        let (id, pause) = (n.to_string(), Duration::from_millis(u64::from(n % 3)));
        let producer = async move |run| {
            says(run, &["a"]).await?;
            tokio::time::sleep(pause).await;
            Ok(())
        };
        let response = runs.start(New::run().id(&id), producer).await;
        let (stop, end) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                runs.stop(&id).await
            },
            ended(&runs, &id),
        );
        stop.unwrap();
        let got = read(response).await;
        let outcomes = got.text.matches("event: run.outcome\n").count();
        assert_eq!((outcomes, got.data().len()), (1, 2), "{}", got.text);
        assert_eq!(runs.status(&id).await.unwrap(), Some(Status::Ended(end.unwrap())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_reads_goes_on_unless_it_is_to_stop_then() {
    let runs = runs();
    runs.spawn(New::run().id("goes on"), obeys).await.unwrap();
    let stops = runs.clone().stop_when_unread(60 * SECOND);
    let response = stops.start(New::run().id("stops"), obeys).await;
    tokio::time::sleep(600 * SECOND).await;
    assert!(is_running(&runs, "stops").await, "it is read");
    drop(response);
    tokio::time::sleep(59 * SECOND).await;
    assert!(is_running(&runs, "stops").await);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(runs.status("stops").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
    assert!(is_running(&runs, "goes on").await);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_the_end() {
    let runs = runs();
    let (gives, mut takes) = tokio::sync::mpsc::unbounded_channel();
    runs.spawn(New::run().id("1"), async move |run| Ok(gives.send(run)?)).await.unwrap();
    assert_eq!(ended(&runs, "1").await, Some(Outcome::Done));
    let late = takes.recv().await.unwrap();
    assert!(late.send(Event::text("late")).await.unwrap_err().is_ended());
    assert!(late.send_all([Event::text("late")]).await.unwrap_err().is_ended());
    late.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn names_of_events_that_are_the_crates_own_are_refused() {
    let runs = runs();
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let forges = async move |run: tower_sse::runs::Writer| {
        let name = tower_sse::EventName::from_static("run.outcome");
        told.send(run.send(Event::text(r#"{"outcome":"done"}"#).name(name)).await.unwrap_err())?;
        pending().await
    };
    runs.spawn(New::run().id("1"), forges).await.unwrap();
    assert!(hears.recv().await.unwrap().is_reserved());
    assert!(is_running(&runs, "1").await);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_kept_for_its_time_after_its_end() {
    let runs = Runs::new(Publisher::new(), Plain).keep(60 * SECOND);
    let many: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
    let sends = many.clone();
    let producer = async move |run: tower_sse::runs::Writer| {
        for text in &sends {
            run.send(Event::text(text)).await?;
        }
        // Longer than events are held otherwise.
        tokio::time::sleep(7_200 * SECOND).await;
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    tokio::time::sleep(7_201 * SECOND).await;
    let got = read(runs.attach("1", &get()).await).await;
    assert_eq!(got.data()[..3_000], many);
    tokio::time::sleep(70 * SECOND).await;
    assert_eq!((runs.status("1").await.unwrap(), ended(&runs, "1").await), (None, None));
    assert_eq!(runs.dialect(tower_sse::runs::AiSdk).attach("1", &get()).await.status(), 410);
}
