//! What a producer writes its run with.

use std::{fmt, sync::Arc};

use super::{
    active::{Active, Why},
    error::{Kind, RunError},
    names::{self, RESERVED},
};
use crate::{
    hub::{Batch, Sent},
    wire::event::Event,
};

/// The write handle of a run, which its producer gets from [`Runs::start`](super::Runs::start). All clones write the same
/// run.
///
/// ```
/// use tower_sse::{Event, runs::{RunError, Writer}};
///
/// async fn answer(run: Writer) -> Result<(), RunError> {
///     for word in ["Hello", ", ", "world"] {
///         run.send(Event::text(word)).await?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Writer(Arc<Active>);

impl Writer {
    pub(super) fn new(run: Arc<Active>) -> Self {
        Self(run)
    }

    /// Returns the run's id.
    pub fn id(&self) -> &str {
        names::run_in(&self.0.name)
    }

    /// Returns which producer of the run this is: 1, or more if the run was [taken over](super::Runs::take_over).
    pub fn attempt(&self) -> u64 {
        self.0.attempt.number
    }

    /// Sends an event to everyone who reads the run, now or later. It never waits for a reader.
    ///
    /// With [`Runs::roll_up`](super::Runs::roll_up), it returns `None` for an event that waits until it is sent with others.
    /// Otherwise the event was sent when this returns.
    ///
    /// # Errors
    ///
    /// Returns an error if the run is to [stop](RunError::is_stopped) or [has ended](RunError::is_ended), if another node has
    /// [taken it for lost](RunError::is_fenced), if the event's name is [reserved](RunError::is_reserved), or if
    /// [`Channel::send`](crate::Channel::send) fails. With `roll_up`, it also returns the error with which an earlier event
    /// could not be sent; then this one is not sent either.
    pub async fn send(&self, event: Event) -> Result<Option<Sent>, RunError> {
        self.check(&event)?;
        match &self.0.roll_up {
            None => self.settle(self.0.channel.send(event).await).map(Some),
            // Boxed, because otherwise every send would have a future of this size.
            Some(roll_up) => self.settle(Box::pin(roll_up.send(event)).await),
        }
    }

    /// Sends several events in one step: all of them, or none. See [`Channel::send_all`](crate::Channel::send_all).
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send) for any of the events.
    pub async fn send_all(&self, events: impl IntoIterator<Item = Event>) -> Result<Vec<Sent>, RunError> {
        let events: Vec<_> = events.into_iter().collect();
        events.iter().try_for_each(|event| self.check(event))?;
        match &self.0.roll_up {
            None => self.settle(self.0.channel.send_all(Batch::from(events)).await),
            Some(roll_up) => self.settle(Box::pin(roll_up.send_all(events)).await),
        }
    }

    /// Waits until the run is to end, because it was [stopped](super::Runs::stop) or another node has ended it. From then on
    /// [`send`](Self::send) fails, and the producer has [a while](super::Runs::grace) until it is dropped.
    ///
    /// It is for a producer that waits for something else than `send`:
    ///
    /// ```
    /// use tower_sse::{Event, runs::{RunError, Writer}};
    ///
    /// # async fn think() -> String { String::new() }
    /// async fn answer(run: Writer) -> Result<(), RunError> {
    ///     tokio::select! {
    ///         () = run.stopped() => {} // What must be put in order is put in order here.
    ///         answer = think() => drop(run.send(Event::text(answer)).await?),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn stopped(&self) {
        self.0.asked().await;
    }

    fn check(&self, event: &Event) -> Result<(), RunError> {
        self.0.check()?;
        match &event.name {
            Some(name) if name.as_str().starts_with(RESERVED) => Err(Kind::Reserved.into()),
            _ => Ok(()),
        }
    }

    /// Learns from a refusal that another node has ended the run.
    fn settle<T>(&self, sent: Result<T, impl Into<RunError>>) -> Result<T, RunError> {
        sent.map_err(|error| {
            let error = error.into();
            if error.is_ended() {
                self.0.ask(Why::Gone);
            }
            error
        })
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.id()).finish()
    }
}
