//! Reading a channel without a subscription.

use super::Channel;
use crate::{
    error::BackendError,
    hub::{ChannelState, Info, Page},
    wire::{
        cursor::{EventId, Offset},
        name::ClientId,
    },
};

impl Channel {
    /// Reads up to `limit` held events after `after` that are for everybody, oldest first. `after` is a
    /// [`Cursor`](crate::Cursor), such as the [`Page::next`] of the previous page, or an [`EventId`]. With `None`,
    /// reads from the first event on, and returns a [gap](Page::gap) if the beginning is gone.
    ///
    /// The call takes no place and is no subscription: it does not appear as a reader, and no limit on readers counts
    /// it. To follow the channel, open a subscription with the [`next`](Page::next) of the last page as its last event
    /// id; the subscription misses nothing. [Ephemeral](crate::Event::ephemeral) events are not read.
    ///
    /// In process, the future is ready at once. With a remote backend, the call reads from the store, no matter what
    /// this node holds, in one or a few round trips. A page that begins where events are missing reads the whole
    /// channel.
    ///
    /// A gap is told once: a page that goes on from [`next`](Page::next) has a gap only if more is gone meanwhile. There
    /// is one exception, with a remote backend that has lost its last events: if a page has a gap for
    /// [another epoch](crate::GapReason::OtherEpoch) and its limit leaves events of that epoch for the next page, these are
    /// gone as soon as the channel gets another event. The next page then has a gap too, even if none of them were for the
    /// reader.
    ///
    /// A channel whose name is not valid reads as one that does not exist.
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails. In process, it never fails.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Event, Publisher};
    ///
    /// let chat = Publisher::new().channel("chat");
    /// for text in ["one", "two", "three"] {
    ///     chat.send(Event::text(text)).await?;
    /// }
    /// let first = chat.read(None, 2).await?;
    /// assert_eq!(first.events[1].data(), "two");
    /// assert!(!first.caught_up && first.gap.is_none());
    ///
    /// let second = chat.read(first.next, 2).await?;
    /// assert_eq!(second.events[0].data(), "three");
    /// assert!(second.caught_up && !second.finished);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub async fn read(&self, after: impl Into<Option<EventId>>, limit: usize) -> Result<Page, BackendError> {
        self.read_page(None, after.into(), limit).await
    }

    /// Does the same as [`read`](Self::read) for a client: reads the events for everybody and the client's own. A
    /// client id that is not valid belongs to nobody.
    ///
    /// # Errors
    ///
    /// The same as [`read`](Self::read).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Event, Publisher};
    ///
    /// let chat = Publisher::new().channel("chat");
    /// chat.send_to("ana", Event::text("for Ana")).await?;
    /// assert_eq!(chat.read_for("ana", None, 10).await?.events.len(), 1);
    /// assert_eq!(chat.read(None, 10).await?.events.len(), 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub async fn read_for<C: TryInto<ClientId>>(
        &self,
        client: C,
        after: impl Into<Option<EventId>>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let client = client.try_into().ok();
        self.read_page(client.as_ref(), after.into(), limit).await
    }

    async fn read_page(
        &self,
        client: Option<&ClientId>,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let after = after.as_ref();
        match (&self.name, &self.handle.remote) {
            (Err(_), _) => Ok(Page::empty(self.handle.hub.cursor(Offset::START))),
            (Ok(name), None) => Ok(self.handle.hub.read(name, client, after, limit)),
            (Ok(name), Some(remote)) => remote.read(&self.handle.hub, name, client, after, limit).await,
        }
    }

    /// Returns the state of the channel: whether it exists and is finished, its first and last event, and how much it
    /// holds.
    ///
    /// In process, the future is ready at once. With a remote backend, the answer comes from the store, no matter what
    /// this node holds. A channel whose name is not valid is absent.
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails. In process, it never fails.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ChannelState, Event, Publisher};
    ///
    /// let run = Publisher::new().channel("run-7");
    /// assert_eq!(run.info().await?.state, ChannelState::Absent);
    /// run.finish(Event::text("42")).await?;
    /// let info = run.info().await?;
    /// assert_eq!((info.state, info.events), (ChannelState::Finished, 1));
    /// assert_eq!(info.last_event.unwrap().data(), "42");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub async fn info(&self) -> Result<Info, BackendError> {
        match (&self.name, &self.handle.remote) {
            (Err(_), _) => Ok(Info::empty(ChannelState::Absent, None)),
            (Ok(name), None) => Ok(self.handle.hub.info(name)),
            (Ok(name), Some(remote)) => remote.info(&self.handle.hub, name).await,
        }
    }
}
