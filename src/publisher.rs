//! The write handle: what an application does with a hub, and how it opens a subscription to it.

mod builder;
mod opening;

use std::{fmt, sync::Arc, time::Duration};

use tokio::task::consume_budget;

pub use self::{builder::PublisherBuilder, opening::Opening};
use crate::{
    backend::Connected,
    error::{BackendError, InvalidText, PublishError, PublishErrorKind},
    hub::{self, Grant, Hub, Limits, OpenOptions, Sent, Subscription, end_client},
    node::{self, remote::Remote},
    observe::Stats,
    wire::{
        encode::EncodedEvent,
        event::Event,
        name::{ChannelName, ClientId},
    },
};

/// A hub's cloneable write handle. All clones are the same hub, and so are their [`Channel`]s and layers with one.
///
/// When the last of them is dropped, nothing can be published any more. Subscriptions that are left read what there is and
/// end, as at a [shutdown](Self::shutdown), or as [finished](crate::EndReason::Finished) if their channels are. With a remote
/// backend they go on: other nodes may still publish.
///
/// With a remote [backend](PublisherBuilder::backend) this is one node of several: what is published reaches the readers of
/// all, [`Channel::close`] ends them on all, and [`Channel::presence`] counts them on all. Everything else is of this node,
/// which knows its own connections, and of the log what its own readers read: [`Sent::reached`], [`Channel::recent`],
/// `channels`, `connections`, `clients`, `disconnect`, `shutdown` and `stats`. A node that only publishes has none of that.
///
/// It works outside of a runtime too. What reads is an [`SseLayer`](crate::SseLayer) with a clone of it, or a
/// [`Subscription`](crate::Subscription).
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

/// What all publishers and channels of a hub share.
struct Handle {
    hub: Arc<Hub>,
    /// The hub's side of a store, if that is where its log lives.
    remote: Option<Arc<Remote>>,
}

impl Drop for Handle {
    /// Nothing can be published any more, unless other nodes can.
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
    /// A new hub, with the defaults of [`PublisherBuilder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A new hub's settings.
    pub fn builder() -> PublisherBuilder {
        PublisherBuilder::default()
    }

    /// A channel's handle. It is there whether or not anything was published to it; what it costs begins with its first
    /// event or reader. A name that is not valid is an error of what is sent, and otherwise the name of a channel that
    /// there never is.
    pub fn channel<N>(&self, name: N) -> Channel
    where
        N: TryInto<ChannelName>,
        N::Error: Into<InvalidText>,
    {
        Channel { handle: self.handle.clone(), name: name.try_into().map_err(Into::into) }
    }

    /// The names of the channels that have a reader or an event, in no order; with a remote backend of those that have a
    /// reader on this node. It looks at all of them.
    pub fn channels(&self) -> Vec<ChannelName> {
        self.handle.hub.channels()
    }

    /// How many subscriptions there are, on this node. One that is over does not count, even if its reader has not
    /// [read that](Stats::lingering) yet.
    pub fn connections(&self) -> usize {
        self.handle.hub.seats.taken()
    }

    /// Ends all connections of a client to this node, and tells them not to come back: they get a `goodbye`, and a browser that
    /// reconnects all the same gets a 204. Says how many, a connection to several channels once for each. It looks at all
    /// channels. To keep the client away is the authorizer's part.
    pub fn disconnect<C>(&self, client: C) -> usize
    where
        C: TryInto<ClientId>,
    {
        client.try_into().map_or(0, |client| self.handle.hub.disconnect(&client))
    }

    /// Ends the hub: from now on publishes and subscriptions are refused, and every reader gets what is left for it, a
    /// `retry:` with a [random time](PublisherBuilder::reconnect), and the end of its stream. Returns when all readers are
    /// gone, or when `grace` is over; says whether they are gone.
    ///
    /// Called before or while a server shuts down gracefully, it lets that finish: a server waits for open responses, and
    /// these would never end. A reader whose socket is full is not polled and can't be ended from here, which is what
    /// `grace` is for.
    ///
    /// Nothing happens until the future is polled. Needs a tokio runtime with time.
    pub async fn shutdown(&self, grace: Duration) -> bool {
        self.handle.hub.shutdown(grace).await
    }

