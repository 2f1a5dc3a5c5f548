//! A hub's settings.

use std::{fmt, sync::Arc, time::Duration};

use super::{Handle, Publisher};
use crate::{
    backend::Backend,
    hub::{Hub, HubSettings, Limits},
    log::Retention,
    node::remote::Remote,
    wire::name::ChannelName,
};

/// A hub's settings.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::{Limits, Publisher, Retention};
///
/// let publisher = Publisher::builder()
///     .retention_by(|channel| match channel.as_str() {
///         "news" => Retention::new().events(10_000).age(Duration::from_secs(86_400)),
///         _ => Retention::new(),
///     })
///     .limits(Limits::new().channels(10_000))
///     .build();
/// # drop(publisher);
/// ```
#[must_use]
pub struct PublisherBuilder {
    settings: HubSettings,
    retention: Set,
    /// Where the log lives, if that is elsewhere, and how long it is waited for.
    backend: Option<Arc<dyn Backend>>,
    timeout: Duration,
}

/// What the hub is to hold.
#[derive(Clone, Copy)]
enum Set {
    /// As the default has it, or as other nodes have it.
    Nothing,
    /// The same of every channel.
    Of(Retention),
    /// By a channel's name.
    ByName,
}

impl Default for PublisherBuilder {
    fn default() -> Self {
        let retention = Retention::default();
        let settings = HubSettings {
            limits: Limits::default(),
            retention: Box::new(move |_| retention),
            reconnect: (Duration::from_secs(1), Duration::from_secs(5)),
        };
        Self { settings, retention: Set::Nothing, backend: None, timeout: Duration::from_secs(5) }
    }
}

impl PublisherBuilder {
    /// How much each channel holds; [`Retention::default`] by default.
    ///
    /// With a remote [backend](Self::backend) it is the hub's, which the store remembers: where nodes are set to different ones,
    /// the longest wins, and a node that is not set at all, such as a worker, holds what the others are set to.
    pub fn retention(mut self, retention: Retention) -> Self {
        self = self.retention_by(move |_| retention);
        self.retention = Set::Of(retention);
        self
    }

    /// How much a channel holds, by its name. Asked when the channel comes into being, which may be again and again.
    ///
    /// With a remote [backend](Self::backend) the store can't know it before a node that is set so has published to the channel or
    /// read it: set all nodes to the same.
    pub fn retention_by(mut self, retention: impl Fn(&ChannelName) -> Retention + Send + Sync + 'static) -> Self {
        self.settings.retention = Box::new(retention);
        self.retention = Set::ByName;
        self
    }

    /// How much the hub may hold; [`Limits::default`] by default.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Readers that are sent away, by a shutdown or a limit, are told to reconnect after a random time between these; 1 s
    /// and 5 s by default. If `max` is below `min`, the time is `min`. In whole milliseconds, at most 2,147,483,647 (24 days).
    pub fn reconnect(mut self, min: Duration, max: Duration) -> Self {
        self.settings.reconnect = (min, max);
        self
    }

    /// Where the log lives, such as in `Redis`; in process by default. Hubs with the same backend, in as many processes as
    /// there are, are one hub to those who publish and read.
    ///
    /// Give all of them the same settings; for what they are to hold see [`retention`](Self::retention). [`Limits`] are then each
    /// node's own: of the channels that it has readers of, and of the bytes that it mirrors of them. What the store holds is
    /// bounded by [`Retention`] alone.
    ///
    /// Publishing and opening then need a tokio runtime with time; a publisher that nobody reads from runs no task.
    pub fn backend(mut self, backend: impl Backend) -> Self {
        self.backend = Some(Arc::new(backend));
        self
    }

    /// How long a call of a remote [backend](Self::backend) is waited for; 5 s by default. Then a publish is an
    /// [error](crate::PublishError::is_unavailable), and a reader whose channel is not loaded is told to come back later.
    /// In process nothing is waited for.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The hub, and its first handle.
    pub fn build(self) -> Publisher {
        let Self { settings, retention, backend, timeout } = self;
        let (hub, remote) = match backend {
            None => (Arc::new(Hub::new(settings, None)), None),
            Some(backend) => {
                if let Set::Of(retention) = retention {
                    backend.hold(retention);
                }
                let (hub, remote) = Remote::connect(settings, backend, timeout, !matches!(retention, Set::Nothing));
                (hub, Some(remote))
            }
        };
        Publisher { handle: Arc::new(Handle { hub, remote }) }
    }
}

impl fmt::Debug for PublisherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherBuilder").field("limits", &self.settings.limits).finish_non_exhaustive()
    }
}
