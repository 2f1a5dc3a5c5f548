//! What the application publishes. The `encode` module turns it into its bytes on the wire.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    error::SerializeError,
    wire::{
        encode::write::DataWriter,
        except::Except,
        name::{ClientId, Comment, ConnectionId, CustomId, EventName, IdempotencyKey},
        traceparent::TraceParent,
    },
};

/// An event to publish: data, and optionally a name, a custom id, a reconnection time and a comment.
///
/// The data arrives in a browser as exactly the string you gave, except that every CR, LF and CRLF arrives as an LF.
/// The format can't carry the difference ([HTML, 9.2.6][spec]).
///
/// ```
/// use tower_sse::{Event, EventName};
///
/// # #[derive(serde::Serialize)]
/// # struct Token { token: &'static str }
/// let plain = Event::text("two\nlines");
/// let named = Event::json(&Token { token: "Hel" })?.name(EventName::from_static("agent.token"));
/// # Ok::<_, tower_sse::SerializeError>(())
/// ```
///
/// [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
#[derive(Clone)]
#[must_use = "an event does nothing until it is sent"]
pub struct Event {
    /// The `data:` lines as they go on the wire, each with its line feed.
    pub(crate) data: Vec<u8>,
    pub(crate) name: Option<EventName>,
    pub(crate) id: Option<CustomId>,
    pub(crate) retry: Option<Duration>,
    pub(crate) comment: Option<Comment>,
    /// Boxed, because few events have any of it, and an event with it inline is so large that moving it calls `memcpy`.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few events have.
#[derive(Clone, Default)]
pub(crate) struct Rare {
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) except: Option<Box<Except>>,
    pub(crate) is_ephemeral: bool,
    pub(crate) trace: Option<TraceParent>,
}

impl Event {
    /// Creates an event whose data is `text`. An empty string is data too: the event fires with `""`.
    pub fn text(text: impl AsRef<str>) -> Self {
        let text = text.as_ref().as_bytes();
        let mut data = DataWriter::with_capacity(text.len());
        data.push(text);
        Self::of(data)
    }

