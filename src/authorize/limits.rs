//! Limits on how often a client may do something.
//!
//! A [`RateLimit`] goes around an [authorizer](crate::Authorizer). It takes a [`Rate`] for each thing that it limits, and an
//! [`Address`], which finds out where a request comes from. The limits of a whole hub, such as the number of its readers, are
//! [`Limits`](crate::Limits).

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
/// may publish over HTTP.
///
/// Put it [around](Self::around) any [`Authorizer`](crate::Authorizer), such as [`AllowAll`](crate::AllowAll), and around the
/// authorizer of a `PublishService`.
///
/// ```
/// use tower_sse::{
///     AllowAll, Publisher, SseLayer,
///     limits::{Address, Rate, RateLimit},
/// };
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
/// Each limit is off until you set it. A request over a limit is refused with [`RateLimited`], which describes the response.
///
/// # Which requests count together
///
/// [`requests_per_address`](Self::requests_per_address) counts by [address](Self::address), because it applies before the
/// authorizer has decided. All other limits count by the client in the grant, or by the address if the grant has no client.
/// With `AllowAll`, the client is the one that the URL names. Anybody can make up a new name for each request, so limit the
/// requests of an address, too.
///
/// IPv6 addresses count together if their first 64 bits are the same, since a provider gives each customer at least that
/// many addresses. An IPv4 address in IPv6 form (`::ffff:203.0.113.7`) counts as the IPv4 address.
///
/// All requests without a client and without an address count together, so that nobody evades a limit by hiding an address.
///
/// # Memory
///
/// Each rate takes 32 bytes for each of [`max_keys`](Self::max_keys), 3 MB by default. It allocates them when it is first
/// used, and never takes more. It forgets a client as soon as the client may use its full burst again.
///
/// If there are more clients than that at the same time, all new ones together have the rate of a single client. Clients that
/// are already counted are not affected. So a flood of new addresses does not get through, and does not shut out the clients
/// that are connected.
///
/// # Nodes
///
/// Each node counts the rates for itself. The number of [streams](Self::streams) covers all nodes. Clones count together, so
/// use clones of one `RateLimit` for all layers of a server.
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
    /// How many streams a client may have open.
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

/// The limit for one kind of thing, if it is set.
#[derive(Default)]
struct Limit {
    rate: Option<Rate>,
    /// Created on first use, because of its memory.
    limiter: OnceLock<Limiter>,
}

impl RateLimit {
    /// Creates a value that limits nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how to find the address of a request's client. By default, the address is unknown.
    pub fn address(mut self, address: Address) -> Self {
        self.change().address = address;
        self
    }

    /// Limits the requests from one address: those for streams and those to publish count together. The authorizer is not
    /// called for a request over the limit. By default, there is no limit.
    ///
    /// Many clients may share an address, for example in an office, a school or a mobile network. So allow more here than
    /// for a client.
    pub fn requests_per_address(mut self, rate: Rate) -> Self {
        self.change().requests = rate.into();
        self
    }

    /// Limits how often one client opens a stream. By default, there is no limit.
    ///
    /// Each tab opens a stream, a reload opens another, and a change of network reopens all of them. A `HEAD` counts, too.
    pub fn connects(mut self, rate: Rate) -> Self {
        self.change().connects = rate.into();
        self
    }

    /// Limits how many streams one client has open at the same time, on all channels and all nodes together. By default,
    /// there is no limit. [`OpenOptions::max_per_client`](crate::OpenOptions::max_per_client) is a limit for one channel and
    /// one node.
    ///
    /// A stream over the limit is refused with an error that
    /// [`is_client_limit`](crate::OpenError::is_client_limit). A stream that has ended does not count, even if the client has
    /// not read its end yet.
    ///
    /// In process, the limit is exact. With a remote backend, the node asks the store before it opens the stream, and
    /// tells it when the stream has ended:
    ///
    /// - If a client's streams open and end on several nodes at the same moment, the store's count may be wrong by that many
    ///   until the next report, for at most [`Presence::EVERY`](crate::backend::Presence::EVERY).
    /// - The streams of a node that was killed count for three times that long.
    /// - While the store does not answer, each node counts only its own streams. So does a node whose backend does not
    ///   [count](crate::backend::Backend::count).
    pub fn streams(mut self, max: usize) -> Self {
        self.change().streams = Some(max);
        self
    }

    /// Limits the events that are replayed to one client: those that are held when its stream opens, after its last event id
    /// or from where a new reader [starts](crate::Start). By default, there is no limit.
    ///
    /// A stream opens if the limit allows at least one more event, and then replays everything, even if that exceeds the
    /// limit. The client has to wait until the excess is made up, for at most a day, before another stream with a replay
    /// opens. A stream that has nothing to replay always opens. So a client that asks for a long history again and again is
    /// slowed down, and a client that only follows new events is not.
    pub fn replay(mut self, events: Rate) -> Self {
        self.change().replay = events.into();
        self
    }

    /// Limits the events that one client publishes through a `PublishService`. An event counts once for each channel, and a
    /// request counts as at least one event. By default, there is no limit.
    ///
    /// As with [`replay`](Self::replay), a batch may exceed the limit, and the next request then has to wait. The client is
    /// the one in the `PublishGrant`.
    pub fn publishes(mut self, events: Rate) -> Self {
        self.change().publishes = events.into();
        self
    }

    /// Sets how many clients and addresses each rate has room for. The default is 100,000.
    pub fn max_keys(mut self, max: usize) -> Self {
        self.change().max_keys = max;
        self
    }

    /// Puts the limits around an authorizer.
    pub fn around<A>(&self, authorizer: A) -> Limited<A> {
        Limited::new(authorizer, self.settings.clone())
    }

    /// A clone that is changed starts over, and counts for itself from then on.
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
    /// Returns the address of a request, or refuses the request if there are too many from that address.
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

/// A changed copy starts over.
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
