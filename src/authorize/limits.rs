//! Limits on how often a client may do something.

mod address;
mod clock;
mod limited;
mod limiter;
mod principal;
#[cfg(feature = "publish")]
mod publishing;
mod rate;
mod table;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tower_layer::Layer;

pub use self::{
    address::Address,
    limited::{Limited, LimitedFuture},
    rate::Rate,
};
use self::{
    limiter::Limiter,
    principal::{Key, Keys, Principal},
};
use super::{rate_limited::RateLimited, request::AuthorizeRequest};

/// Limits how often a client may connect, how many streams it may have, how much may be replayed to it, and how much it
/// may publish over HTTP. It goes around any [`Authorizer`](crate::Authorizer), also around [`AllowAll`](crate::AllowAll), and around the
/// authorizer of a `PublishService`.
///
/// ```
/// use tower_sse::{Address, AllowAll, Publisher, Rate, RateLimit, SseLayer};
///
/// let limits = RateLimit::new()
///     .address(Address::forwarded_for(1))
///     .requests_per_address(Rate::per_second(10).burst(50))
///     .connects(Rate::per_second(1).burst(10))
///     .replay(Rate::per_minute(20_000));
/// let layer = SseLayer::new(Publisher::new()).route("/events/{channel}")?.authorizer(limits.around(AllowAll));
/// # Ok::<_, tower_sse::RouteError>(())
/// ```
///
/// Nothing is limited until you set it. A request over a limit is refused with [`RateLimited`], which says how it is
/// answered.
///
/// # Whom a limit is for
///
/// Before the authorizer has decided, only the [address](Self::address) is known. All other limits are for the client in
/// the grant, or for the address if the grant has no client. With `AllowAll`, the client is what the URL says, and
/// anybody can make up another one for each request: limit the requests of an address too.
///
/// IPv6 addresses count together if their first 64 bits are the same, since that is the least that one customer of a
/// provider has. An IPv4 address in IPv6 form (`::ffff:203.0.113.7`) counts as the IPv4 address.
///
/// All requests without a client and without an address count as those of one client, so that nobody evades a limit by
/// hiding an address.
///
/// # Memory
///
/// Each limit takes 32 bytes for each of [`max_keys`](Self::max_keys), 3 MB by default. It takes them when it is first
/// used, and nothing else later. A client is forgotten as soon as everything that it has used up has come back.
///
/// If there are more clients than that at once, the new ones share the rate of one client, and those that are counted
/// already are not affected: a flood of new addresses does not get through, and shuts out nobody that is connected.
///
/// # Nodes
///
/// The rates are for each node; the number of [streams](Self::streams) is for all nodes together. Clones count together, so use clones of one `RateLimit` for all layers of a server.
#[derive(Debug, Clone, Default)]
#[must_use = "a limit does nothing until it is put around an authorizer"]
pub struct RateLimit {
    settings: Arc<Settings>,
}

#[derive(Debug, Clone)]
struct Settings {
    address: Address,
    max_keys: usize,
    keys: Keys,
    requests: Limit,
    connects: Limit,
    replay: Limit,
    publishes: Limit,
    /// The most streams that a client may have open.
    streams: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: Address::NONE,
            max_keys: 100_000,
            keys: Keys::default(),
            requests: Limit::default(),
            connects: Limit::default(),
            replay: Limit::default(),
            publishes: Limit::default(),
            streams: None,
        }
    }
}

/// The limit on one kind of thing, if there is one.
#[derive(Default)]
struct Limit {
    rate: Option<Rate>,
    /// Made when it is first needed, because of its memory.
    limiter: OnceLock<Limiter>,
}

impl RateLimit {
    /// Creates a value that limits nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how to find the address of a request's client. By default it is not known.
    pub fn address(mut self, address: Address) -> Self {
        self.change().address = address;
        self
    }

    /// Limits the requests from one address, for streams and to publish together, before the authorizer is asked: it is
    /// not asked about a request over the limit. By default there is no limit.
    ///
    /// Many clients may share an address: an office, a school, a mobile network. Allow more here than for a client.
    pub fn requests_per_address(mut self, rate: Rate) -> Self {
        self.change().requests = rate.into();
        self
    }

