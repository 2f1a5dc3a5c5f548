//! The errors of this floor.

use std::{error::Error, fmt};

use crate::error::{BackendError, InvalidText, OpenError, PublishError};

/// The error of starting, writing or asking about a run.
#[derive(Debug)]
pub struct RunError(pub(super) Kind);

#[derive(Debug)]
pub(super) enum Kind {
    /// The id or the thread is not valid.
    Invalid(InvalidText),
    /// The run was started before.
    Started,
    /// The run does not wait for a producer.
    NotHandedOver,
    /// Another run of the thread is active: this one.
    Busy(String),
    Draining,
    TooManyRuns,
    /// The node was asked to end the run.
    Stopped,
    /// The run has ended.
    Ended,
    /// The event has a name that is the floor's own.
    Reserved,
    Publish(PublishError),
    Open(OpenError),
    Backend(BackendError),
}

impl RunError {
    /// Returns `true` if the run was started before, another run of its thread is active, or the run does not wait for another
    /// node to [take it over](super::Runs::take_over). Over HTTP, it is a 409.
    pub fn is_conflict(&self) -> bool {
        matches!(self.0, Kind::Started | Kind::NotHandedOver | Kind::Busy(_))
    }

    /// Returns the id of the run that is active in the thread, if that is the [conflict](Self::is_conflict).
    pub fn active(&self) -> Option<&str> {
        match &self.0 {
            Kind::Busy(run) => Some(run),
            _ => None,
        }
    }

    /// Returns `true` if the id of a run or of a thread is not valid. Over HTTP, it is a 400.
    pub fn is_invalid(&self) -> bool {
        matches!(self.0, Kind::Invalid(_))
    }

    /// Returns `true` if the node is [draining](super::Runs::drain) or its hub shuts down.
    pub fn is_draining(&self) -> bool {
        match &self.0 {
            Kind::Draining => true,
            Kind::Publish(error) => error.is_shutting_down(),
            _ => false,
        }
    }

    /// Returns `true` if the node was asked to end the run, by [`Runs::stop`](super::Runs::stop) or
    /// [`Runs::drain`](super::Runs::drain). Its writer can't send any more.
    pub fn is_stopped(&self) -> bool {
        matches!(self.0, Kind::Stopped)
    }

    /// Returns `true` if another node has taken the run for [lost](super::Outcome::Lost) and has ended it. Nothing that this
    /// writer sends gets in any more.
    pub fn is_fenced(&self) -> bool {
        matches!(&self.0, Kind::Publish(error) if error.is_fenced())
    }

    /// Returns `true` if the run has ended: its producer has returned, or another node has ended it.
    pub fn is_ended(&self) -> bool {
        match &self.0 {
            Kind::Ended => true,
            Kind::Publish(error) => error.is_finished() || error.is_fenced(),
            _ => false,
        }
    }

    /// Returns `true` if the name of an event begins with `run.`: such events are the crate's own.
    pub fn is_reserved(&self) -> bool {
        matches!(self.0, Kind::Reserved)
    }

    /// Returns `true` if a limit was reached: of [runs](super::Runs::max_runs), or of the hub.
    pub fn is_limit(&self) -> bool {
        match &self.0 {
            Kind::TooManyRuns => true,
            Kind::Publish(error) => error.is_limit(),
            _ => false,
        }
    }

    /// Returns the error of the event that was not published, if it is one.
    pub fn as_publish_error(&self) -> Option<&PublishError> {
        match &self.0 {
            Kind::Publish(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Invalid(_) => "the id of the run or of its thread is not valid",
            Kind::Started => "the run was started before",
            Kind::NotHandedOver => "the run does not wait for another producer",
            Kind::Busy(_) => "another run of the thread is active",
            Kind::Draining => "the server starts no more runs",
            Kind::TooManyRuns => "the server has reached its limit of runs",
            Kind::Stopped => "the run was asked to end",
            Kind::Ended => "the run has ended",
            Kind::Reserved => "names of events that begin with `run.` are reserved",
            Kind::Publish(_) => "the event was not published",
            Kind::Open(_) => "the run can't be read",
            Kind::Backend(_) => "the backend is not available",
        })
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Invalid(error) => Some(error),
            Kind::Publish(error) => Some(error),
            Kind::Open(error) => Some(error),
            Kind::Backend(error) => Some(error),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($error:ident => $kind:ident,)*) => {
        $(impl From<$error> for RunError {
            fn from(error: $error) -> Self {
                Self(Kind::$kind(error))
            }
        })*
    };
}

from! {
    InvalidText => Invalid,
    PublishError => Publish,
    OpenError => Open,
    BackendError => Backend,
}

impl From<Kind> for RunError {
    fn from(kind: Kind) -> Self {
        Self(kind)
    }
}
