//! Every error of the crate: opaque structs with a private kind, `is_*` predicates, and the cause in `source()`.

use std::{error::Error, fmt};

/// A text that the field it was meant for can't carry: a channel name, client id, event name, custom id or comment.
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

/// Why a text was refused. Private: callers ask the predicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Empty,
    TooLong { len: usize, max: usize },
    Character { at: usize },
    Reserved,
    NotUtf8,
    PercentEncoding,
}

impl InvalidText {
    pub(crate) const fn new(what: &'static str, why: Why) -> Self {
        Self { what, why }
    }

    /// The text was empty.
    pub fn is_empty(&self) -> bool {
        matches!(self.why, Why::Empty)
    }

    /// The text was longer than its type's `MAX_LEN`.
    pub fn is_too_long(&self) -> bool {
        matches!(self.why, Why::TooLong { .. })
    }

    /// The text is one that the crate uses itself: the event names `gap` and `goodbye`, or an id in the form of an
    /// [`EventId`](crate::EventId).
    pub fn is_reserved(&self) -> bool {
        matches!(self.why, Why::Reserved)
    }
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what;
        match self.why {
            Why::Empty => write!(f, "{what} is empty"),
            Why::TooLong { len, max } => write!(f, "{what} has {len} bytes, more than {max}"),
            Why::Character { at } => write!(f, "{what} has a character that is not allowed, at byte {at}"),
            Why::Reserved => write!(f, "{what} is reserved"),
            Why::NotUtf8 => write!(f, "{what} is not UTF-8"),
            Why::PercentEncoding => write!(f, "{what} has a malformed percent-encoding"),
        }
    }
}

impl Error for InvalidText {}

/// So that a name that is already valid can be passed where a `TryInto` is taken.
impl From<std::convert::Infallible> for InvalidText {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// A value that could not be serialised into an event; the cause is in `source()`.
#[derive(Debug)]
pub struct SerializeError(pub(crate) serde_json::Error);

impl fmt::Display for SerializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event's data could not be serialised as JSON")
    }
}

impl Error for SerializeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// An event was not published; nothing of it reached anybody, unless [a backend](Self::is_unavailable) did not answer.
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
    /// The channel name or the client id is not valid; the [`InvalidText`] is in `source()`.
    pub fn is_invalid_text(&self) -> bool {
        matches!(self.0, PublishErrorKind::InvalidText(_))
    }

    /// The encoded event is larger than [`Limits::event_bytes`](crate::Limits::event_bytes).
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, PublishErrorKind::TooLarge { .. })
    }

    /// The channel was [finished](crate::Channel::finish).
    pub fn is_finished(&self) -> bool {
        matches!(self.0, PublishErrorKind::Finished)
    }

    /// The channel still holds an event with this custom id, for the same readers.
    pub fn is_duplicate_id(&self) -> bool {
        matches!(self.0, PublishErrorKind::DuplicateId)
    }

    /// [`Limits::channels`](crate::Limits::channels) or [`Limits::lanes`](crate::Limits::lanes) is reached.
    pub fn is_limit(&self) -> bool {
        matches!(self.0, PublishErrorKind::TooManyChannels | PublishErrorKind::TooManyLanes)
    }

    /// The hub is shutting down, or has.
    pub fn is_shutting_down(&self) -> bool {
        matches!(self.0, PublishErrorKind::ShuttingDown)
    }

    /// The [`Backend`](crate::backend::Backend) did not answer, or failed; its error is in `source()`. It may be tried again. Unlike
    /// with any other error the event may have been published all the same: with an
    /// [idempotency key](crate::Event::idempotency_key) to try again publishes it once.
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
            PublishErrorKind::TooLarge { len, max } => write!(f, "the event has {len} bytes, more than {max}"),
            PublishErrorKind::Finished => f.write_str("the channel is finished"),
            PublishErrorKind::DuplicateId => f.write_str("the channel holds an event with this id already"),
            PublishErrorKind::TooManyChannels => f.write_str("the hub has as many channels as it may"),
            PublishErrorKind::TooManyLanes => {
                f.write_str("the channel has targeted events for as many clients as it may")
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

/// A [`Backend`](crate::backend::Backend) failed, or did not answer in time; the cause is in `source()`. What failed may
/// have happened all the same, and you may try it again. A backend that can't be built, because its settings can't be
/// right, is not worth another try; one that is [set up wrongly](Self::is_misconfigured) is worth one after that was mended.
///
/// ```
/// use std::error::Error;
/// use tower_sse::BackendError;
///
/// let error = BackendError::new("the disk is full");
/// assert_eq!(error.to_string(), "the backend failed");
/// assert_eq!(error.source().unwrap().to_string(), "the disk is full");
/// ```
#[derive(Debug)]
pub struct BackendError {
    kind: BackendErrorKind,
    cause: Box<dyn Error + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BackendErrorKind {
    Failed,
    TimedOut,
    Misconfigured,
}

impl BackendError {
    /// For this cause; a text will do.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: BackendErrorKind::Failed, cause: cause.into() }
    }

    /// As [`new`](Self::new), where the store did not answer in time.
    pub fn timed_out(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: BackendErrorKind::TimedOut, cause: cause.into() }
    }

    /// As [`new`](Self::new), where the store is set up in a way in which it can't keep what a
    /// [`Backend`](crate::backend::Backend) promises. The cause says what to change.
    pub fn misconfigured(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: BackendErrorKind::Misconfigured, cause: cause.into() }
    }

    /// For a log, in which `Display` alone says little.
    pub(crate) fn cause(&self) -> &(dyn Error + 'static) {
        &*self.cause
    }

    /// It did not answer in time, be it in the backend's own or in the
    /// [hub's](crate::PublisherBuilder::timeout).
    pub fn is_timeout(&self) -> bool {
        self.kind == BackendErrorKind::TimedOut
    }

    /// The store answers, but is set up in a way in which it would lose events silently, or denies what is needed to know.
    /// Nothing was done. The cause, in `source()`, says what to change; until then every call fails like this.
    pub fn is_misconfigured(&self) -> bool {
        self.kind == BackendErrorKind::Misconfigured
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BackendErrorKind::Failed => "the backend failed",
            BackendErrorKind::TimedOut => "the backend did not answer in time",
            BackendErrorKind::Misconfigured => "the backend is not set up for this",
        })
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause())
    }
}

