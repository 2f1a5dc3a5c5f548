//! The settings of a backend in Redis.

use std::{fmt, sync::Arc, time::Duration};

use redis::{Client, ConnectionInfo, IntoConnectionInfo, RedisError};
use tokio::sync::Semaphore;

use super::{
    Inner, Redis, UNKNOWN,
    held::OfAll,
    keys::Keys,
    link::Link,
    presence::Said,
    read::PAGES,
    scripts::Scripts,
    sentinel::{self, Sentinels},
    tls,
};
use crate::{
    backend::Presence,
    error::BackendError,
    sync::Mutex,
    wire::cursor::{Cursor, Offset},
};

/// The settings of a [`Redis`] backend.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::Redis;
///
/// let redis = Redis::builder("redis://redis.example:6380/2")
///     .credentials("app", "s3cret")
///     .prefix("chat")
///     .timeout(Duration::from_secs(1))
///     .build()?;
/// # drop(redis);
/// # Ok::<_, tower_sse::BackendError>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RedisBuilder {
    /// May contain a password, and so is never shown.
    url: String,
    credentials: Option<(String, String)>,
    sentinel_credentials: Option<(String, String)>,
    prefix: String,
    timeout: Duration,
    tombstones: Duration,
    window: Duration,
    allow_eviction: bool,
}

impl Redis {
    /// Creates a backend at a [URL](Self::builder), with the defaults of [`RedisBuilder`]. It does not connect yet.
    ///
    /// # Errors
    ///
    /// The same as those of [`RedisBuilder::build`].
    pub fn new(url: &str) -> Result<Self, BackendError> {
        Self::builder(url).build()
    }

    /// Creates a builder, beginning with a URL:
    ///
    /// | URL | |
    /// | --- | --- |
    /// | `redis://[user:password@]host[:port][/database]` | over TCP; port 6379 and database 0 by default |
    /// | `rediss://` and the same | over TLS, which takes the feature `redis-tls`; the system's certificates count, or those of `SSL_CERT_FILE` |
    /// | `unix:///path[?db=database&user=..&pass=..]` | over a Unix socket |
    /// | `redis+sentinel://[user:password@]host[:port][,host[:port]..]/service[/database]` | at the master that these [Redis Sentinels](https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/) name; port 26379 by default |
    /// | `rediss+sentinel://` and the same | over TLS, to the sentinels too |
    ///
    /// Users and passwords in a URL are percent-encoded; [`credentials`](RedisBuilder::credentials) takes them
    /// unencoded. `valkey://` and `valkeys://` work like `redis://` and `rediss://`.
    ///
    /// The URL may name a replica, which tells where its master is. If a master is gone, its replicas and the other
    /// servers of its cluster are tried.
    pub fn builder(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder {
            url: url.into(),
            credentials: None,
            sentinel_credentials: None,
            prefix: "tower-sse".into(),
            timeout: Duration::from_secs(2),
            tombstones: Duration::from_secs(24 * 3600),
            window: Duration::from_secs(300),
            allow_eviction: false,
        }
    }
}

