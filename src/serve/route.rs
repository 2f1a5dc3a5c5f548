//! Which paths are streams, and how each is set. What a request makes of them is read in `ask`.

use std::{sync::Arc, time::Duration};

use super::{keep_alive::KeepAlive, retry::Retry, webkit::WebKitRepair};
use crate::{
    error::{RouteError, RouteErrorKind},
    hub::OpenOptions,
    wire::name::ChannelName,
};

/// The parameter of a pattern, and of the query, that names a channel.
pub(crate) const CHANNEL: &str = "channel";
/// The parameter of a pattern that names the client.
pub(crate) const CLIENT_ID: &str = "client_id";

/// A path pattern whose requests are answered with a stream, and the settings of those streams.
///
/// The pattern is matched on the path as it came, before percent-decoding, so that a `%2F` may stand within a name.
/// `{channel}` and `{client_id}` are segments that name the channel and the client, both optional; `{*channel}` takes the
/// rest of the path. **Any other parameter matches and means nothing**, a misspelt one too: with `{chanel}` the channel is
/// the query's to name, and with `{client}` no connection has a client. A path that ends before a parameter does not
/// match; an empty name within it is answered with 400. Literal braces are doubled. What could never match as it is meant,
/// such as `/:channel`, `/*rest` and a parameter twice, is an error of [`SseLayer::route`](crate::SseLayer::route).
///
/// A route reads the channel in its pattern, or its [fixed channels](Route::channel), or else those that the query names:
/// `/events?channel=a&channel=b`.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::{KeepAlive, OpenOptions, Publisher, Route, SseLayer, Start};
///
/// let layer = SseLayer::new(Publisher::new()).route("/sse/{channel}/{client_id}")?.route(
///     Route::new("/feed/{channel}")
///         .keep_alive(KeepAlive::every(Duration::from_secs(30)))
///         .options(OpenOptions::new().start(Start::Last(20))),
/// )?;
/// # Ok::<_, tower_sse::RouteError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a route does nothing until a layer has it"]
pub struct Route {
    pattern: String,
    pub(crate) channels: Vec<ChannelName>,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) coalesce: Duration,
    pub(crate) retry: Retry,
    pub(crate) options: OpenOptions,
    pub(crate) announce_cursor: bool,
    pub(crate) webkit_repair: WebKitRepair,
    pub(crate) declare_charset: bool,
}