    /// Creates an event whose data is `value` as compact JSON, serialised straight into its wire form.
    ///
    /// # Errors
    ///
    /// Returns an error if `value`'s `Serialize` fails, or if `value` contains a map with keys that JSON can't have.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, SerializeError> {
        let mut data = DataWriter::with_capacity(128);
        serde_json::to_writer(&mut data, value).map_err(SerializeError)?;
        Ok(Self::of(data))
    }

    fn of(data: DataWriter) -> Self {
        Self { data: data.finish(), name: None, id: None, retry: None, comment: None, rare: None }
    }

    /// Sets the event's name, to which a page listens. The default is none, which a browser fires as `message`.
    pub fn name(mut self, name: EventName) -> Self {
        self.name = Some(name);
        self
    }

    /// Gives the event an id of your own. The default is the event's [`Cursor`](crate::Cursor).
    ///
    /// A reader that reconnects with this id resumes after the event as long as the event is held. After that, or if
    /// several of the reader's channels hold the id, the reader gets a gap.
    ///
    /// Keep ids unique for as long as readers may reconnect with them. Among the events that a channel holds for any
    /// one reader, which are its broadcasts and those for the reader's client, a second event with the same id is a
    /// [`PublishError`](crate::PublishError::is_duplicate_id). Events for different clients may share an id. Once the
    /// first event was evicted, you can use its id again, and the id then stands for the new event.
    pub fn id(mut self, id: CustomId) -> Self {
        self.id = Some(id);
        self
    }

    /// Tells the client how long to wait before it reconnects, from this event on. By default an event does not change
    /// that. The time is sent in whole milliseconds, at most 2,147,483,647 (24 days): a client that uses `setTimeout`
    /// would not wait at all for a longer time.
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }

    /// Sets a comment, which clients skip but which shows up in a traffic capture. The default is none.
    pub fn comment(mut self, comment: Comment) -> Self {
        self.comment = Some(comment);
        self
    }

    /// Makes it safe to publish the event again when you don't know whether the first attempt succeeded.
    ///
    /// A channel takes one event per key, for as long as it holds that event and for a window after it was published.
    /// Publishing the same key again changes nothing and returns the id of the first event, with [`Sent::repeated`](crate::Sent::repeated) set. The key does not go on the wire. By
    /// default, an event has none.
    ///
    /// In process, the window is five minutes, and of events that are no longer held, the hub remembers at most the last
    /// 16,384 keys. A remote backend sets its own window: that of `Redis` is five minutes by default.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Event, IdempotencyKey, Publisher};
    ///
    /// let orders = Publisher::new().channel("orders");
    /// let paid = Event::text("17 is paid").idempotency_key(IdempotencyKey::from_static("paid-17"));
    /// let first = orders.send(paid.clone()).await?;
    /// let again = orders.send(paid).await?;
    /// assert!(again.repeated && again.id == first.id);
    /// assert_eq!(orders.recent(9).len(), 1);
    /// # Ok::<_, tower_sse::PublishError>(())
    /// # }).unwrap();
    /// ```
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.rare.get_or_insert_default().key = Some(key);
        self
    }

    /// Leaves out a client: none of its connections gets the event, live or when they reconnect. Everybody else does.
    ///
    /// The excluded client does not learn that there was an event: it gets no bytes and no gap, and its own `first` and
    /// counts leave the event out. What remains visible is that the offsets in the ids of other events have a hole, as
    /// they have wherever something was published to another channel. There is one exception. A hub remembers the last
    /// 256 events with an exception that a channel has evicted, and the last 32 of a channel that was dropped; a client
    /// that reconnects from before all of them may get a gap. So may one that reconnects over a remote backend, to a node
    /// on which nobody has read the channel.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ClientId, Event, Publisher};
    ///
    /// let chat = Publisher::new().channel("chat");
    /// let ana = ClientId::from_static("ana");
    /// // Everybody but Ana gets this.
    /// chat.send(Event::text("Ana has joined").except(ana.clone())).await?;
    /// assert_eq!((chat.recent(9).len(), chat.recent_for(ana, 9).len()), (1, 0));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn except(mut self, client: ClientId) -> Self {
        self.exception().client = Some(client);
        self
    }

    /// Leaves out the connection that was opened under this id, as [`except`](Self::except) does a client.
    ///
    /// It is the way to "everybody but the tab that sent this", where a client may have several tabs. A page announces
    /// the id of its connection in the query (`?connection=..`), or your handler passes it to
    /// [`OpenOptions::connection`](crate::OpenOptions::connection). When the page sends something, it names the id again.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ConnectionId, Event, Publisher};
    ///
    /// async fn say(publisher: &Publisher, from: &str, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    ///     let tab = ConnectionId::try_from(from)?;
    ///     publisher.channel("chat").send(Event::text(text).except_connection(tab)).await?;
    ///     Ok(())
    /// }
    /// say(&Publisher::new(), "tab-7f3a", "hello").await?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn except_connection(mut self, connection: ConnectionId) -> Self {
        self.exception().connection = Some(connection);
        self
    }

    /// Makes the event one that is not history, for what only matters now: typing, presence, progress.
    ///
    /// Readers that are connected get it, in publish order with other events. It has no id, so a reader that reconnects
    /// resumes as if it had not been there. It is never replayed, not among [recent](crate::Channel::recent) events, and
    /// evicts no history. Without a reader it is gone at once. [`Sent::id`](crate::Sent::id) is that of the event before
    /// it. An [id](Self::id) or an [idempotency key](Self::idempotency_key) of your own has no effect on it, and neither
    /// has `ephemeral` on the [last event](crate::Channel::finish) of a channel.
    ///
    /// A reader that is behind may lose it. A channel holds the last 64 of them for its readers, or 64 KiB, and all
    /// channels of a hub together hold a sixteenth of [`Limits::hub_bytes`](crate::Limits::hub_bytes). What falls out of
    /// that is dropped for readers that did not get it yet, and counted in
    /// [`Stats::ephemeral_dropped`](crate::Stats::ephemeral_dropped). It is no gap.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Event, EventName, Publisher};
    ///
    /// const TYPING: EventName = EventName::from_static("typing");
    ///
    /// let chat = Publisher::new().channel("chat");
    /// chat.send(Event::text("Ana").name(TYPING).ephemeral()).await?;
    /// assert!(chat.recent(9).is_empty());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn ephemeral(mut self) -> Self {
        self.rare.get_or_insert_default().is_ephemeral = true;
        self
    }

    /// Says in which trace the event was published, so that whoever reads it can continue the trace. The default is none,
    /// unless the hub takes it [from the current context](crate::PublisherBuilder::traceparent_by).
    ///
    /// It is kept with the event, in its history and in every backend, and
    /// [`EncodedEvent::traceparent`](crate::EncodedEvent::traceparent) returns it: to a filter, a
    /// [`Transform`](crate::Transform), or a reader without a body. On the wire it is a comment of 70 bytes, such as
    /// `: traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`. An `EventSource` skips it; a client on
    /// `fetch` may read it. Clients thus learn the ids of the trace, which say nothing by themselves. To give the trace
    /// to a page, put it into the data.
    ///
    /// If a reader of a run comes late and gets several events merged into one, that one has no trace.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Event, Publisher, TraceParent};
    ///
    /// // Such as the header of the request that causes the event.
    /// let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
    /// let orders = Publisher::new().channel("orders");
    /// orders.send(Event::text("17 is paid").traceparent(parent)).await?;
    /// assert_eq!(orders.recent(1)[0].traceparent(), Some(parent));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn traceparent(mut self, parent: TraceParent) -> Self {
        self.rare.get_or_insert_default().trace = Some(parent);
        self
    }

    pub(crate) fn trace(&self) -> Option<TraceParent> {
        self.rare.as_ref()?.trace
    }

    pub(crate) fn is_ephemeral(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.is_ephemeral)
    }

    fn exception(&mut self) -> &mut Except {
        self.rare.get_or_insert_default().except.get_or_insert_default()
    }
}

/// An event with empty data.
impl Default for Event {
    fn default() -> Self {
        Self::text("")
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("retry", &self.retry)
            .field("comment", &self.comment)
            .field("key", &self.rare.as_ref().and_then(|rare| rare.key.as_ref()))
            .field("except", &self.rare.as_ref().and_then(|rare| rare.except.as_ref()))
            .field("ephemeral", &self.rare.as_ref().is_some_and(|rare| rare.is_ephemeral))
            .field("trace", &self.trace())
            .field("data_len", &self.data.len())
            .finish()
    }
}
