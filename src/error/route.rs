//! The error of a path pattern that can't be served.

use std::{error::Error, fmt};

/// The error of a path pattern that [`SseLayer::route`](crate::SseLayer::route) can't serve. If the matcher reported an
/// error, it is in `source()`.
///
/// ```
/// use tower_sse::{Publisher, SseLayer};
///
/// let error = SseLayer::new(Publisher::new()).route("/a/:channel").unwrap_err();
/// let text = "the path pattern `/a/:channel` has a segment that begins with `:` or `*`; \
///             write a parameter as `{name}` or `{*name}`";
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

    /// Returns `true` if the path pattern is malformed, does not begin with a slash, conflicts with another pattern of
    /// the layer, or could never match as intended: `/:a`, `/*a`, a `?`, a `#`, a space, or the same parameter twice.
    pub fn is_pattern(&self) -> bool {
        !self.is_channel_twice()
    }

    /// Returns `true` if the route has a fixed channel, and its pattern has a `{channel}`.
    pub fn is_channel_twice(&self) -> bool {
        matches!(self.kind, RouteErrorKind::ChannelTwice)
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the path pattern `{}` ", self.pattern)?;
        match &self.kind {
            RouteErrorKind::NotAbsolute => f.write_str("does not begin with a slash"),
            RouteErrorKind::Character => {
                f.write_str("has a character that can't occur in a path, such as a space, `?` or `#`")
            }
            RouteErrorKind::Marker => {
                f.write_str("has a segment that begins with `:` or `*`; write a parameter as `{name}` or `{*name}`")
            }
            RouteErrorKind::ParameterTwice => f.write_str("has the same parameter twice"),
            RouteErrorKind::Matcher(matchit::InsertError::Conflict { with }) => write!(f, "conflicts with `{with}`"),
            RouteErrorKind::Matcher(_) => f.write_str("is malformed"),
            RouteErrorKind::ChannelTwice => f.write_str("has a `{channel}`, but its route has a fixed channel"),
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