impl Route {
    /// A route on `pattern`, which begins with a slash; it is checked when a layer [takes](crate::SseLayer::route) it.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            channels: Vec::new(),
            keep_alive: KeepAlive::default(),
            coalesce: Duration::ZERO,
            retry: Retry::default(),
            options: OpenOptions::new(),
            announce_cursor: false,
            webkit_repair: WebKitRepair::default(),
            declare_charset: false,
        }
    }

    /// Adds a fixed channel: every request on the route reads it, and names none itself.
    pub fn channel(mut self, channel: ChannelName) -> Self {
        if !self.channels.contains(&channel) {
            self.channels.push(channel);
        }
        self
    }

    /// What is sent when there is nothing to send; every 15 seconds a bare comment by default.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sends a reader at most one chunk in each `pause`, with all that came meanwhile: for bursts of small events, such as
    /// tokens, where most of the cost is a write for each. Off by default, as with zero; more than a second is a second.
    ///
    /// An event after a pause goes at once; one that comes within `pause` of the one before waits for the rest of it, and
    /// so do a gap and the end of the stream. The runtime's timer counts in milliseconds. A reader that is behind gets all
    /// that it missed without waiting, and keep-alives come as without. While it waits the log goes on: a pause in which a
    /// channel evicts what was just published is told as a gap, as of any reader that is too slow.
    ///
    /// Of five events a millisecond apart, 5 ms make two chunks, for about three quarters of the CPU. A server that has more
    /// to send than it can takes several at once anyway.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_sse::Route;
    ///
    /// let tokens = Route::new("/runs/{channel}").coalesce(Duration::from_millis(10));
    /// ```
    pub fn coalesce(mut self, pause: Duration) -> Self {
        self.coalesce = pause;
        self
    }

    /// How long a client waits before it reconnects: a `Duration`, or a range of them, in which each stream has a random time;
    /// three seconds by default, and `None` leaves it to the client. See [`Retry`].
    pub fn retry(mut self, retry: impl Into<Retry>) -> Self {
        self.retry = retry.into();
        self
    }

    /// Where a fresh reader starts, what a second connection of a client means, limits.
    pub fn options(mut self, options: OpenOptions) -> Self {
        self.options = options;
        self
    }

    /// Sends a fresh reader the id of the position at which it starts, in an event named `cursor` with empty data, so that it
    /// resumes there if its connection is cut before its first event; off by default. A reader that is owed a
    /// [`Gap`](crate::Gap) gets the gap's id only.
    ///
    /// A browser's page does not notice the event unless it listens to that name, which the application may give to events
    /// of its own. A client that hears all events gets one more, and has to cope with its empty data.
    pub fn announce_cursor(mut self, announce: bool) -> Self {
        self.announce_cursor = announce;
        self
    }

    /// To whom the stream begins with a block that makes WebKit, Safari's engine, drop what it has kept of a cut event;
    /// [`WebKitRepair::Auto`] by default, which is to WebKit's own `EventSource`.
    pub fn webkit_repair(mut self, repair: WebKitRepair) -> Self {
        self.webkit_repair = repair;
        self
    }

    /// Says in the `content-type` that the stream is UTF-8, `text/event-stream; charset=utf-8`; off by default.
    ///
    /// A stream is UTF-8 whatever its type says ([HTML, 9.2.5][parsing]), and browsers read it so. Python's `requests` takes a
    /// text without a charset for Latin-1, and so do clients that are built on it, such as `sseclient`. Others take only the bare
    /// `text/event-stream` for a stream: the documented check of `fetch-event-source`, and `rn-eventsource` in React Native.
    ///
    /// [parsing]: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    pub fn declare_charset(mut self, declare: bool) -> Self {
        self.declare_charset = declare;
        self
    }

    /// Refuses what the matcher takes and would not match as it is meant, and a channel that is named twice.
    fn check(&self) -> Result<(), RouteErrorKind> {
        if !self.pattern.starts_with('/') {
            return Err(RouteErrorKind::NotAbsolute);
        }
        if self.pattern.contains(|c: char| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control()) {
            return Err(RouteErrorKind::Character);
        }
        if self.pattern.split('/').any(|segment| segment.starts_with([':', '*'])) {
            return Err(RouteErrorKind::Marker);
        }
        let names = parameters(&self.pattern);
        if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
            return Err(RouteErrorKind::ParameterTwice);
        }
        if !self.channels.is_empty() && names.iter().any(|name| name == CHANNEL) {
            return Err(RouteErrorKind::ChannelTwice);
        }
        Ok(())
    }
}

impl From<&str> for Route {
    fn from(pattern: &str) -> Self {
        Self::new(pattern)
    }
}

impl From<String> for Route {
    fn from(pattern: String) -> Self {
        Self::new(pattern)
    }
}

/// The names of a pattern's parameters; a doubled brace is a literal one.
fn parameters(pattern: &str) -> Vec<String> {
    let pattern = pattern.replace("{{", "").replace("}}", "");
    let ends = pattern.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    ends.map(|(name, _)| name.strip_prefix('*').unwrap_or(name).to_owned()).collect()
}

/// The routes of a layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes(matchit::Router<Arc<Route>>);

impl Routes {
    pub(crate) fn insert(&mut self, route: Route) -> Result<(), RouteError> {
        let pattern = route.pattern.clone();
        route
            .check()
            .and_then(|()| self.0.insert(&pattern, Arc::new(route)).map_err(RouteErrorKind::Matcher))
            .map_err(|kind| RouteError::new(&pattern, kind))
    }

