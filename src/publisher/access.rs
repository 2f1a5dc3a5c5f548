//! Revoking access: ending a client's connections on all nodes, and having them authorized again.

use std::time::Duration;

use super::{Channel, Handle, Publisher};
use crate::{error::BackendError, node::told::Told, wire::name::ClientId};

impl Publisher {
    /// Ends all of a client's connections, on all nodes, and returns how many there were on this node. A connection to
    /// several channels counts once for each.
    ///
    /// The connections are told not to reconnect: they get a `goodbye`, and a browser that reconnects anyway gets a
    /// 204. The call visits every channel.
    ///
    /// To keep the client away for good, first change what your authorizer bases its decision on, and then call this.
    /// Every connection that is open at the time of the call ends, and every request that the authorizer decides after
    /// the change is denied. One case remains: if the authorizer decided a request before the change and its
    /// connection opens after the call, that connection has the old grant. If your authorizer takes long to return,
    /// call this once more after that time.
    ///
    /// In process, the future is ready at once. With a remote backend, the connections to this node end at once, and
    /// those to other nodes end as soon as the backend has passed the call on. A node that is cut off from the backend
    /// at that moment does not learn of it. Where that matters, let grants [expire](crate::Grant::expires_in).
    ///
    /// # Errors
    ///
    /// Returns an error if a remote backend fails. The connections to this node have ended nevertheless, and those to
    /// other nodes may have. You may try again. In process, it never fails.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ChannelName, ClientId, Grant, Publisher, Subscription};
    ///
    /// let publisher = Publisher::new();
    /// let grant = Grant::new([ChannelName::from_static("chat")]).client(ClientId::from_static("ana"));
    /// let reader = Subscription::open(&publisher, grant).await.unwrap();
    /// assert_eq!(publisher.disconnect("ana").await?, 1);
    /// # drop(reader);
    /// # Ok::<_, tower_sse::BackendError>(())
    /// # }).unwrap();
    /// ```
    pub async fn disconnect<C: TryInto<ClientId>>(&self, client: C) -> Result<usize, BackendError> {
        let Ok(client) = client.try_into() else { return Ok(0) };
        self.handle.do_everywhere(Told::Disconnect(client, None)).await
    }

    /// Has a client's connections authorized again, on all nodes, and returns how many there were on this node. A
    /// connection to several channels counts once for each. Call this after you have changed what the client may read.
    /// As with [`disconnect`](Self::disconnect), a request that was decided before the change and opens after the call
    /// has the old grant; a second call finds it.
    ///
    /// A connection whose grant has a [recheck](crate::Grant::recheck) stays. It gets nothing more until the recheck
    /// has decided. It then continues with the channels that it may still read, or ends as
    /// [revoked](crate::EndReason::Revoked). Any other connection ends at once. It is told [when to
    /// reconnect](crate::PublisherBuilder::reconnect), returns through the authorizer with its last id, and misses
    /// nothing if it is admitted. The call visits every channel.
    ///
    /// Other nodes learn of the call as with [`disconnect`](Self::disconnect).
    ///
    /// # Errors
    ///
    /// The same as [`disconnect`](Self::disconnect).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use futures_util::StreamExt as _;
    /// use tower_sse::{ChannelName, ClientId, Denied, EndReason, Grant, Publisher, Subscription};
    ///
    /// let publisher = Publisher::new();
    /// let grant = Grant::new([ChannelName::from_static("chat")]).client(ClientId::from_static("ana"));
    /// let grant = grant.recheck(|| async { Err::<Grant, _>(Denied::forbidden()) });
    /// let mut reader = Subscription::open(&publisher, grant).await?;
    ///
    /// assert_eq!(publisher.reauthorize("ana").await?, 1);
    /// assert!(reader.next().await.is_none());
    /// assert_eq!(reader.end_reason(), Some(EndReason::Revoked));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub async fn reauthorize<C: TryInto<ClientId>>(&self, client: C) -> Result<usize, BackendError> {
        let Ok(client) = client.try_into() else { return Ok(0) };
        self.handle.do_everywhere(Told::Reauthorize(client)).await
    }
}

impl Channel {
    /// Ends a client's connections to this channel, as [`Publisher::disconnect`] does for all channels. Returns how
    /// many there were on this node.
    ///
    /// # Errors
    ///
    /// The same as [`Publisher::disconnect`].
    pub async fn disconnect<C: TryInto<ClientId>>(&self, client: C) -> Result<usize, BackendError> {
        let (Ok(name), Ok(client)) = (&self.name, client.try_into()) else { return Ok(0) };
        self.handle.do_everywhere(Told::Disconnect(client, Some(name.clone()))).await
    }
}

impl Channel {
    /// Waits until nobody has read the channel for `after`, on any node, counted from this call on. If a reader comes
    /// in the meantime, the wait starts again when the last reader leaves. A channel whose name is not valid has no
    /// readers.
    ///
    /// Use this to stop work that nobody waits for, and leave enough time for a client to reconnect. The future is
    /// cancel safe.
    ///
    /// In process, the future waits for readers to come and go. With a remote backend, it asks for the
    /// [presence](Self::presence) every [`Presence::EVERY`](crate::backend::Presence::EVERY), and takes that much
    /// longer, or three times that after a node was killed. While the backend does not answer, it keeps waiting. With
    /// a backend that does not [know](crate::backend::Backend::presence) who is connected to other nodes, only readers
    /// of this node count. The future needs a tokio runtime with time enabled.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_sse::{Channel, Event, PublishError};
    ///
    /// # async fn next_token() -> String { String::new() }
    /// async fn answer(run: Channel) -> Result<(), PublishError> {
    ///     let mut unread = std::pin::pin!(run.unread(Duration::from_secs(30)));
    ///     loop {
    ///         tokio::select! {
    ///             () = &mut unread => {
    ///                 run.finish(Event::text("nobody listened")).await?;
    ///                 return Ok(());
    ///             }
    ///             token = next_token() => run.send(Event::text(token)).await?,
    ///         };
    ///     }
    /// }
    /// ```
    pub async fn unread(&self, after: Duration) {
        match (&self.name, &self.handle.remote) {
            (Err(_), _) => tokio::time::sleep(after).await,
            (Ok(name), None) => self.handle.hub.unread(name, after).await,
            (Ok(name), Some(remote)) => remote.unread(&self.handle.hub, name, after).await,
        }
    }
}

impl Handle {
    /// Applies the call on this node, and passes it on to the others.
    async fn do_everywhere(&self, told: Told) -> Result<usize, BackendError> {
        let here = told.obey(&self.hub);
        if let Some(remote) = &self.remote {
            remote.tell(&told).await?;
        }
        Ok(here)
    }
}
