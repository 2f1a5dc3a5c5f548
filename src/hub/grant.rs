//! Permission to read, as a value: a [`Subscription`](crate::Subscription) can't be opened without one.

use std::{
    collections::HashSet,
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{allowance::Allowance, toll::Toll};
use crate::wire::name::{ChannelName, ClientId};

/// What a connection may read: which channels, as which client, and for how long.
///
/// An authorizer makes a grant from what was requested ([`AuthorizeRequest::grant`](crate::AuthorizeRequest::grant)).
/// It can only narrow the request: channels that were not requested are left out. Your own handler can make a grant
/// from scratch.
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
    pub(crate) recheck: Option<Recheck>,
    /// Charges for the events that are replayed.
    pub(crate) toll: Option<Toll>,
    /// How many streams the reader may have open, if that is limited.
    pub(crate) allowance: Option<Allowance>,
}

impl Grant {
    /// Grants the broadcast events of these channels until the reader disconnects. A channel named twice counts once.
    pub fn new(channels: impl IntoIterator<Item = ChannelName>) -> Self {
        let mut seen = HashSet::new();
        Self::of(channels.into_iter().filter(|channel| seen.insert(channel.clone())).collect())
    }

    /// Like `new`, for channels that are known to be unique.
    pub(crate) fn of(channels: Vec<ChannelName>) -> Self {
        Self { channels, client: None, expires: None, recheck: None, toll: None, allowance: None }
    }

    /// Binds the connection to a client, so that it also gets the events sent to that client only. The default is
    /// `None`: the reader gets broadcast events only.
    pub fn client(mut self, client: impl Into<Option<ClientId>>) -> Self {
        self.client = client.into();
        self
    }

    /// Ends the stream this long from now. By default it does not end. The reader needs a tokio runtime with time
    /// enabled.
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expires = Instant::now().checked_add(lifetime);
        self
    }

    /// Ends the stream at this time, for example the `exp` of a token. A time in the past refuses the stream.
    pub fn expires_at(self, time: SystemTime) -> Self {
        self.expires_in(time.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// Ends the stream at this time, unless it ends before.
    #[cfg(feature = "jwt")]
    pub(crate) fn at_most_until(self, time: SystemTime) -> Self {
        let earlier = self.expires;
        let mut grant = self.expires_at(time);
        grant.expires = match (earlier, grant.expires) {
            (Some(earlier), Some(until)) => Some(earlier.min(until)),
            (earlier, until) => earlier.or(until),
        };
        grant
    }

    /// Charges nothing for what is replayed.
    pub(crate) fn free(self) -> Self {
        Self { toll: None, ..self }
    }

    /// Keeps only the channels for which `allow` returns `true`.
    pub fn only(mut self, mut allow: impl FnMut(&ChannelName) -> bool) -> Self {
        self.channels.retain(|channel| allow(channel));
        self
    }

    /// Returns the channels that may be read.
    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    /// Returns the client that the connection is bound to.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }
}

/// The result of a decision about access.
pub(crate) enum Verdict {
    Granted(Grant),
    Denied,
    /// No decision could be made. This may pass.
    Failed,
}

pub(crate) type Deciding = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// Decides anew about a reader.
#[derive(Clone)]
pub(crate) struct Recheck(Arc<dyn Fn() -> Deciding + Send + Sync>);

impl Recheck {
    pub(crate) fn new(decide: impl Fn() -> Deciding + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    pub(crate) fn decide(&self) -> Deciding {
        (self.0)()
    }
}

impl fmt::Debug for Recheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recheck")
    }
}
