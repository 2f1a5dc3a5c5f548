//! The write handle: what an application does with a hub, and how it opens a subscription.

mod access;
mod builder;
mod health;
#[cfg(feature = "inspect")]
mod inspect;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
mod metrics;
mod opening;
mod read;
mod traced;
#[cfg(feature = "runs")]
mod underlying;
mod writing;

use std::{fmt, sync::Arc, time::Duration};

pub use self::{builder::PublisherBuilder, health::Health, opening::Opening};
use crate::{
    backend::Connected,
    error::{BackendError, InvalidText},
    hub::{self, Grant, Hub, Limits, OpenOptions, Subscription},
    node::{self, remote::Remote},
    observe::Stats,
    sync::AtomicBool,
    wire::{
        encoded::EncodedEvent,
        name::{ChannelName, ClientId},
    },
};

/// A cloneable write handle to a hub. All clones, their [`Channel`]s, and the layers that hold one refer to the same
/// hub.
///
/// Once the last of them is dropped, nothing can be published any more. The remaining subscriptions read what is left
/// and end, either as at a [shutdown](Self::shutdown), or as [finished](crate::EndReason::Finished) if their channels
/// are finished. With a remote backend they continue, because other nodes may still publish.
///
/// To read, use an [`SseLayer`](crate::SseLayer) that holds a clone, or a [`Subscription`](crate::Subscription). A
/// publisher also works outside a runtime.
///
/// With a remote [backend](PublisherBuilder::backend), this is one node of several. The following span all nodes:
/// published events reach the readers of every node; [`Channel::close`], `disconnect` and
/// [`reauthorize`](Self::reauthorize) reach the connections of every node; and [`Channel::presence`] counts the
/// connections of every node. Everything else is local to this node: [`Sent::reached`](crate::Sent::reached),
/// [`Channel::recent`], `channels`, `connections`, `clients`, `shutdown` and `stats`. A node knows its own
/// connections, and only the part of the log that its own readers read. A node that only publishes has nothing to
/// report there.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use tower_sse::{Event, Publisher};
///
/// let publisher = Publisher::new();
/// publisher.channel("chat").send(Event::text("hello, all")).await?;
/// publisher.channel("chat").send_to("ana", Event::text("hello, Ana")).await?;
/// # Ok::<_, tower_sse::PublishError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Publisher {
    handle: Arc<Handle>,
}

/// The state that all publishers and channels of a hub share.
struct Handle {
    hub: Arc<Hub>,
    /// The hub's connection to a store, if the log lives in one.
    remote: Option<Arc<Remote>>,
    /// Whether a higher floor has said that the node is on its way out.
    draining: AtomicBool,
}

