//! Permission to read, as a value: a [`Subscription`](crate::Subscription) can't be opened without one.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::wire::name::{ChannelName, ClientId};

/// The channels that may be read, the client that the connection is, and how long.
///
/// An authorizer makes one from what was asked ([`AuthorizeRequest::grant`](crate::AuthorizeRequest::grant)), and can only
/// narrow that: other channels in it are left out. A handler of the application's own makes one from nothing.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::{ChannelName, ClientId, Grant};
///
/// let grant = Grant::new([ChannelName::from_static("chat")])
///     .client(ClientId::from_static("ana"))
///     .expires_in(Duration::from_secs(3600));
/// assert_eq!(grant.channels().len(), 1);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a grant does nothing until a subscription is opened with it"]
pub struct Grant {
    pub(crate) channels: Vec<ChannelName>,
    pub(crate) client: Option<ClientId>,
    pub(crate) expires: Option<Instant>,
}

impl Grant {
    /// May read the broadcast events of these channels, until it disconnects. A channel named twice counts once.
    pub fn new(channels: impl IntoIterator<Item = ChannelName>) -> Self {
        let mut seen = HashSet::new();
        let channels = channels.into_iter().filter(|channel| seen.insert(channel.clone())).collect();
        Self { channels, client: None, expires: None }
    }

    /// Binds the connection to a client: events that are sent to it, and to nobody else, arrive too. `None` is a reader
    /// of broadcast events only, which is the default.
    pub fn client(mut self, client: impl Into<Option<ClientId>>) -> Self {
        self.client = client.into();
        self
    }

    /// Ends the stream this long from now; it needs tokio's timer where it is read. By default it does not end.
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expires = Instant::now().checked_add(lifetime);
        self
    }

    /// Ends the stream at that time, such as the `exp` of a token; a time in the past refuses it.
    pub fn expires_at(self, time: SystemTime) -> Self {
        self.expires_in(time.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// Keeps only the channels for which `allow` says yes.
    pub fn only(mut self, mut allow: impl FnMut(&ChannelName) -> bool) -> Self {
        self.channels.retain(|channel| allow(channel));
        self
    }

    /// The channels that may be read.
    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    /// The client that the connection is.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }
}
