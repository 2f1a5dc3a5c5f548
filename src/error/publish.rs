//! The error of publishing an event.

use std::{error::Error, fmt};

use super::{backend::BackendError, text::InvalidText};
use crate::wire::cursor::Cursor;

/// The error of an event that was not published. No reader gets the event, unless [a backend](Self::is_unavailable) did
/// not answer; then it is not known.
#[derive(Debug)]
pub struct PublishError(pub(crate) PublishErrorKind);

#[derive(Debug)]
pub(crate) enum PublishErrorKind {
    InvalidText(InvalidText),
    TooLarge { len: usize, max: usize },
    TooManyEvents { count: usize, max: usize },
    Finished,
    DuplicateId,
    Ephemeral,
    Fenced { seen: u64 },
    Conflict { last: Option<Cursor> },
    TooManyChannels,
    TooManyLanes,
    ShuttingDown,
    Unavailable(BackendError),
}

impl PublishError {
    /// Returns `true` if the channel name or the client id is not valid. The [`InvalidText`] is in `source()`.
    pub fn is_invalid_text(&self) -> bool {
        matches!(self.0, PublishErrorKind::InvalidText(_))
    }

    /// Returns `true` if the encoded event is larger than [`Limits::event_bytes`](crate::Limits::event_bytes), or if a
    /// batch has more events than [`Limits::batch_events`](crate::Limits::batch_events) or more bytes than four events
    /// may have.
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, PublishErrorKind::TooLarge { .. } | PublishErrorKind::TooManyEvents { .. })
    }

    /// Returns `true` if the channel was [finished](crate::Channel::finish).
    pub fn is_finished(&self) -> bool {
        matches!(self.0, PublishErrorKind::Finished)
    }

    /// Returns `true` if the channel still holds an event with this custom id, for a reader that would get this event
    /// too.
    pub fn is_duplicate_id(&self) -> bool {
        matches!(self.0, PublishErrorKind::DuplicateId)
    }

    /// Returns `true` if an [ephemeral](crate::Event::ephemeral) event was part of a batch or had a condition. Such an
    /// event is never appended, and can only be sent by itself.
    pub fn is_ephemeral(&self) -> bool {
        matches!(self.0, PublishErrorKind::Ephemeral)
    }

    /// Returns `true` if the channel has seen a higher [fence](crate::Channel::fence) than that of this handle: another
    /// writer has taken over. [`fence`](Self::fence) returns it.
    pub fn is_fenced(&self) -> bool {
        self.fence().is_some()
    }

    /// Returns the highest fence that the channel has seen, if the error is that [it is higher](Self::is_fenced) than
    /// that of this handle.
    pub fn fence(&self) -> Option<u64> {
        match self.0 {
            PublishErrorKind::Fenced { seen } => Some(seen),
            _ => None,
        }
    }

    /// Returns `true` if the channel's last event is not the [expected](crate::Channel::send_if) one.
    /// [`last`](Self::last) returns which one it is.
    pub fn is_conflict(&self) -> bool {
        matches!(self.0, PublishErrorKind::Conflict { .. })
    }

    /// Returns the position of the channel's last event if the error [is a conflict](Self::is_conflict). `None` if the
    /// channel has no last event, or with any other error.
    pub fn last(&self) -> Option<Cursor> {
        match self.0 {
            PublishErrorKind::Conflict { last } => last,
            _ => None,
        }
    }

    /// Returns `true` if [`Limits::channels`](crate::Limits::channels) or [`Limits::lanes`](crate::Limits::lanes) was
    /// reached.
    pub fn is_limit(&self) -> bool {
        matches!(self.0, PublishErrorKind::TooManyChannels | PublishErrorKind::TooManyLanes)
    }

    /// Returns `true` if the hub is shutting down or has shut down.
    pub fn is_shutting_down(&self) -> bool {
        matches!(self.0, PublishErrorKind::ShuttingDown)
    }

    /// Returns `true` if the [`Backend`](crate::backend::Backend) failed or did not answer in time. The
    /// [`BackendError`] is in `source()`.
    ///
    /// This is the only error after which the event may have been published. Give the event an [idempotency
    /// key](crate::Event::idempotency_key) to retry without publishing it twice.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.0, PublishErrorKind::Unavailable(_))
    }
}

impl From<InvalidText> for PublishError {
    fn from(error: InvalidText) -> Self {
        Self(PublishErrorKind::InvalidText(error))
    }
}

impl From<PublishErrorKind> for PublishError {
    fn from(kind: PublishErrorKind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PublishErrorKind::InvalidText(_) => f.write_str("the channel or client is not valid"),
            PublishErrorKind::TooLarge { len, max } => {
                write!(f, "the event has {len} bytes, more than the limit of {max}")
            }
            PublishErrorKind::TooManyEvents { count, max } => {
                write!(f, "the batch has {count} events, more than the limit of {max}")
            }
            PublishErrorKind::Ephemeral => f.write_str("an ephemeral event can only be sent by itself"),
            PublishErrorKind::Fenced { seen } => write!(f, "the channel has seen the fence {seen}, which is higher"),
            PublishErrorKind::Conflict { last: Some(last) } => {
                write!(f, "the channel's last event is at {last}, and not the expected one")
            }
            PublishErrorKind::Conflict { last: None } => {
                f.write_str("the channel has no last event, and one was expected")
            }
            PublishErrorKind::Finished => f.write_str("the channel is finished"),
            PublishErrorKind::DuplicateId => f.write_str("the channel already holds an event with this id"),
            PublishErrorKind::TooManyChannels => f.write_str("the hub has reached its limit of channels"),
            PublishErrorKind::TooManyLanes => {
                f.write_str("the channel has reached its limit of clients with targeted events")
            }
            PublishErrorKind::ShuttingDown => f.write_str("the hub is shutting down"),
            PublishErrorKind::Unavailable(_) => f.write_str("the backend is not available"),
        }
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            PublishErrorKind::InvalidText(error) => Some(error),
            PublishErrorKind::Unavailable(error) => Some(error),
            _ => None,
        }
    }
}