    /// Limits the streams that one client opens. By default there is no limit.
    ///
    /// A page that is reloaded, a network that changes, and each tab opens a stream, and a `HEAD` counts too.
    pub fn connects(mut self, rate: Rate) -> Self {
        self.change().connects = rate.into();
        self
    }

    /// Limits the streams that one client has open at a time, on all channels and on all nodes together. By default there
    /// is no limit. See also [`OpenOptions::max_per_client`](crate::OpenOptions::max_per_client), which is for one channel
    /// and for one node.
    ///
    /// A stream over the limit is refused as [`OpenError::is_client_limit`](crate::OpenError::is_client_limit) says. A
    /// stream that has ended does not count, even if the client has not read its end yet.
    ///
    /// In process, the limit is exact. With a remote backend, the node asks the store before it opens the stream, and
    /// tells it when the stream has ended:
    ///
    /// - If streams of a client open and end on several nodes at the same moment, the store's count may be wrong by these
    ///   few until the next report, for at most [`Presence::EVERY`](crate::backend::Presence::EVERY).
    /// - The streams of a node that was killed count for three times that long.
    /// - While the store does not answer, each node limits its own streams only, and so does a node whose backend does
    ///   not [count](crate::backend::Backend::count).
    pub fn streams(mut self, max: usize) -> Self {
        self.change().streams = Some(max);
        self
    }

    /// Limits the events that are replayed to one client: those that are held when its stream begins, after its last id
    /// or from where a new reader [starts](crate::Start). By default there is no limit.
    ///
    /// A stream is opened as long as one event is left, however many it has to replay. What it takes beyond that has to
    /// come back before the next one, but no more than a day's. A stream that has nothing to replay is always opened. So a
    /// client that asks for a long history again and again is slowed down, and one that follows what is new is not.
    pub fn replay(mut self, events: Rate) -> Self {
        self.change().replay = events.into();
        self
    }

    /// Limits the events that one client publishes through a `PublishService`: each event in each channel counts, and each
    /// request counts as at least one event. By default there is no limit.
    ///
    /// As with [`replay`](Self::replay), a batch may take more than is left, and the next request has to wait for it. The
    /// client is the one in the `PublishGrant`.
    pub fn publishes(mut self, events: Rate) -> Self {
        self.change().publishes = events.into();
        self
    }

    /// Sets for how many clients and addresses there is room in each limit. The default is 100,000.
    pub fn max_keys(mut self, max: usize) -> Self {
        self.change().max_keys = max;
        self
    }

    /// Puts the limits around an authorizer.
    pub fn around<A>(&self, authorizer: A) -> Limited<A> {
        Limited::new(authorizer, self.settings.clone())
    }

    /// A clone that is changed counts for itself from then on, and begins anew.
    fn change(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

/// For `tower::ServiceBuilder`: the same as [`RateLimit::around`].
impl<A> Layer<A> for RateLimit {
    type Service = Limited<A>;

    fn layer(&self, authorizer: A) -> Limited<A> {
        self.around(authorizer)
    }
}

impl Settings {
    /// Returns a request's address, and refuses the request if there are too many from there.
    fn enter(&self, request: &AuthorizeRequest) -> Result<Principal<'static>, RateLimited> {
        let address = Principal::of_address(self.address.of(request));
        if self.requests.is_set() {
            self.requests.charge(self.max_keys, self.keys.key(address), 1).map_err(RateLimited::new)?;
        }
        Ok(address)
    }
}

impl Limit {
    fn is_set(&self) -> bool {
        self.rate.is_some()
    }

    fn charge(&self, max_keys: usize, key: Key, cost: u64) -> Result<(), Duration> {
        self.limiter(max_keys).map_or(Ok(()), |limiter| limiter.charge(key, cost))
    }

    fn limiter(&self, max_keys: usize) -> Option<&Limiter> {
        let rate = self.rate?;
        Some(self.limiter.get_or_init(|| Limiter::new(rate, max_keys)))
    }
}

impl From<Rate> for Limit {
    fn from(rate: Rate) -> Self {
        Self { rate: Some(rate), limiter: OnceLock::new() }
    }
}

/// A changed copy begins anew.
impl Clone for Limit {
    fn clone(&self) -> Self {
        Self { rate: self.rate, limiter: OnceLock::new() }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rate.fmt(f)
    }
}
