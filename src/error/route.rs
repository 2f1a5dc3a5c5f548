//! Patterns that can't be served.

use std::{error::Error, fmt};

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
