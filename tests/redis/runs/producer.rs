//! A producer in a node's process. It reports what it does in lines that the test reads.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tower_sse::{
    ChannelState, Event, IdempotencyKey, Publisher,
    runs::{ProducerError, RunError, Writer},
};

/// A process reports that it was stalled if a short sleep took this long.
pub const STALL: Duration = Duration::from_millis(250);
pub const TICK: Duration = Duration::from_millis(50);
/// The pause between two tries while the store is down.
const AGAIN: Duration = Duration::from_millis(30);

pub fn notice_stalls() {
    loop {
        let begun = Instant::now();
        std::thread::sleep(TICK);
        if begun.elapsed() > STALL {
            println!("stalled {}", begun.elapsed().as_millis());
        }
    }
}

/// What a producer does.
pub struct Plan {
    publisher: Publisher,
    id: String,
    parts: u64,
    /// How many events it sends at once.
    batch: u64,
    pause: Duration,
    end: String,
}

impl Plan {
    pub fn new(publisher: Publisher, asked: &HashMap<String, String>) -> Self {
        let number = |name: &str| asked[name].parse().unwrap();
        let (parts, batch, pause) = (number("parts"), number("batch"), Duration::from_millis(number("pause")));
        Self { publisher, id: asked["id"].clone(), parts, batch, pause, end: asked["end"].clone() }
    }

    pub async fn produce(self, run: Writer) -> Result<(), ProducerError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (id, name) = (&self.id, format!("{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        println!("began {id} {name} {}", run.attempt());
        let publisher = self.publisher.clone();
        let mut dropped = Dropped { publisher, id: id.clone(), name: name.clone(), run: Some(run.clone()) };
        let mut sent = 0;
        while sent < self.parts {
            let next = self.parts.min(sent + self.batch);
            if let Err(error) = send(&run, &name, sent..next).await {
                // If another node has ended the run, its writer tries once more.
                dropped.run = dropped.run.take().filter(|_| error.is_ended());
                println!("ended {id} {name} {}", word(&error));
                return Err(error.into());
            }
            println!("acknowledged {id} {name} {sent} {next}");
            sent = next;
            sleep(self.pause).await;
        }
        dropped.run = None;
        println!("ended {id} {name} {}", self.end);
        match &self.end[..] {
            "fails" => Err("it fails".into()),
            "panics" => std::panic::resume_unwind(Box::new(())),
            _ => Ok(()),
        }
    }
}

/// Sends events, and retries while the store is down.
async fn send(run: &Writer, name: &str, numbers: std::ops::Range<u64>) -> Result<(), RunError> {
    let event = |n| {
        let key = IdempotencyKey::try_from(format!("{name}/{n}")).unwrap();
        Event::text(format!("{name} {n}")).idempotency_key(key)
    };
    loop {
        match run.send_all(numbers.clone().map(event)).await {
            Ok(_) => return Ok(()),
            Err(error) if is_away(&error) => sleep(AGAIN).await,
            Err(error) => return Err(error),
        }
    }
}

fn is_away(error: &RunError) -> bool {
    error.as_publish_error().is_some_and(|error| error.is_unavailable())
}

fn word(error: &RunError) -> &'static str {
    match error {
        error if error.is_fenced() => "fenced",
        error if error.is_ended() => "over",
        error if error.is_stopped() => "stopped",
        _ => "failed",
    }
}

/// Notices that the producer was dropped or refused, and then tries to write once more.
struct Dropped {
    publisher: Publisher,
    id: String,
    name: String,
    /// `None` once the producer has ended.
    run: Option<Writer>,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else { return };
        let (publisher, id, name) = (self.publisher.clone(), self.id.clone(), self.name.clone());
        tokio::spawn(async move {
            let writer = match send(&run, &name, 1_000_000..1_000_001).await {
                Ok(()) => "written",
                Err(error) => word(&error),
            };
            // A hand-over takes one fence, and the next producer takes another.
            let channel = publisher.channel(format!("run/{id}")).fence(2 * run.attempt() - 1);
            while !channel.info().await.is_ok_and(|info| info.state == ChannelState::Finished) {
                sleep(AGAIN).await;
            }
            let refusal = loop {
                match channel.send(Event::text("late")).await {
                    Ok(_) => break "written",
                    Err(error) if error.is_unavailable() => sleep(AGAIN).await,
                    Err(error) if error.is_fenced() => break "fenced",
                    Err(error) if error.is_finished() => break "over",
                    Err(_) => break "failed",
                }
            };
            println!("late {id} {name} {writer} {refusal}");
        });
    }
}
