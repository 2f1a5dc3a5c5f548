//! Which paths are streams, and with what settings. `ask` reads what a request makes of them.

use std::{sync::Arc, time::Duration};

use super::{keep_alive::KeepAlive, retry::Retry, webkit::WebKitRepair};
use crate::{
    error::{RouteError, RouteErrorKind},
    hub::OpenOptions,
    wire::name::ChannelName,
};

/// The parameter that names a channel, in a pattern and in the query.
pub(crate) const CHANNEL: &str = "channel";
/// The parameter that names the client in a pattern.
pub(crate) const CLIENT_ID: &str = "client_id";

/// A path pattern whose requests are answered with a stream, and the settings of those streams.
///
/// `{channel}` and `{client_id}` stand for segments that name the channel and the client; both are optional.
/// `{*channel}` takes the rest of the path. Write a literal brace twice. The pattern is matched against the path as it
/// arrived, before percent-decoding, so a name may contain a `%2F`.
///
/// **Any other parameter matches and means nothing**, even a misspelt one: with `{chanel}`, the query names the
/// channel, and with `{client}`, no connection has a client.
///
/// A path that ends before a parameter does not match. An empty name inside a path is answered with 400. A pattern that
/// could never match as intended, such as `/:channel`, `/*rest` or one with the same parameter twice, is an error of
/// [`SseLayer::route`](crate::SseLayer::route).
///
/// A route reads the channel in its pattern or its [fixed channels](Route::channel). If it has neither, it reads the
/// channels that the query names: `/events?channel=a&channel=b`.
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
#[must_use = "a route does nothing until it is added to a layer"]
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
    pub(crate) show_channel: bool,
    pub(crate) strict: bool,
    pub(crate) close_after: Option<Duration>,
}

