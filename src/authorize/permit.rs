//! Permission to publish over HTTP, as a value, and the request that is decided about.

use std::{collections::HashSet, fmt, ops::Deref, sync::Arc};

use http::request::Parts;
use tower_service::Service;

use super::{function::AuthorizerFn, request::AuthorizeRequest};
use crate::{
    error::BoxError,
    hub::{Grant, toll::Toll},
    wire::name::{ChannelName, ClientId, EventName},
};

/// What a request may publish over HTTP: to which channels, as which events, and how large.
///
/// ```
/// use tower_sse::{ChannelName, EventName, PublishGrant};
///
/// let grant = PublishGrant::new([ChannelName::from_static("chat")])
///     .events([EventName::from_static("message"), EventName::from_static("typing")])
///     .max_bytes(4096);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a grant does nothing until an authorizer returns it"]
pub struct PublishGrant {
    channels: Vec<ChannelName>,
    /// `None` if any name will do.
    names: Option<HashSet<EventName>>,
    max_bytes: usize,
    allow_finish: bool,
    allow_close: bool,
    client: Option<ClientId>,
    /// Counts what is published.
    pub(super) toll: Option<Toll>,
}

/// The name under which a browser fires an event that has none.
const UNNAMED: &str = "message";

impl PublishGrant {
    /// Allows events of any name, for everybody or for single clients, on these channels. It does not allow to finish or to
    /// close a channel.
    pub fn new(channels: impl IntoIterator<Item = ChannelName>) -> Self {
        let channels = Grant::new(channels).channels;
        Self {
            channels,
            names: None,
            max_bytes: usize::MAX,
            allow_finish: false,
            allow_close: false,
            client: None,
            toll: None,
        }
    }

    /// Keeps only the channels for which `allow` returns `true`. A request that names any other channel is denied.
    pub fn only(mut self, mut allow: impl FnMut(&ChannelName) -> bool) -> Self {
        self.channels.retain(|channel| allow(channel));
        self
    }

    /// Allows only events with one of these names. An event without a name counts as `message`, as in a browser. By default
    /// any name is allowed.
    pub fn events(mut self, names: impl IntoIterator<Item = EventName>) -> Self {
        self.names = Some(names.into_iter().collect());
        self
    }

    /// Sets how many bytes the data of an event may have. By default, only the
    /// [hub's limit](crate::Limits::event_bytes) and [that of the request](crate::PublishService::max_body) apply.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.max_bytes = max;
        self
    }

    /// Allows to [finish](crate::Channel::finish) the channels. Off by default.
    pub fn allow_finish(mut self) -> Self {
        self.allow_finish = true;
        self
    }

    /// Allows to [close](crate::Channel::close) the channels. Off by default.
    pub fn allow_close(mut self) -> Self {
        self.allow_close = true;
        self
    }

    /// Sets the client that publishes, for which limits on publishing count. It does not change the events. The default is
    /// `None`.
    pub fn client(mut self, client: impl Into<Option<ClientId>>) -> Self {
        self.client = client.into();
        self
    }

    /// Returns the client that publishes.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }

    /// Returns the channels that may be published to.
    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    pub(crate) fn allows_channels(&self, channels: &[ChannelName]) -> bool {
        let allowed: HashSet<_> = self.channels.iter().collect();
        channels.iter().all(|channel| allowed.contains(channel))
    }

    pub(crate) fn allows_name(&self, name: Option<&EventName>) -> bool {
        let name = name.map_or(UNNAMED, EventName::as_str);
        self.names.as_ref().is_none_or(|names| names.contains(name))
    }

    pub(crate) fn limit(&self) -> usize {
        self.max_bytes
    }

    pub(crate) fn allows_finish(&self) -> bool {
        self.allow_finish
    }

    /// Counts this many events, which are about to be published.
    pub(crate) fn count(&self, events: u64) {
        // They were admitted with the request.
        let _ = self.toll.as_ref().map(|toll| toll.charge(events));
    }

    pub(crate) fn allows_close(&self) -> bool {
        self.allow_close
    }
}

/// A request to publish: the parts of the HTTP request, and the channels that it names. The body is not read yet, and is
/// only read if the request is granted.
///
/// It has the methods of an [`AuthorizeRequest`], but its `client` is always `None`.
#[derive(Clone)]
pub struct PublishRequest(AuthorizeRequest);

impl PublishRequest {
    /// Creates a request, as [`PublishService`](crate::PublishService) does from an HTTP request. Use it to test your
    /// authorizer.
    pub fn new(parts: Parts, channels: impl IntoIterator<Item = ChannelName>) -> Self {
        Self(AuthorizeRequest::new(parts, channels, None))
    }

    pub(crate) fn of(parts: Parts, channels: Arc<[ChannelName]>) -> Self {
        Self(AuthorizeRequest::of(parts, channels, None))
    }

    /// Returns a grant for all channels of the request. If your application has runs, narrow it with
    /// [`PublishGrant::only`], so that no client writes to their channels: `runs`, `run/..` and `thread/..`.
    pub fn grant(&self) -> PublishGrant {
        PublishGrant::new(self.channels().iter().cloned())
    }
}

impl Deref for PublishRequest {
    type Target = AuthorizeRequest;

    fn deref(&self) -> &AuthorizeRequest {
        &self.0
    }
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublishRequest").field(&self.0).finish()
    }
}

/// Decides who may publish what. It is implemented for every [`tower_service::Service`] from a [`PublishRequest`] to a
/// [`PublishGrant`].
///
/// To make one, use [`publish_authorizer_fn`]. What is said about an [`Authorizer`](crate::Authorizer) applies here too: a
/// [`Denied`](crate::Denied) is answered with its status; any other error, and a panic, with 503 and nothing is published.
pub trait PublishAuthorizer: Service<PublishRequest, Response = PublishGrant, Error: Into<BoxError>> + Clone {}

impl<A> PublishAuthorizer for A
where
    A: Service<PublishRequest, Response = PublishGrant> + Clone,
    A::Error: Into<BoxError>,
{
}

/// Makes a [`PublishAuthorizer`] from a closure that returns a future. The closure is cloned for each request.
///
/// ```
/// use tower_sse::{Denied, PublishRequest, publish_authorizer_fn};
///
/// let authorizer = publish_authorizer_fn(|request: PublishRequest| async move {
///     match request.headers().get("authorization") {
///         // Compare it with the key of the service that publishes, in constant time.
///         Some(_) => Ok(request.grant().only(|channel| channel.as_str().starts_with("orders-"))),
///         None => Err(Denied::unauthorized()),
///     }
/// });
/// # fn check<A: tower_sse::PublishAuthorizer>(_: A) {}
/// # check(authorizer);
/// ```
pub fn publish_authorizer_fn<F, Fut, E>(function: F) -> AuthorizerFn<F>
where
    F: Fn(PublishRequest) -> Fut,
    Fut: Future<Output = Result<PublishGrant, E>>,
{
    AuthorizerFn { function }
}
