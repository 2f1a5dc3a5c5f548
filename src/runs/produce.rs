//! The task of a run: it drives the producer, and writes the one outcome, whatever becomes of the producer.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::{sleep, timeout};

use super::{
    active::{Active, Why},
    finish::{FIRST_PAUSE, LONGEST_PAUSE, ending, finish, once},
    handover::{HandedOver, Waiting},
    local::Local,
    outcome::Outcome,
    race::{Either, race},
    settings::{ProducerError, Settings},
    thread::Turn,
};
use crate::{hub::Batch, meter::Started, trace::debug, wire::event::Event};

/// The duty to write the outcome of a run. If it is dropped before the producer has ended, the run is lost.
pub(super) struct Duty {
    local: Arc<Local>,
    pub(super) run: Arc<Active>,
    /// The run's place in its thread.
    turn: Option<Turn>,
    /// How it has ended, as long as that is not written.
    owed: Option<Outcome>,
    /// What goes before that, if the writer had not sent it yet.
    rest: Option<Event>,
    began: Started,
}

impl Duty {
    pub(super) fn new(local: Arc<Local>, run: Arc<Active>, turn: Option<Turn>) -> Self {
        let began = local.publisher.meter().run_began();
        Self { local, run, turn, owed: Some(Outcome::Lost), rest: None, began }
    }

    /// Drives the producer to its end, and writes how it ended.
    pub(super) async fn produce<F>(mut self, settings: Arc<Settings>, producer: F)
    where
        F: Future<Output = Result<(), ProducerError>>,
    {
        let mut end = drive(&self.run, &settings, producer).await;
        if let Some(roll_up) = &self.run.roll_up {
            let (rest, failed) = roll_up.close().await;
            self.rest = rest;
            if let (End::Outcome(Outcome::Done), Some(error)) = (&end, failed) {
                end = End::Outcome(failure(&self.run, &settings, &error.into()));
            }
        }
        match end {
            End::HandOver => Box::pin(self.hand_over(&settings)).await,
            End::Outcome(outcome) => Box::pin(self.write(outcome)).await,
        }
    }

    /// Leaves the run to another node, as soon as the store answers. If it refuses, the run ends.
    async fn hand_over(mut self, settings: &Settings) {
        self.owed = Some(Outcome::Drained);
        let place = self.turn.as_ref().and_then(Turn::place);
        let event = HandedOver::new(self.run.attempt, settings.take_over_within, place);
        let channel = self.run.channel.fence(event.fence);
        // With keys, so that nothing is in twice if an answer was lost.
        let end = once(event.to_event());
        let mut batch: Batch = self.rest.clone().map(once).into_iter().chain([end.clone()]).collect();
        let mut pause = FIRST_PAUSE;
        let at = loop {
            match channel.send_all(batch.clone()).await {
                Ok(sent) => break sent.last().map(|sent| sent.cursor),
                Err(error) if error.is_unavailable() || error.is_limit() => sleep(pause).await,
                Err(error) if error.is_finished() || error.is_fenced() => break None,
                // What was left is refused.
                Err(_) if self.rest.take().is_some() => batch = end.clone().into(),
                Err(_) => break None,
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        };
        let Some(at) = at else { return self.write(Outcome::Drained).await };
        self.owed = None;
        self.ended("handed_over");
        tokio::spawn(Waiting { event, at }.lapse(self.local.clone(), self.run.name.clone()));
    }

    /// Writes the outcome in the same step as the end of the channel.
    pub(super) async fn write(mut self, outcome: Outcome) {
        let word = outcome.as_str();
        let is_anothers = finish(&self.run.channel, self.rest.as_ref(), self.owed.insert(outcome)).await;
        self.owed = None;
        self.ended(if is_anothers { Outcome::Lost.as_str() } else { word });
        if let Some(turn) = self.turn.take() {
            turn.end().await;
        }
    }

    fn ended(&self, outcome: &'static str) {
        self.local.remove(&self.run);
        self.local.publisher.meter().run_ended(self.began, outcome);
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if let Some(outcome) = &self.owed {
            let rest = self.rest.take().or_else(|| self.run.roll_up.as_ref()?.close_now());
            // If it fails, no outcome can be written from here: over a backend the lease runs out.
            let _ = self.run.channel.write_detached(ending(rest.as_ref(), outcome));
            self.ended(outcome.as_str());
        }
    }
}

/// How a producer has ended. It is decided once: what a drain asks for afterwards comes too late.
enum End {
    Outcome(Outcome),
    HandOver,
}

impl End {
    fn asked(why: Why) -> Self {
        if why == Why::HandOver { Self::HandOver } else { Self::Outcome(why.outcome()) }
    }
}

/// Drives the producer to its end, and sends meanwhile what its writers have left to be sent.
async fn drive<F>(run: &Active, settings: &Settings, producer: F) -> End
where
    F: Future<Output = Result<(), ProducerError>>,
{
    let sends = async {
        if let Some(roll_up) = &run.roll_up {
            Box::pin(roll_up.run(|| run.ask(Why::Gone))).await;
        }
        std::future::pending::<Infallible>().await
    };
    match race(produced(run, settings, producer), sends).await {
        Either::Left(end) => end,
        Either::Right(never) => match never {},
    }
}

/// Drives the producer until it returns, or until it was asked to end and its grace is over.
async fn produced<F>(run: &Active, settings: &Settings, producer: F) -> End
where
    F: Future<Output = Result<(), ProducerError>>,
{
    let mut producer = pin!(Caught { producer });
    let result = match race(&mut producer, asked(run, settings)).await {
        Either::Left(result) => result,
        Either::Right(why) => {
            if why == Why::Stop {
                // Whatever it returns, it was stopped.
                let _ = timeout(settings.grace, producer).await;
            }
            return End::asked(why);
        }
    };
    End::Outcome(match (run.why(), result) {
        (Some(why), _) => return End::asked(why),
        (None, Ok(Ok(()))) => Outcome::Done,
        (None, Ok(Err(error))) => failure(run, settings, &error),
        (None, Err(_)) => {
            debug!("the producer of a run panicked", run = run.name);
            Outcome::Failed(None)
        }
    })
}

fn failure(run: &Active, settings: &Settings, error: &ProducerError) -> Outcome {
    debug!("the producer of a run failed", run = run.name, error = error);
    Outcome::Failed((settings.explain)(error))
}

/// Waits until the producer is asked to end, or until nobody has read the run for as long as the settings say.
async fn asked(run: &Active, settings: &Settings) -> Why {
    let Some(unread) = settings.unread else { return run.asked().await };
    match race(run.asked(), Box::pin(run.channel.unread(unread))).await {
        Either::Left(why) => why,
        Either::Right(()) => {
            run.ask(Why::Stop);
            Why::Stop
        }
    }
}

pin_project! {
    /// A future whose panic is an error.
    struct Caught<F> {
        #[pin]
        producer: F,
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let producer = self.project().producer;
        // After a panic it is not polled again.
        match catch_unwind(AssertUnwindSafe(|| producer.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
