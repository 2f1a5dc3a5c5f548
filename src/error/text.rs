//! The error of a text that a field can't carry.

use std::{error::Error, fmt};

/// The error of a text that is not valid as a channel name, client id, event name, custom id, idempotency key, comment
/// or trace parent. Its message says which of them, and why.
///
/// ```
/// use tower_sse::{ChannelName, EventName};
///
/// let error = EventName::try_from("two\nlines").unwrap_err();
/// assert_eq!(error.to_string(), "event name has a character that is not allowed, at byte 3");
/// assert!(ChannelName::try_from("").unwrap_err().is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidText {
    what: &'static str,
    why: Why,
}

/// Why a text was refused. It is private: callers use the predicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Empty,
    TooLong { len: usize, max: usize },
    Character { at: usize },
    Reserved,
    NotUtf8,
    PercentEncoding,
    Form,
}

impl InvalidText {
    pub(crate) const fn new(what: &'static str, why: Why) -> Self {
        Self { what, why }
    }

    /// Returns `true` if the text was empty.
    pub fn is_empty(&self) -> bool {
        matches!(self.why, Why::Empty)
    }

    /// Returns `true` if the text was longer than its type's `MAX_LEN`.
    pub fn is_too_long(&self) -> bool {
        matches!(self.why, Why::TooLong { .. })
    }

    /// Returns `true` if the text is reserved for the crate: the event names `gap` and `goodbye`, or an id in the form
    /// of an [`EventId`](crate::EventId).
    pub fn is_reserved(&self) -> bool {
        matches!(self.why, Why::Reserved)
    }
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what;
        match self.why {
            Why::Empty => write!(f, "{what} is empty"),
            Why::TooLong { len, max } => write!(f, "{what} has {len} bytes, more than the limit of {max}"),
            Why::Character { at } => write!(f, "{what} has a character that is not allowed, at byte {at}"),
            Why::Reserved => write!(f, "{what} is reserved"),
            Why::NotUtf8 => write!(f, "{what} is not UTF-8"),
            Why::PercentEncoding => write!(f, "{what} has a malformed percent-encoding"),
            Why::Form => write!(f, "{what} is malformed"),
        }
    }
}

impl Error for InvalidText {}

/// Lets a parameter of type `TryInto` accept a name that is already valid.
impl From<std::convert::Infallible> for InvalidText {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
