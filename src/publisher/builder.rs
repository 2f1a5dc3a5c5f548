//! The settings of a hub.

use std::{fmt, sync::Arc, time::Duration};

use super::{Handle, Publisher};
use crate::{
    backend::Backend,
    hub::{Closed, Hub, HubSettings, Limits, Opened},
    log::Retention,
    node::remote::Remote,
    sync::AtomicBool,
    wire::{name::ChannelName, traceparent::TraceParent},
};

/// Builds a hub and the first [`Publisher`] of it.
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
#[must_use = "a builder does nothing until `build` is called"]
pub struct PublisherBuilder {
    settings: HubSettings,
    retention: Set,
    /// Where the log lives, if not in process, and how long a call to it may take.
    backend: Option<Arc<dyn Backend>>,
    timeout: Duration,
}

/// The retention that was set on the builder.
#[derive(Clone, Copy)]
enum Set {
    /// No retention was set: the default applies, or what other nodes are set to.
    Nothing,
    /// The same retention for every channel.
    Of(Retention),
    /// A closure that depends on the channel's name.
    ByName,
}

impl Default for PublisherBuilder {
    fn default() -> Self {
        let settings = HubSettings::default();
        Self { settings, retention: Set::Nothing, backend: None, timeout: Duration::from_secs(5) }
    }
}

impl PublisherBuilder {
    /// Sets how much history each channel holds. The default is [`Retention::default`].
    ///
    /// With a remote [backend](Self::backend), the setting belongs to the hub, and the store remembers it. If nodes
    /// have different settings, the longest wins. A node without a setting, such as a worker, uses what the others are
    /// set to.
    pub fn retention(mut self, retention: Retention) -> Self {
        self = self.retention_by(move |_| retention);
        self.retention = Set::Of(retention);
        self
    }

    /// Sets how much history a channel holds, depending on its name. The closure is called each time the channel comes
    /// into being, which may happen more than once.
    ///
    /// With a remote [backend](Self::backend), configure all nodes alike: the store can't know the setting before a
    /// node that has it publishes to the channel or reads it.
    pub fn retention_by(mut self, retention: impl Fn(&ChannelName) -> Retention + Send + Sync + 'static) -> Self {
        self.settings.retention = Box::new(retention);
        self.retention = Set::ByName;
        self
    }

    /// Sets how much the hub may hold. The default is [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Sets the range of the random time after which readers that are sent away, by a shutdown or a limit, are told to
    /// reconnect. The default is 1 s to 5 s.
    ///
    /// If `max` is below `min`, the time is `min`. Times are sent in whole milliseconds, at most 2,147,483,647 (24
    /// days).
    pub fn reconnect(mut self, min: Duration, max: Duration) -> Self {
        self.settings.reconnect = (min, max);
        self
    }

    /// Calls `hook` for each stream that opens. By default, there is no hook.
    ///
    /// A stream is a [`Subscription`](crate::Subscription), whether the layer, your own handler or a run serves it, or you
    /// read it without a body. A request that is refused opens no stream.
    ///
    /// If you add several hooks, they are called in that order. A hook runs in the task that opens the stream, without a
    /// lock, so it delays only this stream. It must not block: for anything slow, spawn a task, or send a message to one. A
    /// panic in a hook is caught, and the stream continues.
    ///
    /// ```
    /// use tower_sse::{Publisher, Resumed};
    ///
    /// let publisher = Publisher::builder()
    ///     .on_open(|opened| {
    ///         if let Resumed::Gap(reason) = opened.resumed {
    ///             println!("{:?} has lost events of {:?}: {}", opened.client, opened.channels, reason.as_str());
    ///         }
    ///     })
    ///     .build();
    /// # drop(publisher);
    /// ```
    pub fn on_open(mut self, hook: impl Fn(&Opened) + Send + Sync + 'static) -> Self {
        self.settings.watch.on_open(hook);
        self
    }

