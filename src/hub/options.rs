//! How a subscription is opened: where a new reader starts, what a second connection of a client means, and limits.

use tokio::time::Instant;

use crate::wire::name::ConnectionId;

/// Where a reader without a last event id starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// Starts at the next event. If all channels are finished, starts at the events that are left in them, since
    /// nothing else will come. This is the default.
    #[default]
    Live,
    /// Starts at the earliest held event.
    Earliest,
    /// Starts at the first event that was ever published to the channel. If that event, or a later one that was for
    /// the reader, is no longer held, the reader first gets a [`Gap`](crate::Gap) whose reason is
    /// [evicted](crate::GapReason::Evicted), as if it resumed from before that event.
    ///
    /// A channel begins with its first event, and begins again after a [close](crate::Channel::close). A channel that
    /// was dropped so long ago that the hub has forgotten it counts as a new one.
    Whole,
    /// Starts at the last held events for the reader, at most this many.
    Last(usize),
}

/// What happens when a client connects to a channel that it is already connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Duplicates {
    /// Both connections stay. This is the default.
    #[default]
    Keep,
    /// The newer connection replaces the older one, which gets a `goodbye` that tells it not to reconnect.
    ///
    /// From then on, the older connection counts against no limit, even if it takes long to read its end. A client may
    /// have 16 such connections on a channel. If it has more, newer connections are refused until one of them is gone.
    Replace,
    /// The newer connection is refused. Over HTTP it is told to reconnect later, as at any connection limit.
    Refuse,
}

/// Options for opening a [`Subscription`](crate::Subscription), in the style of [`std::fs::OpenOptions`].
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
#[must_use = "options do nothing until a subscription is opened with them"]
pub struct OpenOptions {
    pub(crate) start: Start,
    pub(crate) duplicates: Duplicates,
    pub(crate) per_client: usize,
    pub(crate) per_channel: usize,
    pub(crate) connection: Option<ConnectionId>,
    /// Whether a channel has to exist.
    pub(crate) existing: bool,
    /// Only finds out what opening would give: the subscription replaces nobody, is not counted, and is meant to be
    /// dropped.
    pub(crate) probe: bool,
    /// When somebody asked for the stream, if that was before it is opened.
    pub(crate) asked: Option<Instant>,
    /// The crate reads for itself, so nobody is told of the subscription.
    pub(crate) is_own: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            start: Start::Live,
            duplicates: Duplicates::Keep,
            per_client: usize::MAX,
            per_channel: usize::MAX,
            connection: None,
            existing: false,
            probe: false,
            asked: None,
            is_own: false,
        }
    }
}

impl OpenOptions {
    /// How many connections of a client on a channel may be ended but not gone yet, if the client's connections are
    /// limited.
    pub(crate) const ENDED_PER_CLIENT: usize = 16;

    /// Creates the default options: a new reader starts live, and a client may connect any number of times.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where a reader without a last event id starts. The default is [`Start::Live`].
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets what happens when a client connects to a channel again. The default is [`Duplicates::Keep`].
    pub fn duplicates(mut self, duplicates: Duplicates) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// Sets how many subscriptions one client may have on one channel. By default there is no limit. Subscriptions that
    /// were [disconnected](crate::Publisher::disconnect) or replaced don't count, within the bounds that
    /// [`Duplicates::Replace`] describes.
    pub fn max_per_client(mut self, max: usize) -> Self {
        self.per_client = max;
        self
    }

    /// Sets how many subscriptions one channel may have. By default there is no limit other than the hub's
    /// [`Limits::subscriptions`](crate::Limits::subscriptions).
    pub fn max_per_channel(mut self, max: usize) -> Self {
        self.per_channel = max;
        self
    }

    /// Sets the id of the connection, so that an event can exclude it. The default is `None`.
    ///
    /// The layer reads it from the query (`?connection=..`). See
    /// [`Event::except_connection`](crate::Event::except_connection).
    pub fn connection(mut self, connection: impl Into<Option<ConnectionId>>) -> Self {
        self.connection = connection.into();
        self
    }

    /// Sets whether opening fails for a channel that has never had an event. The default is `false`.
    ///
    /// [`OpenError::is_absent`](crate::OpenError::is_absent) returns `true` for the error. Over HTTP, it is a 404. A
    /// channel exists from its first event or its [end](crate::Channel::finish) until it is
    /// [closed](crate::Channel::close), whether or not it still holds any event. A channel that was dropped so long
    /// ago that the hub has forgotten it does not exist. If the subscription has several channels, each of them has to
    /// exist.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ChannelName, Event, Grant, OpenOptions, Publisher};
    ///
    /// let publisher = Publisher::new();
    /// let open = || {
    ///     let grant = Grant::new([ChannelName::from_static("run-7")]);
    ///     OpenOptions::new().existing(true).open(&publisher, grant, None)
    /// };
    /// assert!(open().await.unwrap_err().is_absent());
    /// publisher.channel("run-7").send(Event::text("it begins")).await?;
    /// assert!(open().await.is_ok());
    /// # Ok::<_, tower_sse::PublishError>(())
    /// # }).unwrap();
    /// ```
    pub fn existing(mut self, existing: bool) -> Self {
        self.existing = existing;
        self
    }

    /// Returns the same options, for a subscription with which the crate reads for itself.
    #[cfg(feature = "runs")]
    pub(crate) fn own(self) -> Self {
        Self { is_own: true, ..self }
    }

    /// Returns the same options with `probe` set.
    pub(crate) fn probing(&self) -> Self {
        Self { probe: true, ..self.clone() }
    }
}