    /// What the hub has done so far.
    pub fn stats(&self) -> Stats {
        self.handle.hub.stats()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.handle.hub.settings.limits
    }

    pub(crate) fn reconnect_after(&self) -> Duration {
        self.handle.hub.reconnect_after()
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
    /// Opens a subscription to what `grant` allows: after `last_event_id` if the reader comes back with one, and where
    /// [`start`](Self::start) says otherwise. An id that is empty is none; one that means nothing here gives a
    /// [`Gap`](crate::Gap) and everything that is held.
    ///
    /// Events published from here on are not missed, however late the subscription is read first. In process the future is
    /// ready at once.
    ///
    /// # Errors
    ///
    /// If a limit is reached, the grant has expired or names no channel, the hub shuts down, nothing will ever come, or a
    /// remote backend does not answer: see the predicates of [`OpenError`](crate::OpenError).
    pub fn open(&self, publisher: &Publisher, grant: Grant, last_event_id: Option<&[u8]>) -> Opening {
        let (hub, requested) = (&publisher.handle.hub, last_event_id.filter(|id| !id.is_empty()));
        match &publisher.handle.remote {
            None => Opening::ready(hub::open(hub, self, grant, requested)),
            Some(remote) => Opening::loading(node::opening::open(hub, remote, self, grant, requested)),
        }
    }
}

impl Subscription {
    /// Opens a subscription with the default [`OpenOptions`]: live, from the next event on.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn open(publisher: &Publisher, grant: Grant) -> Opening {
        OpenOptions::new().open(publisher, grant, None)
    }
}

/// A channel's handle, from [`Publisher::channel`].
#[derive(Clone)]
pub struct Channel {
    handle: Arc<Handle>,
    name: Result<ChannelName, InvalidText>,
}

impl Channel {
    /// Sends an event to everyone who reads the channel, and who comes back within its [`Retention`](crate::Retention).
    ///
    /// It never waits for a reader. In process it waits for nothing: it is ready when it is first polled, unless the task has
    /// used up its [cooperative budget](tokio::task::coop), so that one which sends in a loop lets others run. It yields before
    /// it publishes, never after. Code that is not async can poll it once within
    /// [`unconstrained`](tokio::task::coop::unconstrained). A remote backend acknowledges it.
    ///
    /// In a runtime of several threads a task wakes the readers beyond the first 65; elsewhere they are woken before this
    /// returns.
    ///
    /// # Errors
    ///
    /// If the channel's name is not valid or it is finished, the event is too large or its custom id is held already, a
    /// limit is reached, or the hub shuts down: see the predicates of [`PublishError`]. Then nobody gets it. If a remote
    /// backend [does not answer](PublishError::is_unavailable) it is not known whether somebody does.
    pub async fn send(&self, event: Event) -> Result<Sent, PublishError> {
        self.publish(None, event, false).await
    }

    /// Sends an event to the connections of one client on the channel, now and when it comes back, and to nobody else.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), or if the client's id is not valid.
    pub async fn send_to<C>(&self, client: C, event: Event) -> Result<Sent, PublishError>
    where
        C: TryInto<ClientId>,
        C::Error: Into<InvalidText>,
    {
        match client.try_into() {
            Ok(client) => self.publish(Some(&client), event, false).await,
            Err(error) => {
                self.handle.hub.counters.publish_refused.add(1);
                Err(PublishError::from(error.into()))
            }
        }
    }