    /// The route of a path, and the parameters in it as they came.
    pub(crate) fn at<'r, 'p>(&'r self, path: &'p str) -> Option<(&'r Arc<Route>, matchit::Params<'r, 'p>)> {
        self.0.at(path).ok().map(|found| (found.value, found.params))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn routes(routes: impl IntoIterator<Item = Route>) -> Result<Routes, RouteError> {
        let mut all = Routes::default();
        routes.into_iter().try_for_each(|route| all.insert(route))?;
        Ok(all)
    }

    #[test]
    fn patterns_are_checked() {
        let a = || ChannelName::from_static("a");
        let marker = "has a segment that begins with `:` or `*`; write a parameter as `{name}` or `{*name}`";
        let character = "has a character that can't occur in a path, such as a space, `?` or `#`";
        for (pattern, error) in [
            ("sse", "does not begin with a slash"),
            ("", "does not begin with a slash"),
            ("/{channel", "is malformed"),
            ("/a/:channel", marker),
            ("/a/*rest", marker),
            ("/a/*", marker),
            ("/sse?channel={channel}", character),
            ("/sse#{channel}", character),
            ("/{ channel }", character),
            ("/a b", character),
            ("/{channel}/\n", character),
            ("/{channel}/{channel}", "has the same parameter twice"),
            ("/{channel}/{*channel}", "has the same parameter twice"),
        ] {
            let found = routes([pattern.into()]).unwrap_err();
            assert_eq!(found.to_string(), format!("the path pattern `{pattern}` {error}"));
            assert!(found.is_pattern() && !found.is_channel_twice());
            assert_eq!(found.source().is_some(), error == "is malformed");
        }
        for pattern in ["/{channel}", "/{*channel}"] {
            let found = routes([Route::new(pattern).channel(a())]).unwrap_err();
            assert!(found.is_channel_twice() && !found.is_pattern(), "{found}");
        }
        let conflict = routes(["/x".into(), "/a/{channel}".into(), "/a/{other}".into()]).unwrap_err();
        assert_eq!(conflict.to_string(), "the path pattern `/a/{other}` conflicts with `/a/{channel}`");
        assert!(conflict.is_pattern());
        // Any other parameter is allowed, and so are the marks within a segment.
        for pattern in ["/{tenant}/events/{channel}", "/a:b/{channel}", "/a*/{channel}", "/{{a}}/{a}", "/b-{channel}"] {
            assert!(routes([pattern.into()]).is_ok(), "{pattern}");
        }
        assert!(routes([Route::new("/{{channel}}").channel(a()), Route::new("/{client_id}").channel(a())]).is_ok());
    }

    #[test]
    fn paths_match_before_they_are_decoded() {
        let routes = routes(["/sse/{channel}".into(), "/sse/{channel}/{client_id}".into(), "/all/{*channel}".into()]);
        let routes = routes.unwrap();
        let at = |path| {
            let (_, params) = routes.at(path)?;
            Some((params.get(CHANNEL).unwrap_or_default(), params.get(CLIENT_ID)))
        };
        assert_eq!(at("/sse/a"), Some(("a", None)));
        assert_eq!(at("/sse/a%2Fb"), Some(("a%2Fb", None)));
        assert_eq!(at("/sse/a/ana"), Some(("a", Some("ana"))));
        assert_eq!(at("/all/a/b/c"), Some(("a/b/c", None)));
        // A channel that is empty is asked for, and refused; at the end of a path there is nothing that asks.
        assert_eq!(at("/sse//ana"), Some(("", Some("ana"))));
        for path in ["", "/", "/sse", "/sse/", "/sse//", "/sse/a/", "/sse/a/b/c", "/all/", "*"] {
            assert_eq!(at(path), None, "{path}");
        }
    }
}
