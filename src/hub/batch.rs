//! The events that an application appends to a channel in one step.

use crate::{
    backend::Expected,
    error::InvalidText,
    wire::{cursor::Cursor, event::Event, name::ClientId},
};

/// Several events that are published in one step: all of them or none. See
/// [`Channel::send_all`](crate::Channel::send_all).
///
/// An array, a vector, or any other collection of [`Event`]s is a batch of broadcasts:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use tower_sse::{Batch, Event, Publisher};
///
/// let chat = Publisher::new().channel("chat");
/// let words: Batch = ["a", "few", "words"].map(Event::text).into_iter().collect();
/// chat.send_all(words).await?;
/// # Ok::<_, tower_sse::PublishError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a batch does nothing until it is sent"]
pub struct Batch {
    /// The events, each for everybody or for one client.
    pub(crate) events: Vec<(Option<ClientId>, Event)>,
    /// What the channel's last event has to be.
    pub(crate) expected: Option<Expected>,
    /// Whether the batch finishes the channel.
    pub(crate) last: bool,
    /// The error of a client id that is not valid.
    pub(crate) invalid: Option<InvalidText>,
}

impl Batch {
    /// Creates an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event for everybody.
    pub fn event(mut self, event: Event) -> Self {
        self.events.push((None, event));
        self
    }

    /// Adds an event for one client only, as with [`Channel::send_to`](crate::Channel::send_to). If the client id is
    /// not valid, the batch is refused.
    pub fn event_to<C>(mut self, client: C, event: Event) -> Self
    where
        C: TryInto<ClientId>,
        C::Error: Into<InvalidText>,
    {
        match client.try_into() {
            Ok(client) => self.events.push((Some(client), event)),
            Err(error) => self.invalid = Some(error.into()),
        }
        self
    }

    /// Refuses the batch unless `last` is the channel's last event, as with
    /// [`Channel::send_if`](crate::Channel::send_if).
    pub fn only_after(mut self, last: Option<Cursor>) -> Self {
        self.expected = Some(last.map_or(Expected::Nothing, Expected::At));
        self
    }

    /// Finishes the channel with this batch, as with [`Channel::finish`](crate::Channel::finish).
    pub fn finish(mut self) -> Self {
        self.last = true;
        self
    }

    /// Returns whether the batch changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.last && self.invalid.is_none()
    }
}

impl From<Event> for Batch {
    fn from(event: Event) -> Self {
        Self::new().event(event)
    }
}

impl From<Vec<Event>> for Batch {
    fn from(events: Vec<Event>) -> Self {
        events.into_iter().collect()
    }
}

impl<const N: usize> From<[Event; N]> for Batch {
    fn from(events: [Event; N]) -> Self {
        events.into_iter().collect()
    }
}

impl FromIterator<Event> for Batch {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut batch = Self::new();
        batch.extend(events);
        batch
    }
}

impl Extend<Event> for Batch {
    fn extend<I: IntoIterator<Item = Event>>(&mut self, events: I) {
        self.events.extend(events.into_iter().map(|event| (None, event)));
    }
}
