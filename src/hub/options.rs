//! How a subscription is opened: where a fresh reader starts, what a second connection of a client means, and limits.

use crate::wire::name::ConnectionId;

/// Where a reader without a last event id starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// At the next event. If all channels are finished, at what is left of them, since nothing else will come. This is
    /// the default.
    #[default]
    Live,
    /// At the earliest event that is held.
    Earliest,
    /// At the first event that was ever published to the channel. If it or an event after it that was for the reader is no
    /// longer held, the reader first gets a [`Gap`](crate::Gap) whose reason is
    /// [evicted](crate::GapReason::Evicted), as if it resumed from before that event.
    ///
    /// A channel begins with its first event, and again after a [close](crate::Channel::close). A channel that the hub has
    /// forgotten, because it was dropped long ago, counts as a new one.
    Whole,
    /// At the last events that are held for the reader, at most this many.
    Last(usize),
}

/// What happens when a client connects to a channel that it is already connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Duplicates {
    /// Both connections stay. This is the default.
    #[default]
    Keep,
    /// The newer connection replaces the older one, which gets a `goodbye` and is told not to reconnect.
    ///
    /// The older connection counts against no limit from then on, although it may take long to read its end. A client
    /// may have 16 such connections on a channel; with more, newer connections are refused until one of them is gone.
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
    /// Whether a channel has to be there.
    pub(crate) existing: bool,
    /// Only find out what opening would give: the subscription replaces nobody, is not counted, and is meant to be
    /// dropped.
    pub(crate) probe: bool,
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
        }
    }
}

impl OpenOptions {
    /// How many connections of a client on a channel may have ended without being gone yet, if the client's connections
    /// are limited.
    pub(crate) const ENDED_PER_CLIENT: usize = 16;

    /// Creates the default options: a fresh reader starts live, and a client may connect any number of times.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where a reader without a last event id starts. The default is [`Start::Live`].
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets what a second connection of a client to a channel means. The default is [`Duplicates::Keep`].
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

    /// Sets the id of the connection, so that events can leave it out. The default is `None`.
    ///
    /// The layer reads it from the query (`?connection=..`). See
    /// [`Event::except_connection`](crate::Event::except_connection).
    pub fn connection(mut self, connection: impl Into<Option<ConnectionId>>) -> Self {
        self.connection = connection.into();
        self
    }

    /// Refuses to open a channel that has never had an event, if `true`. The default is `false`.
    ///
    /// The error [says so](crate::OpenError::is_absent); over HTTP, it is a 404. A channel is there from its first event
    /// on, or from its [end](crate::Channel::finish) on, until it is [closed](crate::Channel::close), whether or not it still
    /// holds any event. One that was dropped so long ago that the hub has forgotten it is not there. Of several channels,
    /// each has to be there.
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

    /// The same options with `probe` set.
    pub(crate) fn probing(&self) -> Self {
        Self { probe: true, ..self.clone() }
    }
}
