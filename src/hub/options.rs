//! How a subscription is opened: where a fresh reader starts, what a second connection of a client means, limits.

/// Where a reader starts that comes without a last event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// With the next event; on channels that are all finished with what is left of them, since nothing else will come. The
    /// default.
    #[default]
    Live,
    /// With the earliest event that is held.
    Earliest,
    /// With the last so many events that are held for it.
    Last(usize),
}

/// What happens when a client that is connected to a channel connects to it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Duplicates {
    /// Both connections stay. The default.
    #[default]
    Keep,
    /// The newer replaces the older; the older gets a `goodbye` and is told not to come back. From then on the older counts
    /// against no limit, although it may not read that for long. Of such connections a client may have 16 on a channel: with
    /// more, newer ones are refused until one of them is gone.
    Replace,
    /// The newer is refused, and over HTTP told to come back later, as at any connection limit.
    Refuse,
}

/// How to open a [`Subscription`](crate::Subscription), in the manner of [`std::fs::OpenOptions`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use tower_sse::{ChannelName, Grant, OpenOptions, Publisher, Start};
///
/// let publisher = Publisher::new();
/// let grant = Grant::new([ChannelName::from_static("chat")]);
/// let subscription = OpenOptions::new().start(Start::Last(10)).open(&publisher, grant, None).await?;
/// # Ok::<_, tower_sse::OpenError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    pub(crate) start: Start,
    pub(crate) duplicates: Duplicates,
    pub(crate) per_client: usize,
    pub(crate) per_channel: usize,
    /// Only finds out what opening would give: the subscription replaces nobody, is not counted, and is to be dropped.
    pub(crate) probe: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            start: Start::Live,
            duplicates: Duplicates::Keep,
            per_client: usize::MAX,
            per_channel: usize::MAX,
            probe: false,
        }
    }
}

impl OpenOptions {
    /// How many connections of a client on a channel may be ended and not gone yet, if its connections are limited.
    pub(crate) const ENDED_PER_CLIENT: usize = 16;

    /// A fresh reader starts live, a client may connect as often as it likes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where a reader without a last event id starts; [`Start::Live`] by default.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// What a second connection of a client to a channel means; [`Duplicates::Keep`] by default.
    pub fn duplicates(mut self, duplicates: Duplicates) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// How many subscriptions one client may have on one channel; without a limit by default. Those that were
    /// [disconnected](crate::Publisher::disconnect) or replaced don't count, but as [`Duplicates::Replace`] says.
    pub fn max_per_client(mut self, max: usize) -> Self {
        self.per_client = max;
        self
    }

    /// How many subscriptions one channel may have; without a limit by default but the hub's
    /// [`Limits::subscriptions`](crate::Limits::subscriptions).
    pub fn max_per_channel(mut self, max: usize) -> Self {
        self.per_channel = max;
        self
    }

    /// See `probe`.
    pub(crate) fn probing(&self) -> Self {
        Self { probe: true, ..self.clone() }
    }
}