    /// Sends the channel's last event, and closes it for others in the same step. Its readers get the rest and the end of
    /// their stream; who comes later gets what is still held and the end, and after that a 204, on which a browser stops
    /// reconnecting. A finished channel is forgotten some time after its last event; [`close`](Self::close) forgets it
    /// at once.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn finish(&self, event: Event) -> Result<Sent, PublishError> {
        self.publish(None, event, true).await
    }

    async fn publish(&self, target: Option<&ClientId>, event: Event, last: bool) -> Result<Sent, PublishError> {
        let sent = match (&self.name, &self.handle.remote) {
            (Err(error), _) => Err(PublishErrorKind::InvalidText(error.clone()).into()),
            (Ok(name), None) => {
                // Before it is published, so that nothing was if the caller gives up here.
                consume_budget().await;
                self.handle.hub.publish(name, target, event, last)
            }
            // Boxed, or the future of each publish in process would have its size.
            (Ok(name), Some(remote)) => Box::pin(remote.publish(&self.handle.hub, name, target, event, last)).await,
        };
        if sent.is_err() {
            self.handle.hub.counters.publish_refused.add(1);
        }
        sent
    }

    /// The last `n` broadcast events that are held, oldest first. With a remote backend none is held here of a channel that
    /// has no reader on this node; [open](OpenOptions::open) one to get them from the store.
    pub fn recent(&self, n: usize) -> Vec<EncodedEvent> {
        let Ok(name) = &self.name else { return Vec::new() };
        self.handle.hub.recent(name, None, n)
    }

    /// The last `n` events that are held for a client, broadcasts and its own, oldest first; where, as
    /// [`recent`](Self::recent) says.
    pub fn recent_for<C: TryInto<ClientId>>(&self, client: C, n: usize) -> Vec<EncodedEvent> {
        let (Ok(name), Ok(client)) = (&self.name, client.try_into()) else { return Vec::new() };
        self.handle.hub.recent(name, Some(&client), n)
    }

    /// How many connections read the channel on this node. [`presence`](Self::presence) counts those on all.
    pub fn connections(&self) -> usize {
        let Ok(name) = &self.name else { return 0 };
        self.handle.hub.look_at(name, |state| state.readers.live()).unwrap_or(0)
    }

    /// The clients that are connected to the channel on this node, and with how many connections each; in no order. Where there
    /// are many, those that come or go meanwhile may be in it or not.
    pub fn clients(&self) -> Vec<(ClientId, usize)> {
        let Ok(name) = &self.name else { return Vec::new() };
        let clients = self.handle.hub.registry.get(name).map(|shared| shared.clients().0);
        clients.unwrap_or_default().into_iter().collect()
    }

    /// Ends the connections of a client on this channel, as [`Publisher::disconnect`] does on all. Says how many.
    pub fn disconnect<C: TryInto<ClientId>>(&self, client: C) -> usize {
        let (Ok(name), Ok(client)) = (&self.name, client.try_into()) else { return 0 };
        self.handle.hub.registry.get(name).map_or(0, |shared| end_client(&shared, &client))
    }

    /// Ends all connections to the channel, which are told not to come back, and forgets its history. The name can be
    /// used anew; a reader that comes back with an id of before gets a gap. A connection that reads other channels too ends
    /// whole. Says how many connections there were on this node; with a remote backend those of others end too. A channel
    /// whose name is not valid has none.
    ///
    /// # Errors
    ///
    /// If a remote backend fails. To try again is right. In process there are none.
    pub async fn close(&self) -> Result<usize, BackendError> {
        match (&self.name, &self.handle.remote) {
            (Err(_), _) => Ok(0),
            (Ok(name), None) => Ok(self.handle.hub.close(name)),
            (Ok(name), Some(remote)) => remote.close(&self.handle.hub, name).await,
        }
    }

    /// Who is connected to the channel, on all nodes: each client, and `None` for those without one, with the number of its
    /// connections; in no order. With a remote backend it is asked, and may lag by
    /// [`Presence::EVERY`](crate::backend::Presence::EVERY), by three times that after a node was killed. In process it is
    /// ready at once, and exact; only of those that come or go while it looks at many some may be missing.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ChannelName, Grant, Publisher, Subscription};
    ///
    /// let publisher = Publisher::new();
    /// let reader = Subscription::open(&publisher, Grant::new([ChannelName::from_static("run")])).await.unwrap();
    /// // So that a worker knows whether anybody still wants what it makes.
    /// assert_eq!(publisher.channel("run").presence().await?, [(None, 1)]);
    /// # drop(reader);
    /// # Ok::<_, tower_sse::BackendError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If a remote backend fails. In process there are none.
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
