//! How much a hub may hold.

/// Bounds on everything of a hub that grows. How much history a channel holds is its
/// [`Retention`](crate::Retention).
///
/// ```
/// use tower_sse::{Limits, Publisher};
///
/// let publisher = Publisher::builder().limits(Limits::new().subscriptions(50_000)).build();
/// # drop(publisher);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(crate) channels: usize,
    pub(crate) lanes: usize,
    pub(crate) subscriptions: usize,
    pub(crate) channels_per_subscription: usize,
    pub(crate) event_bytes: usize,
    pub(crate) hub_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 100_000,
            lanes: 100_000,
            subscriptions: 100_000,
            channels_per_subscription: 100,
            event_bytes: 1 << 20,
            hub_bytes: 256 << 20,
        }
    }
}

impl Limits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many channels there may be; 100,000 by default. One costs some 400 bytes, and less than a KiB if it has events,
    /// besides these themselves and its readers; with neither of them it does not count for long. At the limit a publish
    /// to a new channel is a [`PublishError`](crate::PublishError), and a reader of one is told to come back later.
    pub fn channels(mut self, max: usize) -> Self {
        self.channels = max;
        self
    }

    /// How many clients a channel may have lanes for: those that are connected to it and those with targeted events that
    /// are held; 100,000 by default. At the limit it is as with `channels`.
    pub fn lanes(mut self, max: usize) -> Self {
        self.lanes = max;
        self
    }

    /// How many subscriptions there may be; 100,000 by default. At the limit a reader is told to come back later.
    pub fn subscriptions(mut self, max: usize) -> Self {
        self.subscriptions = max;
        self
    }

    /// How many channels one subscription may read; 100 by default. More are refused, over HTTP with a 400 and before the
    /// authorizer is asked about any of them.
    pub fn channels_per_subscription(mut self, max: usize) -> Self {
        self.channels_per_subscription = max;
        self
    }

    /// How many bytes an event may have on the wire; 1 MiB by default, and 1 GiB at most. A larger one is a
    /// [`PublishError`](crate::PublishError).
    pub fn event_bytes(mut self, max: usize) -> Self {
        self.event_bytes = max.min(1 << 30);
        self
    }

    /// How many bytes all channels together hold, counting 32 more for each event; 256 MiB by default. Above it the oldest
    /// events of the hub are evicted, whatever their channel, until a sixteenth is free.
    pub fn hub_bytes(mut self, max: usize) -> Self {
        self.hub_bytes = max;
        self
    }
}
