//! What these tests share.
#![allow(dead_code)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response, request::Parts};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower_sse::{
    Event, Publisher, Retention, SseBody,
    runs::{Dialect, New, Outcome, Plain, ProducerError, Runs, Status, Writer},
};

pub const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes.
pub const STUCK: Duration = Duration::from_secs(60);

pub fn runs() -> Runs {
    Runs::new(Publisher::new(), Plain)
}

/// A request without anything.
pub fn get() -> Parts {
    Request::new(()).into_parts().0
}

/// A request that brings the id of the last event.
pub fn after(id: &str) -> Parts {
    Request::builder().header("last-event-id", id).body(()).unwrap().into_parts().0
}

/// What a client got of an answer.
#[derive(Debug, Default)]
pub struct Got {
    pub text: String,
    pub broken_off: bool,
}

impl Got {
    /// The data of the events.
    pub fn data(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }

    /// The events as their names and their data, which is JSON.
    pub fn events(&self) -> Vec<(&str, Value)> {
        let blocks = self.text.split_inclusive("\n\n").filter(|block| !field(block, "data: ").is_empty());
        blocks.map(|block| (field(block, "event: "), serde_json::from_str(field(block, "data: ")).unwrap())).collect()
    }

    pub fn ids(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
    }
}

fn field<'a>(block: &'a str, name: &str) -> &'a str {
    block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default()
}

/// Reads an answer to its end.
pub async fn read(response: Response<SseBody>) -> Got {
    assert_eq!(response.status(), 200);
    let (mut body, mut got) = (response.into_body(), Got::default());
    while let Some(frame) = tokio::time::timeout(STUCK, body.frame()).await.expect("it ends") {
        match frame {
            Ok(frame) => got.text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap(),
            Err(_) => got.broken_off = true,
        }
    }
    got
}

/// A producer that sends these.
pub async fn says(run: Writer, texts: &[&str]) -> Result<(), ProducerError> {
    for text in texts {
        run.send(Event::text(text)).await?;
    }
    Ok(())
}

/// A producer that sends one event, and then waits for ever.
pub async fn hangs(run: Writer) -> Result<(), ProducerError> {
    run.send(Event::text("begun")).await?;
    std::future::pending().await
}

/// A producer that ends when it is asked to.
pub async fn obeys(run: Writer) -> Result<(), ProducerError> {
    run.send(Event::text("begun")).await?;
    run.stopped().await;
    Ok(())
}

pub async fn ended<D: Dialect>(runs: &Runs<D>, run: &str) -> Option<Outcome> {
    tokio::time::timeout(STUCK, runs.ended(run)).await.expect("it ends").unwrap()
}

pub async fn is_running(runs: &Runs, run: &str) -> bool {
    matches!(runs.status(run).await.unwrap(), Some(Status::Running { .. }))
}

/// Counts the producers that were started.
#[derive(Clone, Default)]
pub struct Producers(Arc<AtomicUsize>);

impl Producers {
    pub fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Starts a run whose producer counts, and obeys. Says whether it was started.
    pub async fn start(&self, runs: &Runs, new: New) -> bool {
        let count = self.0.clone();
        let started = runs.spawn(new, async move |run| {
            count.fetch_add(1, SeqCst);
            obeys(run).await
        });
        match started.await {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is_conflict(), "{error:?}");
                false
            }
        }
    }
}

/// Tokens that are hard to get through unchanged.
pub const TOKENS: [&str; 11] =
    ["data: x", "\n\n", "[DONE]", "\r", "\r\n", "\0", "\u{2028}", "🦀", "\"sequence_number\":7", "\u{feff}", "\\"];

/// Every outcome but done.
pub const ENDS: [Outcome; 5] =
    [Outcome::Stopped, Outcome::Failed(None), Outcome::Lost, Outcome::Drained, Outcome::Failed(Some(String::new()))];

/// Lets some milliseconds pass, after which a reader has caught up.
pub async fn moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// The shapes of events, with the texts of consecutive events of the same shape joined.
pub fn joined(data: &[&str]) -> Vec<(Value, String)> {
    let mut joined: Vec<(Value, String)> = Vec::new();
    for data in data {
        let mut shape: Value = serde_json::from_str(data).unwrap_or_else(|_| Value::from(*data));
        if let Some(members) = shape.as_object_mut() {
            members.remove("sequence_number");
        }
        let at = ["/delta/text", "/delta"].into_iter().find(|at| shape.pointer(at).is_some_and(Value::is_string));
        let text = at.and_then(|at| shape.pointer_mut(at)).map(|text| text.take().as_str().unwrap().to_owned());
        match (joined.last_mut(), text) {
            (Some((last, whole)), Some(text)) if *last == shape => *whole += &text,
            (_, text) => joined.push((shape, text.unwrap_or_default())),
        }
    }
    joined
}

/// What the reader of the run `1` gets whose producer sends these events and then ends in this way. The reader gets each event
/// as it is sent.
pub async fn told<D: Dialect>(runs: &Runs<D>, outcome: &Outcome, events: Vec<Event>) -> Got {
    let ends = outcome.clone();
    let explained = runs.clone().explain(move |_| match &ends {
        Outcome::Failed(message) => message.clone(),
        _ => None,
    });
    let (is_done, fails) = (outcome.is_done(), matches!(outcome, Outcome::Failed(_)));
    let response = explained.start(New::run().id("1"), async move |run| {
        moment().await;
        run.send_all(events).await?;
        match (is_done, fails) {
            (true, _) => Ok(()),
            (_, true) => Err("secret".into()),
            _ => {
                run.stopped().await;
                Ok::<(), ProducerError>(())
            }
        }
    });
    let reads = tokio::spawn(read(response.await));
    moment().await;
    moment().await;
    match outcome {
        Outcome::Stopped => runs.stop("1").await.unwrap(),
        Outcome::Drained => assert_eq!(runs.drain(SECOND).await, 1),
        Outcome::Lost => {
            // Another node would write it like this.
            let lost = Event::text(r#"{"outcome":"lost"}"#).name(tower_sse::EventName::from_static("run.outcome"));
            runs.publisher().channel("run/1").fence(2).finish(lost).await.unwrap();
        }
        _ => {}
    }
    let got = reads.await.unwrap();
    assert!(!got.broken_off && !got.text.contains("secret"), "{}", got.text);
    got
}

/// What the reader of the run `1` gets whose producer sends these events one by one.
pub async fn told_singly<D: Dialect>(runs: &Runs<D>, events: Vec<Event>) -> Got {
    let producer = async move |run: Writer| {
        moment().await;
        for event in events {
            run.send(event).await?;
        }
        Ok(())
    };
    read(runs.start(New::run().id("1"), producer).await).await
}

/// Runs of which the run `1` has ended. It was so long that its head is no longer held.
pub async fn without_a_head<D: Dialect>(dialect: D, event: Event) -> Runs<D> {
    let publisher = Publisher::builder().retention(Retention::new().bytes(2_000)).build();
    let runs = Runs::new(publisher, dialect);
    let producer = async move |run: Writer| {
        run.send_all(vec![event; 100]).await?;
        Ok(())
    };
    runs.spawn(New::run().id("1"), producer).await.unwrap();
    ended(&runs, "1").await;
    runs
}
