//! The settings of a backend in Redis.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{Client, ConnectionInfo, IntoConnectionInfo};

use super::{Inner, Redis, keys::Keys, link::Link, scripts::Scripts};
use crate::{
    error::BackendError,
    sync::{AtomicU64, Mutex},
};

/// The settings of a [`Redis`] backend.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_sse::Redis;
///
/// let redis = Redis::builder("rediss://redis.example:6380/2")?
///     .credentials("app", "s3cret")
///     .prefix("chat")
///     .timeout(Duration::from_secs(1))
///     .build()?;
/// # drop(redis);
/// # Ok::<_, tower_sse::BackendError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct RedisBuilder {
    info: ConnectionInfo,
    prefix: String,
    timeout: Duration,
    tombstones: Duration,
    window: Duration,
}

impl Redis {
    /// At a URL, with the defaults of [`RedisBuilder`]. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// As [`builder`](Self::builder).
    pub fn new(url: &str) -> Result<Self, BackendError> {
        Self::builder(url)?.build()
    }

    /// The settings, beginning with a URL: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS, which
    /// takes the feature `redis-tls`.
    ///
    /// # Errors
    ///
    /// If the URL is none of these.
    pub fn builder(url: &str) -> Result<RedisBuilder, BackendError> {
        let info = url.into_connection_info().map_err(BackendError::new)?;
        Ok(RedisBuilder {
            info,
            prefix: "tower-sse".into(),
            timeout: Duration::from_secs(2),
            tombstones: Duration::from_secs(24 * 3600),
            window: Duration::from_secs(300),
        })
    }
}

impl RedisBuilder {
    /// What all keys and push channels of this hub begin with, in braces; `tower-sse` by default. Hubs with different
    /// prefixes know nothing of each other.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The user and its password; those of the URL by default.
    pub fn credentials(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let settings = self.info.redis_settings().clone().set_username(user).set_password(password);
        self.info = self.info.set_redis_settings(settings);
        self
    }

    /// The number of the database; that of the URL by default, or 0.
    pub fn database(mut self, number: i64) -> Self {
        let settings = self.info.redis_settings().clone().set_db(number);
        self.info = self.info.set_redis_settings(settings);
        self
    }

    /// How long a connection may take to be made, and a command to be answered; 2 s by default. After that the connection is
    /// given up for a new one.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a channel is remembered after its last event was too old: by its marks a reader that comes back later gets
    /// a gap if, and only if, it missed something. After that everything that the hub had given by then counts as missed.
    /// One day by default; it takes some hundred bytes a channel.
    pub fn tombstones(mut self, lifetime: Duration) -> Self {
        self.tombstones = lifetime;
        self
    }

    /// For how long an [idempotency key](crate::Event::idempotency_key) is known; 5 minutes by default. It takes about 150
    /// bytes each.
    pub fn idempotency_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The backend. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// If the address can't be used: TLS takes the feature `redis-tls`.
    pub fn build(self) -> Result<Redis, BackendError> {
        let database = self.info.redis_settings().db();
        let client = Client::open(self.info).map_err(BackendError::new)?;
        Ok(Redis(Arc::new(Inner {
            link: Link::new(client, self.timeout),
            keys: Keys::new(&self.prefix, database),
            scripts: Scripts::new(),
            tombstones: self.tombstones,
            window: self.window,
            epoch: AtomicU64::new(0),
            said: Mutex::new((0, HashMap::new())),
        })))
    }
}