impl Drop for Handle {
    /// Ends the readers, because nothing can be published any more. With a remote backend other nodes may still
    /// publish, so the readers stay.
    fn drop(&mut self) {
        if self.remote.is_none() {
            self.hub.end_readers();
        }
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl Publisher {
    /// Creates a hub with the default settings of [`PublisherBuilder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder to configure a new hub.
    pub fn builder() -> PublisherBuilder {
        PublisherBuilder::default()
    }

    /// Returns a handle to a channel.
    ///
    /// Channels need not be created: the handle works whether or not anything was published to the channel, and a
    /// channel costs nothing before its first event or reader.
    ///
    /// Any text makes a handle, so that code which names a channel in place needs no `?`. If the text is not a valid
    /// name, [`Channel::name`] and all methods that send return an error. Every other method behaves as for a channel
    /// that does not exist, which has neither events nor readers. Likewise, a client id that is not valid is an error
    /// in the methods that send, and belongs to nobody in the others. To check names from outside early, convert them
    /// to a [`ChannelName`] or a [`ClientId`].
    ///
    /// ```
    /// use tower_sse::Publisher;
    ///
    /// let publisher = Publisher::new();
    /// assert_eq!(publisher.channel("chat").name().unwrap(), "chat");
    /// let not_valid = publisher.channel("two\nlines");
    /// assert!(not_valid.name().is_err() && not_valid.recent(10).is_empty());
    /// ```
    pub fn channel<N>(&self, name: N) -> Channel
    where
        N: TryInto<ChannelName>,
        N::Error: Into<InvalidText>,
    {
        Channel { handle: self.handle.clone(), name: name.try_into().map_err(Into::into), fence: None }
    }

    /// Returns the names of the channels that have a reader or an event, in no particular order. With a remote
    /// backend, these are the channels that have a reader on this node. The call visits every channel.
    pub fn channels(&self) -> Vec<ChannelName> {
        self.handle.hub.channels()
    }

    /// Returns the number of subscriptions on this node. A subscription that has ended does not count, even if its
    /// reader has not [read the end](Stats::lingering) yet.
    pub fn connections(&self) -> usize {
        self.handle.hub.seats.taken()
    }

    /// Shuts the hub down.
    ///
    /// From then on, publishes and subscriptions are refused. Every reader gets its remaining events, a `retry:` with
    /// a [random time](PublisherBuilder::reconnect), and the end of its stream. Returns `true` as soon as all readers
    /// are gone, or `false` if some are left when `grace` is over.
    ///
    /// Call this before or during a server's graceful shutdown. The server waits for open responses, which would
    /// otherwise never end. A reader whose socket is full is not polled, so the hub cannot end it; `grace` limits how
    /// long to wait for such readers.
    ///
    /// Nothing happens until the future is polled. The future needs a tokio runtime with time enabled.
    pub async fn shutdown(&self, grace: Duration) -> bool {
        self.handle.hub.shutdown(grace).await
    }

    /// Begins a [`shutdown`](Self::shutdown), without waiting for its end.
    #[cfg(feature = "server")]
    pub(crate) fn end_readers(&self) {
        self.handle.hub.end_readers();
    }

    /// Returns what the hub has done so far.
    pub fn stats(&self) -> Stats {
        self.handle.hub.stats()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.handle.hub.settings.limits
    }

    pub(crate) fn watch(&self) -> &hub::Watch {
        &self.handle.hub.settings.watch
    }

    pub(crate) fn reconnect_after(&self) -> Duration {
        self.handle.hub.reconnect_after()
    }

    pub(crate) fn meter(&self) -> &crate::meter::Meter {
        &self.handle.hub.meter
    }

    pub(crate) fn reconnect_after_at_least(&self, least: Duration) -> Duration {
        self.handle.hub.reconnect_after_at_least(least)
    }

    pub(crate) fn counters(&self) -> &crate::observe::Counters {
        &self.handle.hub.counters
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("stats", &self.stats()).finish()
    }
}

impl OpenOptions {
    /// Opens a subscription to what `grant` allows.
    ///
    /// A reader with a `last_event_id` starts after that event. Any other reader starts where [`start`](Self::start)
    /// says. An empty id counts as no id. An id that is unknown here results in a [`Gap`](crate::Gap), followed by
    /// everything that is held.
    ///
    /// The subscription misses no event that is published after this call, no matter how late you first read it. In
    /// process, the future is ready at once.
    ///
    /// # Errors
    ///
    /// Returns an error if a limit is reached, if the grant has expired or names no channel, if the hub is shutting
    /// down, if nothing will ever come, or if a remote backend does not answer. See the predicates of
    /// [`OpenError`](crate::OpenError).
    pub fn open(&self, publisher: &Publisher, grant: Grant, last_event_id: Option<&[u8]>) -> Opening {
        let (hub, requested) = (&publisher.handle.hub, last_event_id.filter(|id| !id.is_empty()));
        match &publisher.handle.remote {
            None => Opening::ready(hub::open(hub, self, grant, requested)),
            Some(remote) => Opening::loading(node::opening::open(hub, remote, self, grant, requested)),
        }
    }
}

impl Subscription {
    /// Opens a subscription with the default [`OpenOptions`]: it is live and starts with the next event.
    ///
    /// # Errors
    ///
    /// The same as [`OpenOptions::open`].
    pub fn open(publisher: &Publisher, grant: Grant) -> Opening {
        OpenOptions::new().open(publisher, grant, None)
    }
}

/// A handle to a channel, from [`Publisher::channel`].
#[derive(Clone)]
pub struct Channel {
    handle: Arc<Handle>,
    name: Result<ChannelName, InvalidText>,
    /// The fence that every append carries.
    fence: Option<u64>,
}

impl Channel {
    /// Returns the channel's name, or the error if the text that the handle was made from is not valid.
    pub fn name(&self) -> Result<&ChannelName, &InvalidText> {
        self.name.as_ref()
    }

    /// Returns the last `n` held broadcast events, oldest first.
    ///
    /// With a remote backend, this node holds no events of a channel that has no reader on it.
    /// [Open](OpenOptions::open) a subscription to get them from the store.
    pub fn recent(&self, n: usize) -> Vec<EncodedEvent> {
        let Ok(name) = &self.name else { return Vec::new() };
        self.handle.hub.recent(name, None, n)
    }

    /// Returns the last `n` held events for a client, both broadcast events and its own, oldest first. With a remote
    /// backend, the same restriction applies as to [`recent`](Self::recent).
    pub fn recent_for<C: TryInto<ClientId>>(&self, client: C, n: usize) -> Vec<EncodedEvent> {
        let (Ok(name), Ok(client)) = (&self.name, client.try_into()) else { return Vec::new() };
        self.handle.hub.recent(name, Some(&client), n)
    }

    /// Returns the number of connections to the channel on this node. [`presence`](Self::presence) counts those on all
    /// nodes.
    pub fn connections(&self) -> usize {
        let Ok(name) = &self.name else { return 0 };
        self.handle.hub.look_at(name, |state| state.readers.live()).unwrap_or(0)
    }

    /// Returns the clients that are connected to the channel on this node, each with its number of connections, in no
    /// particular order. If there are many, clients that connect or disconnect during the call may or may not be
    /// included.
    pub fn clients(&self) -> Vec<(ClientId, usize)> {
        let Ok(name) = &self.name else { return Vec::new() };
        let clients = self.handle.hub.registry.get(name).map(|shared| shared.clients().0);
        clients.unwrap_or_default().into_iter().collect()
    }

    /// Ends all connections to the channel, tells them not to reconnect, and forgets the channel's history.
    ///
    /// You can use the name again afterwards; a reader that reconnects with an earlier id gets a gap. A connection
    /// that also reads other channels ends as a whole. Returns the number of connections on this node. With a remote
    /// backend, connections on other nodes end too. A channel whose name is not valid has no connections.
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails. You may try again. In process, it never fails.
    pub async fn close(&self) -> Result<usize, BackendError> {
        match (&self.name, &self.handle.remote) {
            (Err(_), _) => Ok(0),
            (Ok(name), None) => Ok(self.handle.hub.close(name)),
            (Ok(name), Some(remote)) => remote.close(&self.handle.hub, name).await,
        }
    }

    /// Returns the number of connections to the channel on all nodes: for each client, and under `None` for
    /// connections without a client, in no particular order.
    ///
    /// In process, the answer is ready at once and exact. The exception: if there are many clients, some that connect
    /// or disconnect during the call may be missing. With a remote backend, the answer comes from the backend. It may
    /// lag by [`Presence::EVERY`](crate::backend::Presence::EVERY), or by three times that after a node was killed.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ChannelName, Grant, Publisher, Subscription};
    ///
    /// let publisher = Publisher::new();
    /// let reader = Subscription::open(&publisher, Grant::new([ChannelName::from_static("run")])).await.unwrap();
    /// // A worker can check whether anybody still wants what it produces.
    /// assert_eq!(publisher.channel("run").presence().await?, [(None, 1)]);
    /// # drop(reader);
    /// # Ok::<_, tower_sse::BackendError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails. In process, it never fails.
    pub async fn presence(&self) -> Result<Connected, BackendError> {
        match (&self.name, &self.handle.remote) {
            (Err(_), _) => Ok(Vec::new()),
            (Ok(name), None) => {
                Ok(self.handle.hub.registry.get(name).map(|shared| shared.present()).unwrap_or_default())
            }
            (Ok(name), Some(remote)) => remote.presence(name).await,
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish()
    }
}