impl Route {
    /// Creates a route for `pattern`, which begins with a slash. The pattern is checked when you
    /// [add](crate::SseLayer::route) the route to a layer.
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
            show_channel: false,
            strict: false,
            close_after: None,
        }
    }

    /// Adds a fixed channel. Every request on the route reads the route's fixed channels, and can't name channels
    /// itself. By default there are none. You can't combine a fixed channel with a `{channel}` in the pattern.
    pub fn channel(mut self, channel: ChannelName) -> Self {
        if !self.channels.contains(&channel) {
            self.channels.push(channel);
        }
        self
    }

    /// Sets what is sent while the stream is idle. The default is a bare comment every 15 seconds.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sends a reader at most one chunk per `pause`, with everything that arrived meanwhile. Use it for bursts of small
    /// events such as tokens, where most of the cost is one write per event. It is off by default; a `pause` of zero
    /// turns it off, and the longest is one second.
    ///
    /// An event that comes after a pause is sent at once. An event that comes within `pause` of the previous one waits
    /// for the rest of the pause, and so do a gap and the end of the stream. A reader that is behind gets everything
    /// that it missed without waiting. Keep-alives are not affected. The runtime's timer counts in milliseconds.
    ///
    /// The channel keeps publishing and evicting while a reader waits. If it evicts an event before the reader's pause
    /// is over, the reader gets a gap, like any reader that is too slow.
    ///
    /// For example, a pause of 5 ms turns five events a millisecond apart into two chunks, for about three quarters of
    /// the CPU time. A server that is too busy to keep up sends several events at once anyway.
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

    /// Sets how long a client waits before it reconnects: a `Duration`, or a range of them, from which each stream gets
    /// a random time. The default is three seconds; `None` leaves the time to the client. See [`Retry`].
    pub fn retry(mut self, retry: impl Into<Retry>) -> Self {
        self.retry = retry.into();
        self
    }

    /// Sets where a reader without a last event id starts, what happens when a client connects twice, and how many
    /// readers a channel may have. The default is [`OpenOptions::new`]: a reader starts live, without limits.
    pub fn options(mut self, options: OpenOptions) -> Self {
        self.options = options;
        self
    }

    /// Sends a reader without a last event id the position at which it starts, as the id of an event named `cursor`
    /// with empty data. The reader then resumes there if its connection breaks before its first event. Off by default.
    /// If a
    /// [`Gap`](crate::Gap) comes first, the gap's id takes the place of the cursor.
    ///
    /// A page in a browser does not notice the event unless it listens to that name. The name is not reserved: your
    /// application may use it for its own events. A client that handles every event must ignore the one with empty
    /// data.
    pub fn announce_cursor(mut self, announce: bool) -> Self {
        self.announce_cursor = announce;
        self
    }

    /// Sets which clients get a block at the start of the stream that makes WebKit, Safari's engine, discard a partial
    /// event from before a reconnect. The default is [`WebKitRepair::Auto`]: WebKit's own `EventSource`.
    pub fn webkit_repair(mut self, repair: WebKitRepair) -> Self {
        self.webkit_repair = repair;
        self
    }

    /// Declares in the `content-type` that the stream is UTF-8: `text/event-stream; charset=utf-8`. Off by default.
    ///
    /// An event stream is always UTF-8 ([HTML, 9.2.5][parsing]), and browsers read it as such. Turn this on for
    /// Python's
    /// `requests`, which reads text without a charset as Latin-1, and for clients built on it, such as `sseclient`.
    /// Leave it off for clients that accept only the bare `text/event-stream`, such as `rn-eventsource` in React
    /// Native, or the check that the documentation of `fetch-event-source` shows.
    ///
    /// [parsing]: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    pub fn declare_charset(mut self, declare: bool) -> Self {
        self.declare_charset = declare;
        self
    }

    /// Says the channel in the name of each event: `channel:name`, with `message` for an event without a name, as
    /// browsers call it. Off by default.
    ///
    /// Turn it on for a route on which a request reads several channels. A name is all that a page's `EventSource` can
    /// listen to, so a page listens to `news:message` for the events of the channel `news`, and to `news:update` for
    /// those that are named `update`. A `%` or `:` in a channel's name is percent-encoded. The crate's own events keep
    /// their names, and so do keep-alives.
    ///
    /// The layer then copies each event for each reader, instead of sending the bytes that all readers share.
    ///
    /// ```
    /// use tower_sse::Route;
    ///
    /// let route = Route::new("/events").show_channel(true);
    /// ```
    ///
    /// ```js
    /// const source = new EventSource("/events?channel=news&channel=chat");
    /// source.addEventListener("news:message", (event) => showNews(event.data));
    /// source.addEventListener("chat:message", (event) => showChat(event.data));
    /// ```
    pub fn show_channel(mut self, show: bool) -> Self {
        self.show_channel = show;
        self
    }

    /// Makes the end of a stream mean that the client got everything, for clients that use `fetch`. Off by default: an
    /// `EventSource` would give up on most of this.
    ///
    /// A stream ends only when all of its channels are [finished](crate::Channel::finish) and everything was sent, and
    /// otherwise breaks off: see [`SseBody::strict`](crate::SseBody::strict). What is 200 and an empty stream on other
    /// routes is a status here:
    ///
    /// | status | when |
    /// | --- | --- |
    /// | 409 | the client is connected already, and the route [refuses](crate::Duplicates::Refuse) a second connection |
    /// | 410 | events that the stream would begin with are no longer held: see [`SseBody::into_response`](crate::SseBody::into_response) |
    /// | 429 | the client has as many connections as it may |
    /// | 503 | another limit, a shutdown, a backend or an authorizer that failed |
    ///
    /// The 410 is decided before the body begins, so the [`gap`](crate::Transform::gap) of a transform is not asked.
    ///
    /// All but the 410 have a `Retry-After`, a random time of the [hub's](crate::PublisherBuilder::reconnect) in whole
    /// seconds.
    ///
    /// ```
    /// use tower_sse::{OpenOptions, Route, Start};
    ///
    /// let answers = Route::new("/answers/{channel}").strict(true).options(OpenOptions::new().start(Start::Earliest));
    /// ```
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Ends each answer, but not the stream behind it, after this time, so that a client polls on with its last event
    /// id. Off by default.
    ///
    /// An answer ends between two events, no earlier than after this time: as soon as the client has everything that can
    /// be read, or else with the next chunk. It always brings what there is, even if the time is zero. After its time it
    /// may also end at any other pause of the stream, with events still unread, which the next answer brings. A client
    /// waits for the route's [`retry`](Self::retry) before it asks again, and misses nothing. A fresh reader is sent its
    /// [cursor](Self::announce_cursor), so that it can go on if nothing comes in that time.
    ///
    /// Use it for clients and proxies that hold no connection for long, such as those of MCP. A
    /// [strict](Self::strict) stream ends in this way too, cleanly although it is incomplete: with both, a client can't
    /// take the end for that of a complete answer.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_sse::Route;
    ///
    /// let polled = Route::new("/poll/{channel}").retry(Duration::from_secs(1)).close_after(Duration::from_secs(20));
    /// ```
    pub fn close_after(mut self, time: Duration) -> Self {
        self.close_after = Some(time);
        self
    }

    /// Refuses a pattern that the matcher accepts but that would not match as intended, and a channel that is named
    /// twice.
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

/// Returns the names of a pattern's parameters. A doubled brace is a literal one.
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

    /// Finds the route of a path, and the parameters in it, still encoded.
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
        // Any other parameter is allowed, and so are these characters within a segment.
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
        // Inside a path, an empty channel is asked for and then refused; at the end of a path, nothing asks for it.
        assert_eq!(at("/sse//ana"), Some(("", Some("ana"))));
        for path in ["", "/", "/sse", "/sse/", "/sse//", "/sse/a/", "/sse/a/b/c", "/all/", "*"] {
            assert_eq!(at(path), None, "{path}");
        }
    }
}
