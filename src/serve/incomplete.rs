//! The error with which a strict body breaks off.

use std::{error::Error, fmt};

use crate::{
    hub::Ending,
    wire::notice::{EndReason, Gap},
};

/// A [strict](crate::SseBody::strict) body broke off: the client did not get everything.
///
/// It is the error of the body, in the box that [`http_body::Body::Error`] is of a [`SseBody`](crate::SseBody). A server
/// answers it by closing the connection without a last chunk (HTTP/1.1) or by resetting the stream (HTTP/2), and may log
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete(Why);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    Gap(Gap),
    End(EndReason),
}

impl Incomplete {
    pub(super) fn gap(gap: Gap) -> Self {
        Self(Why::Gap(gap))
    }

    pub(super) fn end(reason: EndReason) -> Self {
        Self(Why::End(reason))
    }

    pub(super) fn ending(&self) -> Ending {
        match &self.0 {
            Why::Gap(gap) => Ending::Gap(gap.reason),
            Why::End(reason) => Ending::Ended(*reason),
        }
    }

    /// Returns the gap, if events may have been lost before the client got them.
    pub fn as_gap(&self) -> Option<&Gap> {
        match &self.0 {
            Why::Gap(gap) => Some(gap),
            Why::End(_) => None,
        }
    }

    /// Returns why the subscription ended, if it ended before its channels were finished.
    pub fn end_reason(&self) -> Option<EndReason> {
        match self.0 {
            Why::End(reason) => Some(reason),
            Why::Gap(_) => None,
        }
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Gap(gap) => write!(f, "the stream is not complete: events may be lost ({})", gap.reason.as_str()),
            Why::End(reason) => write!(f, "the stream is not complete: it was ended ({})", reason.as_str()),
        }
    }
}

impl Error for Incomplete {}
