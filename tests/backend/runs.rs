//! Runs on several nodes that share a store, when nodes are cut off from it.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::mpsc, time::Instant};
use tower_sse::{
    ChannelName, ChannelState, EncodedEvent, Event, Output, Publisher, PublisherBuilder,
    runs::{Conflict, Delta, Dialect, New, OnDrain, Outcome, Plain, Runs, Status, Writer},
};

use crate::{
    faulty::{Faults, Faulty},
    helpers::*,
    store::Shared,
};

pub const LEASE: Duration = Duration::from_secs(2);

fn impatient(builder: PublisherBuilder) -> PublisherBuilder {
    builder.timeout(SECOND)
}

pub fn node(store: &impl Shared) -> (Runs, Arc<Faults>) {
    let backend = Faulty::new(store.backend());
    let faults = backend.faults.clone();
    let publisher: Publisher = impatient(Publisher::builder().backend(backend)).build();
    (Runs::new(publisher, Plain).lease(LEASE), faults)
}

async fn until(is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < STUCK, "it never is");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn a_run_is_read_stopped_and_asked_about_on_any_node(store: impl Shared) {
    let ([(one, _), (other, _)], chat) = ([node(&store), node(&store)], New::run().id("1").thread("chat"));
    let here = one.start(chat, obeys).await;
    let there = other.attach_thread("chat", &get()).await;
    assert_eq!(there.headers()["x-run-id"], "1");
    assert!(is_running(&other, "1").await);
    other.stop("1").await.unwrap();
    assert_eq!(ended(&other, "1").await, Some(Outcome::Stopped));
    for response in [here, there, one.attach("1", &get()).await, other.attach("1", &get()).await] {
        assert_eq!(read(response).await.data(), ["begun", r#"{"outcome":"stopped"}"#]);
    }
    for node in [&one, &other] {
        assert_eq!(node.status("1").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
        assert_eq!(node.attach_thread("chat", &get()).await.status(), 404);
    }
    assert_eq!((one.active(), other.active()), (0, 0));
}

pub async fn a_late_reader_on_any_node_gets_all_of_a_run(store: impl Shared) {
    let ([(one, _), (other, _)], texts) = ([node(&store), node(&store)], ["a", "b", "c"]);
    one.spawn(New::run().id("1"), async move |run| says(run, &texts).await).await.unwrap();
    assert_eq!(ended(&other, "1").await, Some(Outcome::Done));
    let got = read(other.attach("1", &get()).await).await;
    assert_eq!(got.data(), ["a", "b", "c", r#"{"outcome":"done"}"#]);
    let rest = read(one.attach("1", &after(got.ids()[0])).await).await;
    assert_eq!(rest.data(), got.data()[1..]);
}

pub async fn twenty_starts_on_all_nodes_are_one_producer(store: impl Shared) {
    let nodes = [node(&store).0, node(&store).0, node(&store).0];
    for new in [New::run().id("1"), New::run().thread("chat")] {
        let producers = Producers::default();
        // Of a thread each start has an id of its own.
        let start = |n: usize| {
            let new = if new.run_id() == "1" { new.clone() } else { new.clone().id(format!("of the chat {n}")) };
            producers.start(&nodes[n % 3], new)
        };
        let started = join_all((0..20).map(start)).await;
        until(async || producers.count() > 0).await;
        assert_eq!((started.iter().filter(|started| **started).count(), producers.count()), (1, 1));
    }
    assert_eq!(nodes.iter().map(Runs::active).sum::<usize>(), 2);
}

pub async fn a_thread_that_two_nodes_find_free_is_taken_by_one(store: impl Shared) {
    let (nodes, producers) = ([node(&store), node(&store)], Producers::default());
    let hold = |channel: Option<ChannelName>| {
        nodes.iter().for_each(|(_, faults)| faults.hold_reads_of.lock().unwrap().clone_from(&channel));
    };
    hold(Some(ChannelName::from_static("thread/chat")));
    let starts = join_all(nodes.iter().map(|(node, _)| producers.start(node, New::run().thread("chat"))));
    let (started, ()) = tokio::join!(starts, async {
        // Both have read that no run is active.
        tokio::time::sleep(SECOND / 2).await;
        hold(None);
    });
    until(async || producers.count() > 0).await;
    assert_eq!((started.iter().filter(|started| **started).count(), producers.count()), (1, 1));
}

pub async fn a_run_interrupts_or_waits_for_one_on_another_node(store: impl Shared) {
    let [(one, _), (other, _)] = [node(&store), node(&store)];
    one.spawn(New::run().id("1").thread("chat"), obeys).await.unwrap();
    let refused = other.spawn(New::run().id("2").thread("chat"), obeys).await.unwrap_err();
    assert_eq!(refused.active(), Some("1"));
    let interrupts = other.clone().conflict(Conflict::Interrupt);
    interrupts.spawn(New::run().id("2").thread("chat"), obeys).await.unwrap();
    assert_eq!(one.status("1").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
    let waits = one.clone().conflict(Conflict::Enqueue);
    let (waited, ()) = tokio::join!(waits.spawn(New::run().id("3").thread("chat"), obeys), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        one.stop_thread("chat").await.unwrap();
    });
    waited.unwrap();
    assert_eq!(other.status("2").await.unwrap(), Some(Status::Ended(Outcome::Stopped)));
    assert!(is_running(&other, "3").await);
}

pub async fn a_node_that_is_cut_off_is_lost_and_its_writers_are_fenced_off(store: impl Shared) {
    let [(one, faults), (other, _)] = [node(&store), node(&store)];
    let ((ask, mut asked), (tell, mut told)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let producer = async move |run: Writer| {
        run.send(Event::text("begun")).await?;
        asked.recv().await;
        // However often it tries.
        loop {
            match run.send(Event::text("more")).await {
                Err(error) if error.as_publish_error().is_some_and(|error| error.is_unavailable()) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                sent => return Ok(tell.send(sent.map(|_| ()))?),
            }
        }
    };
    one.spawn(New::run().id("1").thread("chat"), producer).await.unwrap();
    let there = other.attach("1", &get()).await;
    faults.go_away(true);
    assert_eq!(read(there).await.data(), ["begun", r#"{"outcome":"lost"}"#]);
    assert_eq!(other.status("1").await.unwrap(), Some(Status::Ended(Outcome::Lost)));
    // The thread is free.
    other.spawn(New::run().id("2").thread("chat"), obeys).await.unwrap();

    faults.go_away(false);
    let old = one.publisher().channel("run/1").fence(1);
    until(async || !old.send(Event::text("late")).await.unwrap_err().is_unavailable()).await;
    assert!(old.send(Event::text("late")).await.unwrap_err().is_fenced());
    ask.send(()).unwrap();
    // Unless it was told before it could try.
    if let Some(sent) = told.recv().await {
        assert!(sent.unwrap_err().is_ended());
    }
    until(async || one.active() == 0).await;
    for node in [&one, &other] {
        // Until its feed is back, a node tells readers to come back.
        let attached = async || read(node.attach("1", &get()).await).await;
        until(async || !attached().await.data().is_empty()).await;
        assert_eq!(attached().await.data(), ["begun", r#"{"outcome":"lost"}"#]);
    }
    assert!(is_running(&one, "2").await);
}

pub async fn a_thread_whose_node_is_gone_is_free_for_the_next_start(store: impl Shared) {
    let [(one, faults), (other, _)] = [node(&store), node(&store)];
    one.spawn(New::run().id("1").thread("chat"), obeys).await.unwrap();
    faults.go_away(true);
    let refused = other.spawn(New::run().id("2").thread("chat"), obeys).await.unwrap_err();
    assert_eq!(refused.active(), Some("1"));
    // Nobody reads the run, or waits for it.
    until(async || other.spawn(New::run().id("2").thread("chat"), obeys).await.is_ok()).await;
    assert_eq!(other.status("1").await.unwrap(), Some(Status::Ended(Outcome::Lost)));
}

pub async fn asking_about_a_run_whose_node_is_gone_ends_it(store: impl Shared) {
    let [(one, faults), (other, _)] = [node(&store), node(&store)];
    for id in ["1", "2"] {
        one.spawn(New::run().id(id), obeys).await.unwrap();
    }
    faults.go_away(true);
    other.stop("1").await.unwrap();
    assert!(is_running(&other, "2").await);
    let is_over = async |run: &str| {
        let info = other.publisher().channel(format!("run/{run}")).info().await.unwrap();
        info.state == ChannelState::Finished
    };
    until(async || is_over("1").await && is_over("2").await).await;
    for id in ["1", "2"] {
        assert_eq!(other.status(id).await.unwrap(), Some(Status::Ended(Outcome::Lost)));
    }
}

pub async fn nobody_is_lost_while_the_store_is_away(store: impl Shared) {
    let [(one, faults), (other, other_faults)] = [node(&store), node(&store)];
    let response = one.start(New::run().id("1"), obeys).await;
    let there = other.attach("1", &get()).await;
    for away in [true, false] {
        for faults in [&faults, &other_faults] {
            faults.go_away(away);
        }
        tokio::time::sleep(4 * LEASE).await;
    }
    assert!(is_running(&other, "1").await);
    other.stop("1").await.unwrap();
    assert_eq!(ended(&one, "1").await, Some(Outcome::Stopped));
    drop((response, there));
}

pub async fn an_outcome_is_written_once_the_store_is_back(store: impl Shared) {
    let [(one, faults), (other, _)] = [node(&store), node(&store)];
    let (done, finish) = tokio::sync::oneshot::channel::<()>();
    let producer = async move |run| {
        says(run, &["a"]).await?;
        Ok(finish.await?)
    };
    one.spawn(New::run().id("1"), producer).await.unwrap();
    until(async || other.status("1").await.unwrap().is_some()).await;
    faults.go_away(true);
    done.send(()).unwrap();
    tokio::time::sleep(LEASE / 4).await;
    assert_eq!(one.active(), 1, "it is not over before it is written");
    faults.go_away(false);
    assert_eq!(ended(&other, "1").await, Some(Outcome::Done));
    assert_eq!(read(other.attach("1", &get()).await).await.data(), ["a", r#"{"outcome":"done"}"#]);
    until(async || one.active() == 0).await;
}

pub async fn a_start_that_fails_while_the_store_is_down_ends_no_other_run(store: impl Shared) {
    let [(one, _), (other, faults)] = [node(&store), node(&store)];
    one.spawn(New::run().id("1"), obeys).await.unwrap();
    // This makes the node take part.
    other.spawn(New::run().id("2"), obeys).await.unwrap();
    faults.go_away(true);
    let error = other.spawn(New::run().id("1"), obeys).await.unwrap_err();
    assert!(!error.is_conflict(), "it does not know of the other one");
    faults.go_away(false);
    until(async || other.stop("2").await.is_ok()).await;
    assert_eq!(ended(&other, "2").await, Some(Outcome::Stopped));
    tokio::time::sleep(3 * SECOND).await;
    assert!(is_running(&one, "1").await);
}

pub async fn a_start_whose_acknowledgement_is_lost_leaves_no_run_without_a_producer(store: impl Shared) {
    let [(one, faults), (other, _)] = [node(&store), node(&store)];
    faults.lose_answers.store(usize::MAX, SeqCst);
    let error = one.spawn(New::run().id("1"), obeys).await.unwrap_err();
    assert!(!error.is_conflict());
    faults.lose_answers.store(0, SeqCst);
    assert_eq!(ended(&other, "1").await, Some(Outcome::Lost));
    assert_eq!(one.active(), 0);
}

pub async fn a_start_whose_acknowledgement_is_lost_is_one_run(store: impl Shared) {
    let (runs, faults) = node(&store);
    // So that the next answer is that of the start.
    runs.spawn(New::run().id("0"), async |_| Ok(())).await.unwrap();
    assert_eq!(ended(&runs, "0").await, Some(Outcome::Done));
    faults.lose_answers.store(1, SeqCst);
    runs.spawn(New::run().id("1"), async |run| says(run, &["a"]).await).await.unwrap();
    assert_eq!(ended(&runs, "1").await, Some(Outcome::Done));
}

/// The writer was told that the token is accepted, so nobody would send it again.
pub async fn a_token_that_is_held_while_the_store_is_down_is_sent_once(store: impl Shared) {
    let (node, faults) = node(&store);
    let runs = node.dialect(Tokens).roll_up(SECOND / 2);
    let (ask, mut asked) = mpsc::unbounded_channel();
    for id in ["next", "outcome"] {
        let gone = ask.clone();
        let producer = async move |run: Writer| {
            run.send(Event::text("a")).await?;
            assert!(run.send(Event::text("b")).await?.is_none());
            gone.send(())?;
            // By then, the window has ended and an append has failed.
            tokio::time::sleep(3 * SECOND).await;
            if run.id() == "next" {
                run.send(Event::text("c")).await?;
            }
            Ok(())
        };
        runs.spawn(New::run().id(id), producer).await.unwrap();
        asked.recv().await.unwrap();
        faults.go_away(true);
        tokio::time::sleep(2 * SECOND).await;
        faults.go_away(false);
        assert_eq!(ended_at_last(&runs, id).await, Some(Outcome::Done), "{id}");
        let text = read(runs.attach(id, &get()).await).await.data()[..].concat();
        assert_eq!(text, format!("{}{}", if id == "next" { "abc" } else { "ab" }, r#"{"outcome":"done"}"#));
    }
}

pub async fn a_run_whose_producer_is_done_is_not_handed_over_while_its_last_token_waits_for_the_store(
    store: impl Shared,
) {
    let (node, faults) = node(&store);
    let runs = node.dialect(Tokens).roll_up(SECOND / 2).on_drain(OnDrain::HandOver);
    let (ask, mut asked) = mpsc::unbounded_channel();
    let producer = async move |run: Writer| {
        run.send(Event::text("a")).await?;
        assert!(run.send(Event::text("b")).await?.is_none());
        ask.send(())?;
        // The window ends while the store is away.
        tokio::time::sleep(SECOND * 3 / 5).await;
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    asked.recv().await.unwrap();
    faults.go_away(true);
    // The producer has returned once nothing can be received from it any more.
    assert!(asked.recv().await.is_none());
    let (drained, ()) = tokio::join!(runs.drain(Duration::ZERO), async {
        tokio::time::sleep(SECOND / 5).await;
        faults.go_away(false);
    });
    assert_eq!(drained, 1);
    assert_eq!(ended_at_last(&runs, "1").await, Some(Outcome::Done));
}

/// Returns the outcome of a run. The node may take seconds to use its store again after an outage.
async fn ended_at_last(runs: &Runs<Tokens>, run: &str) -> Option<Outcome> {
    let ended = async {
        loop {
            if let Ok(outcome) = runs.ended(run).await {
                return outcome;
            }
        }
    };
    tokio::time::timeout(STUCK, ended).await.expect("it ends")
}

/// All events are parts of one text.
#[derive(Clone)]
struct Tokens;

impl Dialect for Tokens {
    fn outcome(&mut self, _: &Outcome, source: &EncodedEvent, out: &mut Output) {
        out.pass(source);
    }

    fn delta<'a>(_: Option<&str>, data: &'a str) -> Option<Delta<'a>> {
        Some(Delta::new("", data))
    }
}

pub async fn a_late_reader_on_any_node_gets_few_events_and_goes_on_after_any(store: impl Shared) {
    let [(one, _), (other, _)] = [node(&store), node(&store)];
    let (one, other) = (one.dialect(Tokens), other.dialect(Tokens));
    let texts: Vec<_> = (0..1_000).map(|n| format!("{n} ")).collect();
    let sends = texts.clone();
    let producer = async move |run: Writer| {
        run.send_all(sends.iter().map(Event::text)).await?;
        Ok(())
    };
    one.spawn(New::run().id("1"), producer).await.unwrap();
    assert_eq!(tokio::time::timeout(STUCK, other.ended("1")).await.unwrap().unwrap(), Some(Outcome::Done));
    for node in [&other, &one, &other] {
        let got = read(node.attach("1", &get()).await).await;
        let (data, ids) = (got.data(), got.ids());
        assert!(data.len() < 10, "{}", data.len());
        assert_eq!(data[..data.len() - 1].concat(), texts.concat());
        for (n, id) in ids[..ids.len() - 1].iter().enumerate() {
            let rest = read(node.attach("1", &after(id)).await).await;
            assert_eq!(rest.data().concat(), data[n + 1..].concat());
        }
        // After a token in the middle of an event.
        let held = node.publisher().channel("run/1").read(None, 1_000).await.unwrap();
        for at in [1, 2, 500, 999] {
            let rest = read(node.attach("1", &after(&held.events[at].id().to_string())).await).await;
            assert_eq!(rest.data()[..rest.data().len() - 1].concat(), texts[at..].concat(), "{at}");
        }
    }
}

pub async fn a_run_that_was_handed_over_is_lost_only_with_its_new_node(store: impl Shared) {
    let [(one, first), (other, second), (third, _)] = [node(&store), node(&store), node(&store)];
    let one = one.on_drain(OnDrain::HandOver);
    one.spawn(New::run().id("1").thread("chat"), obeys).await.unwrap();
    let stays = third.attach("1", &get()).await;
    assert_eq!(one.drain(Duration::from_millis(10)).await, 1);
    first.go_away(true);
    let tries = join_all([&other, &third].map(|node| node.take_over("1", obeys))).await;
    assert_eq!(tries.iter().filter(|taken| taken.is_ok()).count(), 1);
    // This leaves the third node.
    if tries[0].is_err() {
        third.stop("1").await.unwrap();
        let data = read(stays).await;
        assert_eq!(data.data(), ["begun", r#"{"attempt":2}"#, "begun", r#"{"outcome":"stopped"}"#]);
        return;
    }
    // This is longer than it takes to notice that the first node is gone.
    tokio::time::sleep(4 * LEASE + 2 * SECOND).await;
    assert!(is_running(&third, "1").await);
    second.go_away(true);
    assert_eq!(read(stays).await.data(), ["begun", r#"{"attempt":2}"#, "begun", r#"{"outcome":"lost"}"#]);
    third.spawn(New::run().id("2").thread("chat"), obeys).await.unwrap();
}

/// A watch of the first node turns into one of the second, although the first is gone before the second has the run. The first
/// watch ends no run.
pub async fn a_run_that_waits_when_its_node_is_noticed_to_be_gone_is_lost_with_the_next_one(store: impl Shared) {
    let [(one, first), (other, second), (third, _)] = [node(&store), node(&store), node(&store)];
    let one = one.on_drain(OnDrain::HandOver).take_over_within(600 * SECOND);
    one.spawn(New::run().id("1"), obeys).await.unwrap();
    let stays = third.attach("1", &get()).await;
    assert_eq!(one.drain(Duration::from_millis(10)).await, 1);
    first.go_away(true);
    // This is longer than it takes to notice that.
    tokio::time::sleep(LEASE + 2 * SECOND).await;
    assert_eq!(third.status("1").await.unwrap(), Some(Status::HandedOver));
    other.take_over("1", obeys).await.unwrap();
    tokio::time::sleep(2 * LEASE + 2 * SECOND).await;
    let info = third.publisher().channel("run/1").info().await.unwrap();
    assert_eq!(info.state, ChannelState::Open, "its producer is alive");
    second.go_away(true);
    let told = tokio::time::timeout(STUCK, read(stays)).await.expect("its reader is told");
    assert_eq!(told.data(), ["begun", r#"{"attempt":2}"#, "begun", r#"{"outcome":"lost"}"#]);
}

pub async fn a_run_that_was_handed_over_ends_in_time_although_its_node_is_gone(store: impl Shared) {
    let [(one, faults), (other, _)] = [node(&store), node(&store)];
    let one = one.on_drain(OnDrain::HandOver).take_over_within(2 * SECOND);
    one.spawn(New::run().id("1"), obeys).await.unwrap();
    let stays = other.attach("1", &get()).await;
    assert_eq!(one.drain(Duration::from_millis(10)).await, 1);
    faults.go_away(true);
    assert_eq!(read(stays).await.data(), ["begun", r#"{"outcome":"drained"}"#]);
}