impl RedisBuilder {
    /// Sets what all keys and push channels of this hub begin with, in braces; `tower-sse` by default. Hubs with
    /// different prefixes are independent of each other, even on one server. The prefix must not be empty or contain
    /// braces.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the user and password; by default those of the URL. If Redis only has a
    /// password, the user is `default`.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Sets the user and password for the sentinels; none by default. Those in the URL are the master's.
    pub fn sentinel_credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.sentinel_credentials = Some((user.into(), password.into()));
        self
    }

    /// Sets how long connecting to Redis, or a command, may take; 2 s by default. After that the connection is replaced
    /// by a new one, and the caller gets an error. The hub's own [timeout](crate::PublisherBuilder::timeout) covers the
    /// whole of a call, which may take more than one command. The one that expires first applies.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a channel is remembered after its last event has become too old; one day by default, and at least
    /// 10 seconds.
    ///
    /// While a channel is remembered, a reader that reconnects gets a gap if, and only if, it missed something. After
    /// that, everything that the hub had given by then counts as missed. The minimum exists because nodes check every
    /// five seconds whether they have all events, and must not find that a channel with readers was forgotten.
    /// Remembering a channel takes some hundred bytes.
    ///
    /// A node may be cut off from Redis for longer than this. It then can't know whether a channel that was forgotten
    /// had events meanwhile, so the channel's readers get a gap.
    pub fn tombstones(mut self, lifetime: Duration) -> Self {
        self.tombstones = lifetime.max(Presence::EVERY * 2);
        self
    }

    /// Sets how long an [idempotency key](crate::Event::idempotency_key) is known at least; 5 minutes by default. It is
    /// also known as long as its event is held; if the event's retention has no age, for at most a year. A key takes
    /// about 150 bytes.
    pub fn idempotency_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets whether to use a server that evicts keys when its memory is used up: one with a `maxmemory` and a
    /// `maxmemory-policy` other than `noeviction`. By default, a node refuses such a server: every call fails with an error
    /// that [says so](BackendError::is_misconfigured). The node checks the setting when it connects, and every few seconds
    /// from then on.
    ///
    /// With `true`, you can use hosted servers that can't be configured otherwise. Readers get a gap for the events that Redis
    /// evicts. Two things can go wrong, because Redis does not say which keys it has evicted:
    ///
    /// - After an eviction, and after each restart of Redis, a channel without keys may be one that Redis has evicted. A reader
    ///   that resumes on a channel that never had an event then gets a gap, although it missed nothing.
    /// - Redis may evict an [idempotency key](crate::Event::idempotency_key). A repeated publish is then published twice.
    pub fn allow_eviction(mut self, allow: bool) -> Self {
        self.allow_eviction = allow;
        self
    }

    /// Builds the backend. It does not connect yet: if the server is not there, publishing fails.
    ///
    /// # Errors
    ///
    /// Fails if the URL is not one of [these](Redis::builder), or the prefix is not valid.
    pub fn build(self) -> Result<Redis, BackendError> {
        let (info, sentinels) = self.info().map_err(|error| match tls::is_missing_for(&self.url) {
            true => BackendError::new("TLS takes the feature `redis-tls`"),
            false => BackendError::new(error),
        })?;
        let keys = Keys::new(&self.prefix, info.redis_settings().db());
        let keys = keys.ok_or_else(|| BackendError::new("the prefix is empty, or has braces"))?;
        let client = Client::open(info).map_err(BackendError::new)?;
        Ok(Redis(Arc::new(Inner {
            link: Link::new(client, sentinels, self.timeout, self.allow_eviction, keys.hub()),
            keys,
            scripts: Scripts::new(),
            tombstones: self.tombstones,
            window: self.window,
            held: OfAll::default(),
            pages: Semaphore::new(PAGES),
            known: Mutex::new(Cursor { epoch: UNKNOWN, offset: Offset::START }),
            said: Mutex::new(Said::default()),
        })))
    }

    /// Returns how to connect to the master, and the sentinels to ask where it is.
    fn info(&self) -> Result<(ConnectionInfo, Option<Sentinels>), RedisError> {
        let (info, sentinels) = match sentinel::Url::read(&self.url) {
            None => (self.url.as_str().into_connection_info()?, None),
            Some(url) => {
                let sentinel::Url { sentinels, service, master } = url?;
                let sentinels = sentinels.into_iter().map(|info| with_credentials(info, &self.sentinel_credentials));
                (master, Some(Sentinels::new(sentinels.collect(), service)?))
            }
        };
        Ok((with_credentials(info, &self.credentials), sentinels))
    }
}

fn with_credentials(info: ConnectionInfo, credentials: &Option<(String, String)>) -> ConnectionInfo {
    let Some((user, password)) = credentials else { return info };
    let settings = info.redis_settings().clone().set_username(user).set_password(password);
    info.set_redis_settings(settings)
}

impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("tombstones", &self.tombstones)
            .field("idempotency_window", &self.window)
            .field("allow_eviction", &self.allow_eviction)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn urls_of_every_kind_are_taken() {
        let settings = |url: &str| {
            let (info, _) = Redis::builder(url).info().unwrap();
            let redis = info.redis_settings();
            let text = |text: Option<&str>| text.unwrap_or("none").to_string();
            (info.addr().to_string(), redis.db(), text(redis.username()), text(redis.password()))
        };
        let expected = |addr: &str, db, user: &str, password: &str| (addr.into(), db, user.into(), password.into());
        assert_eq!(settings("redis://127.0.0.1"), expected("127.0.0.1:6379", 0, "none", "none"));
        assert_eq!(settings("redis://a:b%40@h:1/2"), expected("h:1", 2, "a", "b@"));
        assert_eq!(settings("valkey://:b@[::1]"), expected("::1:6379", 0, "none", "b"));
        if cfg!(unix) {
            assert_eq!(settings("unix:///run/redis.sock?db=3&user=a&pass=b"), expected("/run/redis.sock", 3, "a", "b"));
        }
        for url in ["rediss://h", "VALKEYS://h", "rediss+sentinel://h/s"] {
            let refused = Redis::new(url).err();
            assert_eq!(refused.is_none(), cfg!(feature = "redis-tls"));
            let names_it = |error: BackendError| error.source().unwrap().to_string().contains("`redis-tls`");
            assert!(refused.is_none_or(names_it), "{url}");
        }
    }

    #[test]
    fn what_can_not_be_used_is_an_error_when_it_is_built() {
        for url in ["", "redis://", "http://h", "redis://h/x", "redis://h:x", "redis+sentinel://h"] {
            assert!(Redis::new(url).is_err(), "{url:?}");
        }
        for prefix in ["", "{", "a}"] {
            let error = Redis::builder("redis://h").prefix(prefix).build().unwrap_err();
            assert!(error.source().unwrap().to_string().contains("prefix"), "{prefix:?}");
        }
    }

    #[test]
    fn nothing_shows_a_password() {
        let given = Redis::builder("redis://h").credentials("app", "s3cret");
        let texts = [
            "redis://app:s3cret@h",
            "http://app:s3cret@h",
            "redis://app:s3cret@h/x",
            "unix:///s?pass=s3cret",
            "redis+sentinel://:s3cret@h/s",
        ]
        .map(|url| format!("{:?} {:?}", Redis::builder(url), Redis::new(url)));
        for text in texts.iter().chain([&format!("{given:?} {:?}", given.clone().build())]) {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
