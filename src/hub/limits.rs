//! Limits on how much a hub may hold.

/// Limits on everything in a hub that grows. How much history a channel holds is set by its
/// [`Retention`](crate::Retention).
///
/// ```
/// use tower_sse::{Limits, Publisher};
///
/// let publisher = Publisher::builder().limits(Limits::new().subscriptions(50_000)).build();
/// # drop(publisher);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "limits do nothing until they are set on a publisher"]
pub struct Limits {
    pub(crate) channels: usize,
    pub(crate) lanes: usize,
    pub(crate) subscriptions: usize,
    pub(crate) channels_per_subscription: usize,
    pub(crate) event_bytes: usize,
    pub(crate) batch_events: usize,
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
            batch_events: 1_000,
            hub_bytes: 256 << 20,
        }
    }
}

impl Limits {
    /// Creates the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of channels. The default is 100,000.
    ///
    /// A channel takes about 450 bytes, or about 1 KiB if it has events, plus the events themselves and its readers. A
    /// channel with neither events nor readers soon stops counting. At the limit, a publish to a new channel returns a
    /// [`PublishError`](crate::PublishError), and a reader of a new channel is told to reconnect later.
    pub fn channels(mut self, max: usize) -> Self {
        self.channels = max;
        self
    }

    /// Sets the maximum number of lanes of a channel. A channel has a lane for each client that is connected to it or
    /// for which it holds targeted events. The default is 100,000. At the limit, the same happens as with
    /// [`channels`](Self::channels).
    pub fn lanes(mut self, max: usize) -> Self {
        self.lanes = max;
        self
    }

    /// Sets the maximum number of subscriptions. The default is 100,000. At the limit, a reader is told to reconnect
    /// later. Subscriptions that are over do not count, even if their readers have not read the end, but all
    /// subscriptions together may be no more than twice this many.
    pub fn subscriptions(mut self, max: usize) -> Self {
        self.subscriptions = max;
        self
    }

    /// Sets the maximum number of channels of one subscription. The default is 100. A request for more is refused.
    /// Over HTTP it gets a 400, before the authorizer is called.
    pub fn channels_per_subscription(mut self, max: usize) -> Self {
        self.channels_per_subscription = max;
        self
    }

    /// Sets the maximum size of an event on the wire, in bytes. The default is 1 MiB, the maximum 1 GiB. Publishing a
    /// larger event returns a [`PublishError`](crate::PublishError).
    pub fn event_bytes(mut self, max: usize) -> Self {
        self.event_bytes = max.min(1 << 30);
        self
    }

    /// Sets the maximum number of events in a [`Batch`](crate::Batch). The default is 1,000. Together they may have
    /// four times as many bytes as [one event](Self::event_bytes). Publishing a larger batch returns a
    /// [`PublishError`](crate::PublishError).
    ///
    /// A batch is appended in one step. During that step nobody else publishes to its channel or reads it, and a store
    /// does nothing else.
    pub fn batch_events(mut self, max: usize) -> Self {
        self.batch_events = max;
        self
    }

    /// Sets the maximum memory of the hub in bytes, as its allocator counts them. The default is 256 MiB.
    ///
    /// Everything that grows counts: events, channels, the places of readers, lanes and their names, custom ids,
    /// idempotency keys, and what is remembered of events, clients and channels that are gone. The roughly 20 KB of an
    /// empty hub do not count. [`Stats::held_bytes`](crate::Stats::held_bytes) is what the hub takes now.
    ///
    /// - Above the limit, events are evicted until the hub is within the limit again: first those of channels that are
    ///   finished, then those of channels that are idle, with no reader and nothing published for about a minute, and
    ///   only then those of channels in progress; among these, the oldest first. Each publish evicts about as much as
    ///   it adds, but no more than about 500 events. If a large event takes the place of more of them, the rest is
    ///   evicted in the background and by the next publishes; until then the hub may be above its limit by about a
    ///   thirty-second part of it.
    /// - [Ephemeral](crate::Event::ephemeral) events take at most a sixteenth.
    /// - What is remembered of clients takes at most a quarter of the limit, and each channel has a share of it. A
    ///   channel above its share, or with more than 10,000 clients to remember, forgets the clients whose events were
    ///   evicted first. A forgotten client that resumes from before that may get a gap although it missed nothing.
    /// - What is remembered of dropped channels takes at most an eighth, and idempotency keys a sixteenth. The oldest
    ///   are forgotten.
    /// - What readers need cannot be evicted: their places, their lanes, their timers and records, and the channels that
    ///   they read. It takes at most half of the limit, or 512 KiB if that is more. Above it, a new reader is told to
    ///   reconnect later, as with [`subscriptions`](Self::subscriptions). With the default limits, each of 100,000
    ///   subscriptions can have a channel and a client of its own. A grant that expires takes about 200 bytes more, and
    ///   a [hook](crate::PublisherBuilder::on_close) 300.
    pub fn hub_bytes(mut self, max: usize) -> Self {
        self.hub_bytes = max;
        self
    }

    /// Returns how many bytes the events of a batch may have together.
    pub(crate) fn batch_bytes(&self) -> usize {
        4 * self.event_bytes
    }

    /// Returns how many bytes of the hub's memory readers may take.
    pub(crate) fn reader_bytes(&self) -> usize {
        (self.hub_bytes / 2).max(512 << 10)
    }
}
