//! The error of publishing an event.

use std::{error::Error, fmt};

use super::{backend::BackendError, text::InvalidText};

/// The error of an event that was not published. No reader gets the event, unless [a backend](Self::is_unavailable) did
/// not answer; then it is not known.
#[derive(Debug)]
pub struct PublishError(pub(crate) PublishErrorKind);

#[derive(Debug)]
pub(crate) enum PublishErrorKind {
    InvalidText(InvalidText),
    TooLarge { len: usize, max: usize },
    Finished,
    DuplicateId,
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

    /// Returns `true` if the encoded event is larger than [`Limits::event_bytes`](crate::Limits::event_bytes).
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, PublishErrorKind::TooLarge { .. })
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