/// A subscription was not opened.
#[derive(Debug)]
pub struct OpenError(pub(crate) OpenErrorKind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenErrorKind {
    NoChannel,
    TooManyChannels,
    TooManySubscriptions,
    TooManyOfChannel,
    TooManyOfClient,
    TooManyLanes,
    ShuttingDown,
    Expired,
    Over,
    Unavailable,
}

impl OpenError {
    /// The grant names no channel, or more than [`Limits::channels_per_subscription`](crate::Limits::channels_per_subscription).
    pub fn is_channel_count(&self) -> bool {
        matches!(self.0, OpenErrorKind::NoChannel | OpenErrorKind::TooManyChannels)
    }

    /// A limit on subscriptions, channels or clients is reached; trying again later may succeed.
    pub fn is_limit(&self) -> bool {
        use OpenErrorKind::*;
        matches!(self.0, TooManySubscriptions | TooManyOfChannel | TooManyOfClient | TooManyLanes)
    }

    /// The hub is shutting down, or has.
    pub fn is_shutting_down(&self) -> bool {
        self.0 == OpenErrorKind::ShuttingDown
    }

    /// The grant had expired already.
    pub fn is_expired(&self) -> bool {
        self.0 == OpenErrorKind::Expired
    }

    /// Nothing will ever come: every channel is finished and nothing is left after the reader's last event id, or the
    /// id is the one of a `goodbye`. Over HTTP this is a 204, on which a browser stops reconnecting.
    pub fn is_over(&self) -> bool {
        self.0 == OpenErrorKind::Over
    }

    /// The [`Backend`](crate::backend::Backend) did not answer in time; trying again later may succeed.
    pub fn is_unavailable(&self) -> bool {
        self.0 == OpenErrorKind::Unavailable
    }
}

impl From<OpenErrorKind> for OpenError {
    fn from(kind: OpenErrorKind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            OpenErrorKind::NoChannel => "the grant names no channel",
            OpenErrorKind::TooManyChannels => "the grant names more channels than one subscription may read",
            OpenErrorKind::TooManySubscriptions => "the hub has as many subscriptions or channels as it may",
            OpenErrorKind::TooManyOfChannel => "the channel has as many subscriptions as it may",
            OpenErrorKind::TooManyOfClient => "the client has as many subscriptions as it may",
            OpenErrorKind::TooManyLanes => "the channel knows as many clients as it may",
            OpenErrorKind::ShuttingDown => "the hub is shutting down",
            OpenErrorKind::Expired => "the grant has expired",
            OpenErrorKind::Over => "nothing is left to read, and nothing will come",
            OpenErrorKind::Unavailable => "the backend is not available",
        })
    }
}

impl Error for OpenError {}

/// A path pattern that [`SseLayer::route`](crate::SseLayer::route) can't serve; the matcher's own error, if there is
/// one, is in `source()`.
///
/// ```
/// use tower_sse::{Publisher, SseLayer};
///
/// let error = SseLayer::new(Publisher::new()).route("/a/:channel").unwrap_err();
/// let text = "the path pattern `/a/:channel` has a segment that begins with `:` or `*`; a parameter is `{name}` or `{*name}`";
/// assert_eq!(error.to_string(), text);
/// ```
#[derive(Debug)]
pub struct RouteError {
    pattern: String,
    kind: RouteErrorKind,
}

#[derive(Debug)]
pub(crate) enum RouteErrorKind {
    NotAbsolute,
    Character,
    Marker,
    ParameterTwice,
    Matcher(matchit::InsertError),
    ChannelTwice,
}

impl RouteError {
    pub(crate) fn new(pattern: &str, kind: RouteErrorKind) -> Self {
        Self { pattern: pattern.to_owned(), kind }
    }

    /// The path pattern is malformed, does not begin with a slash, conflicts with one that the layer has, or could never
    /// match as it is meant: `/:a`, `/*a`, a `?`, a `#`, a blank, a parameter twice.
    pub fn is_pattern(&self) -> bool {
        !self.is_channel_twice()
    }

    /// The route has both a fixed channel and a `{channel}` in its pattern.
    pub fn is_channel_twice(&self) -> bool {
        matches!(self.kind, RouteErrorKind::ChannelTwice)
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the path pattern `{}` ", self.pattern)?;
        match &self.kind {
            RouteErrorKind::NotAbsolute => f.write_str("does not begin with a slash"),
            RouteErrorKind::Character => f.write_str("has a character that no path has, such as a blank, `?` or `#`"),
            RouteErrorKind::Marker => {
                f.write_str("has a segment that begins with `:` or `*`; a parameter is `{name}` or `{*name}`")
            }
            RouteErrorKind::ParameterTwice => f.write_str("has a parameter twice"),
            RouteErrorKind::Matcher(matchit::InsertError::Conflict { with }) => write!(f, "conflicts with `{with}`"),
            RouteErrorKind::Matcher(_) => f.write_str("is malformed"),
            RouteErrorKind::ChannelTwice => f.write_str("has a `{channel}`, and its route has a fixed channel"),
        }
    }
}

impl Error for RouteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            RouteErrorKind::Matcher(error) => Some(error),
            _ => None,
        }
    }
}