    /// Calls `hook` once for each stream that has [opened](Self::on_open) and ends, for whatever reason. By default, there is
    /// no hook.
    ///
    /// The hook runs where the stream is dropped, usually in the task of its connection, and under the same rules as the
    /// hooks of `on_open`. The server drops a body as soon as it has read its end, or has noticed that the client has left.
    /// It may notice late that a client has vanished without closing its connection.
    ///
    /// With a hook, each stream takes about 300 bytes more, which count towards [`Limits::hub_bytes`], and each delivery a
    /// few additions.
    ///
    /// ```
    /// use tower_sse::Publisher;
    ///
    /// let publisher = Publisher::builder()
    ///     .on_close(|closed| {
    ///         let (channels, client) = (&closed.opened.channels, &closed.opened.client);
    ///         let ending = closed.ending.as_str();
    ///         println!("{channels:?} {client:?} {ending} after {:?}: {} events", closed.duration, closed.events);
    ///     })
    ///     .build();
    /// # drop(publisher);
    /// ```
    pub fn on_close(mut self, hook: impl Fn(&Closed) + Send + Sync + 'static) -> Self {
        self.settings.watch.on_close(hook);
        self
    }

    /// Sets where the trace of an event comes from that does not [say one](crate::Event::traceparent): `current` is called
    /// at each publish, once for each event, and returns the trace of the current context. By default, an event has only
    /// the trace that it says.
    ///
    /// The crate depends on no library for traces, so the closure asks yours. With the feature `tracing`, it is called
    /// in the span of the publish. Return `None` for a trace that is not sampled, since a trace takes 70 bytes in each
    /// event. A panic in the closure reaches the task that publishes.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use tower_sse::{Publisher, TraceParent};
    ///
    /// thread_local! {
    ///     /// Stands for the context of your library.
    ///     static CURRENT: Cell<Option<TraceParent>> = Cell::default();
    /// }
    ///
    /// let publisher = Publisher::builder().traceparent_by(|| CURRENT.get().filter(|trace| trace.is_sampled())).build();
    /// # drop(publisher);
    /// ```
    pub fn traceparent_by(mut self, current: impl Fn() -> Option<TraceParent> + Send + Sync + 'static) -> Self {
        self.settings.traceparent = Some(Box::new(current));
        self
    }

    /// Sets whether the span of a stream names its client. The default is `false`, since traces are often kept where
    /// names of people should not be.
    #[cfg(feature = "tracing")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
    pub fn trace_clients(mut self, trace: bool) -> Self {
        self.settings.watch.names_clients = trace;
        self
    }

    /// Sets where the log lives, for example in `Redis`. The default is in process.
    ///
    /// Hubs with the same backend act as one hub for publishers and readers, no matter how many processes they run in.
    /// Give all of them the same settings. For the amount of history, see [`retention`](Self::retention).
    ///
    /// With a backend, [`Limits`] apply to each node separately: to the channels that the node has readers of, and to
    /// the bytes that it mirrors of them. Only [`Retention`] bounds what the store holds.
    ///
    /// Publishing and opening then need a tokio runtime with time enabled. A publisher without readers runs no task.
    pub fn backend(mut self, backend: impl Backend) -> Self {
        self.backend = Some(Arc::new(backend));
        self
    }

    /// Sets how long a call to a remote [backend](Self::backend) may take. The default is 5 s. It has no effect in
    /// process.
    ///
    /// If a call takes longer, a publish returns an [error](crate::PublishError::is_unavailable), and a reader whose
    /// channel is not loaded yet is told to reconnect later.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the label `hub` of all metrics of this hub. By default they have no such label.
    ///
    /// Give a name to each hub if a process has several. Otherwise their counters add up, and each gauge shows whichever
    /// hub was recorded last.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn metrics_name(mut self, name: impl Into<String>) -> Self {
        self.settings.labels = crate::meter::Labels::of_hub(name.into());
        self
    }

    /// Creates the hub, and returns the first handle to it.
    pub fn build(self) -> Publisher {
        let Self { settings, retention, backend, timeout } = self;
        let (hub, remote) = match backend {
            None => (Arc::new(Hub::new(settings, None)), None),
            Some(backend) => {
                if let Set::Of(retention) = retention {
                    backend.hold(retention);
                }
                #[cfg(feature = "metrics")]
                let backend = crate::backend::measured::Measured::around(backend, &settings.labels);
                let (hub, remote) = Remote::connect(settings, backend, timeout, !matches!(retention, Set::Nothing));
                (hub, Some(remote))
            }
        };
        Publisher { handle: Arc::new(Handle { hub, remote, draining: AtomicBool::new(false) }) }
    }
}

impl fmt::Debug for PublisherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherBuilder").field("limits", &self.settings.limits).finish_non_exhaustive()
    }
}
