//! One producer of a run, one active run of a thread.

use futures_util::future::join_all;
use tower_sse::runs::{Conflict, New, Outcome, Status};

use crate::helpers::*;

#[tokio::test(start_paused = true)]
async fn a_second_start_is_a_conflict() {
    let runs = runs();
    runs.spawn(New::run().id("1"), hangs).await.unwrap();
    let error = runs.spawn(New::run().id("1"), hangs).await.unwrap_err();
    assert!(error.is_conflict() && error.active().is_none());
    assert_eq!(runs.start(New::run().id("1"), hangs).await.status(), 409);
    runs.stop("1").await.unwrap();
    ended(&runs, "1").await;
    assert!(runs.spawn(New::run().id("1"), hangs).await.unwrap_err().is_conflict(), "also once it has ended");
}

#[tokio::test(start_paused = true)]
async fn twenty_starts_at_once_are_one_producer() {
    let (runs, producers) = (runs(), Producers::default());
    let started = join_all((0..20).map(|_| producers.start(&runs, New::run().id("1")))).await;
    tokio::task::yield_now().await;
    assert_eq!((started.iter().filter(|started| **started).count(), producers.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_thread_has_one_active_run_and_refuses_another() {
    let runs = runs();
    let first = runs.spawn(New::run().thread("chat"), obeys).await.unwrap();
    let error = runs.spawn(New::run().thread("chat"), obeys).await.unwrap_err();
    assert_eq!((error.is_conflict(), error.active()), (true, Some(&*first)));
    runs.spawn(New::run().thread("another chat"), obeys).await.unwrap();
    runs.stop_thread("chat").await.unwrap();
    ended(&runs, &first).await;
    runs.spawn(New::run().thread("chat"), obeys).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn twenty_starts_in_a_thread_are_one_run() {
    let (runs, producers) = (runs(), Producers::default());
    let started = join_all((0..20).map(|_| producers.start(&runs, New::run().thread("chat")))).await;
    tokio::task::yield_now().await;
    assert_eq!((started.iter().filter(|started| **started).count(), producers.count()), (1, 1));
    assert_eq!(runs.active(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_interrupts_begins_once_the_other_has_stopped() {
    let runs = runs().conflict(Conflict::Interrupt);
    runs.spawn(New::run().id("1").thread("chat"), hangs).await.unwrap();
    runs.spawn(New::run().id("2").thread("chat"), hangs).await.unwrap();
    assert_eq!(runs.status("1").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
    assert!(is_running(&runs, "2").await);
}

#[tokio::test(start_paused = true)]
async fn of_twenty_runs_that_interrupt_each_other_one_is_left() {
    let (runs, producers) = (runs().conflict(Conflict::Interrupt), Producers::default());
    let started = join_all((0..20).map(|_| producers.start(&runs, New::run().thread("chat")))).await;
    assert_eq!(started.iter().filter(|started| **started).count(), producers.count());
    assert_eq!(runs.active(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_start_interrupts_nothing() {
    let runs = runs().conflict(Conflict::Interrupt);
    runs.spawn(New::run().id("1").thread("chat"), obeys).await.unwrap();
    assert!(runs.spawn(New::run().id("1").thread("chat"), obeys).await.unwrap_err().is_conflict());
    assert!(is_running(&runs, "1").await);
    runs.stop("1").await.unwrap();
    ended(&runs, "1").await;
    runs.spawn(New::run().id("2").thread("chat"), obeys).await.unwrap();
    assert!(runs.spawn(New::run().id("1").thread("chat"), obeys).await.unwrap_err().is_conflict());
    assert!(is_running(&runs, "2").await);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_enqueued_begins_once_the_other_has_ended() {
    let runs = runs().conflict(Conflict::Enqueue);
    let takes_a_while = async |_| {
        tokio::time::sleep(10 * SECOND).await;
        Ok(())
    };
    let begun = tokio::time::Instant::now();
    runs.spawn(New::run().id("1").thread("chat"), takes_a_while).await.unwrap();
    runs.spawn(New::run().id("2").thread("chat"), hangs).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(runs.status("1").await.unwrap(), Some(Status::Ended(Outcome::Done)));

    let error = runs.clone().patience(3 * SECOND).spawn(New::run().thread("chat"), hangs).await.unwrap_err();
    assert_eq!(error.active(), Some("2"), "it does not wait for ever");
    assert_eq!(runs.active(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_while_its_run_is_enqueued_takes_it_with_it() {
    let runs = runs().conflict(Conflict::Enqueue);
    runs.spawn(New::run().id("1").thread("chat"), obeys).await.unwrap();
    let waits = runs.spawn(New::run().id("2").thread("chat"), obeys);
    assert!(tokio::time::timeout(SECOND, waits).await.is_err());
    tokio::task::yield_now().await;
    runs.stop("1").await.unwrap();
    ended(&runs, "1").await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(runs.status("2").await.unwrap(), None);
    assert_eq!(runs.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_started_is_refused_with_a_status() {
    let runs = runs().max_runs(1);
    for new in [New::run().id(""), New::run().id("two\nlines"), New::run().thread("")] {
        assert!(runs.spawn(new.clone(), hangs).await.unwrap_err().is_invalid());
        assert_eq!(runs.start(new, hangs).await.status(), 400);
    }
    runs.spawn(New::run(), hangs).await.unwrap();
    assert!(runs.spawn(New::run(), hangs).await.unwrap_err().is_limit());
    let response = runs.start(New::run(), hangs).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
}
