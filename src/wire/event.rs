//! What the application publishes. Its bytes on the wire are made in `encode`.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    error::SerializeError,
    wire::{
        encode::write::DataWriter,
        name::{Comment, CustomId, EventName, IdempotencyKey},
    },
};

/// An event to publish: data, and optionally a name, a custom id, a reconnection time and a comment.
///
/// The data arrives in a browser as exactly the string that was given, except that every CR, LF and CRLF arrives as LF,
/// which is all that the format can carry ([HTML, 9.2.6][spec]).
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
    /// Few have one. With it in place an event would be moved by calls of `memcpy`.
    pub(crate) key: Option<Box<IdempotencyKey>>,
}

impl Event {
    /// An event whose data is `text`. The empty string is data too: the event fires, with `""`.
    pub fn text(text: impl AsRef<str>) -> Self {
        let text = text.as_ref().as_bytes();
        let mut data = DataWriter::with_capacity(text.len());
        data.push(text);
        Self::of(data)
    }

    /// An event whose data is `value` as compact JSON, serialised straight into its wire form.
    ///
    /// # Errors
    ///
    /// If `value`'s `Serialize` fails, or it has a map with keys that JSON can't have.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, SerializeError> {
        let mut data = DataWriter::with_capacity(128);
        serde_json::to_writer(&mut data, value).map_err(SerializeError)?;
        Ok(Self::of(data))
    }

    fn of(data: DataWriter) -> Self {
        Self { data: data.finish(), name: None, id: None, retry: None, comment: None, key: None }
    }

    /// Names the event; without a name a browser calls it `message`.
    pub fn name(mut self, name: EventName) -> Self {
        self.name = Some(name);
        self
    }

    /// Gives the event an id of the application's own instead of the log's cursor. A reader that comes back with it
    /// resumes after it as long as the event is held; later, or if several of its channels hold the id, it gets a gap.
    ///
    /// Among the events that a channel holds for the same readers an id has to be unique, or the publish is an error.
    /// One that is used anew after its first event was evicted means the new event: let ids be unique for as long as
    /// readers may come back with them.
    pub fn id(mut self, id: CustomId) -> Self {
        self.id = Some(id);
        self
    }

    /// Tells the client to wait this long before it reconnects, from now on. In whole milliseconds, at most 2,147,483,647
    /// (24 days): clients that use `setTimeout` would not wait at all for longer.
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }

    /// Adds a comment, which clients skip and people see in a capture.
    pub fn comment(mut self, comment: Comment) -> Self {
        self.comment = Some(comment);
        self
    }

    /// Makes it safe to publish the event again when it is not known whether it was: within a window, five minutes by
    /// default, a channel takes one event of each key. The same again changes nothing and is answered with the id of the
    /// first, [`Sent::repeated`](crate::Sent::repeated). It does not go on the wire.
    ///
    /// In process a hub remembers the last 16,384 keys at most.
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
        self.key = Some(Box::new(key));
        self
    }
}

/// The event with empty data.
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
            .field("key", &self.key)
            .field("data_len", &self.data.len())
            .finish()
    }
}
