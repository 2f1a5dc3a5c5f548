//! What a producer writes its run with.

use std::{fmt, sync::Arc};

use super::{
    active::{Active, Why},
    error::{Kind, RunError},
    names::{self, RESERVED},
};
use crate::{
    error::PublishError,
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

    /// Sends an event to everyone who reads the run, now or later. It never waits for a reader.
    ///
    /// # Errors
    ///
    /// Returns an error if the run is to [stop](RunError::is_stopped) or [has ended](RunError::is_ended), if another node
    /// has [taken it for lost](RunError::is_fenced), if the event's name is [reserved](RunError::is_reserved), or for what
    /// [`Channel::send`](crate::Channel::send) returns an error for.
    pub async fn send(&self, event: Event) -> Result<Sent, RunError> {
        self.check(&event)?;
        self.settle(self.0.channel.send(event).await)
    }

    /// Sends several events in one step: all of them, or none. See [`Channel::send_all`](crate::Channel::send_all).
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send) for any of the events.
    pub async fn send_all(&self, events: impl IntoIterator<Item = Event>) -> Result<Vec<Sent>, RunError> {
        let events: Vec<_> = events.into_iter().collect();
        events.iter().try_for_each(|event| self.check(event))?;
        self.settle(self.0.channel.send_all(Batch::from(events)).await)
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
    fn settle<T>(&self, sent: Result<T, PublishError>) -> Result<T, RunError> {
        sent.map_err(|error| {
            if error.is_fenced() || error.is_finished() {
                self.0.ask(Why::Gone);
            }
            error.into()
        })
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.id()).finish()
    }
}
