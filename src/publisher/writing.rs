//! Writes to a channel: one or several events, with or without a condition, and the channel's end.

use std::time::Duration;

use tokio::{runtime::Handle as Runtime, task::consume_budget, time::Instant};

use super::{
    Channel, Handle,
    traced::{all_traced, traced},
};
use crate::{
    error::{BackendError, InvalidText, PublishError, PublishErrorKind},
    hub::{Batch, Sent},
    meter::Started,
    trace::{Span, debug},
    wire::{
        cursor::Cursor,
        event::Event,
        name::{ChannelName, ClientId},
    },
};

impl Channel {
    /// Sends an event to everyone who reads the channel, and to everyone who reconnects within its
    /// [`Retention`](crate::Retention).
    ///
    /// The call never waits for a reader. In process, the future is ready when it is first polled, unless the task has
    /// used up its [cooperative budget](tokio::task::coop), so that a task that sends in a loop lets others run. The
    /// future yields before it publishes, never after. In code that is not async, poll it once within
    /// [`unconstrained`](tokio::task::coop::unconstrained). With a remote backend, the future is ready once the
    /// backend has acknowledged the event.
    ///
    /// In a multi-threaded runtime, a separate task wakes the readers after the first 65. Elsewhere, all readers are
    /// woken before this returns.
    ///
    /// # Errors
    ///
    /// Returns an error if the channel's name is not valid, the channel is finished, the event is too large, its
    /// custom id is already held, a limit is reached, or the hub is shutting down. See the predicates of
    /// [`PublishError`]. In these cases no reader gets the event. If a remote backend [does not
    /// answer](PublishError::is_unavailable), it is not known whether readers get it.
    pub async fn send(&self, event: Event) -> Result<Sent, PublishError> {
        self.publish(None, event, false).await
    }

    /// Sends an event to one client only: to its connections on the channel, now and when it reconnects.
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send), and also if the client id is not valid.
    pub async fn send_to<C>(&self, client: C, event: Event) -> Result<Sent, PublishError>
    where
        C: TryInto<ClientId>,
        C::Error: Into<InvalidText>,
    {
        match client.try_into() {
            Ok(client) => self.publish(Some(&client), event, false).await,
            Err(error) => self.count(self.handle.hub.meter.start(), Err(PublishError::from(error.into()))),
        }
    }

    /// Sends the channel's last event and finishes the channel in the same step, so that nothing more can be published
    /// to it.
    ///
    /// Its readers get their remaining events and the end of their stream. A reader that connects later gets the
    /// events that are still held and the end, and after that a 204, which makes a browser stop reconnecting. A
    /// finished channel is forgotten some time after its last event; [`close`](Self::close) forgets it at once.
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send).
    pub async fn finish(&self, event: Event) -> Result<Sent, PublishError> {
        self.publish(None, event, true).await
    }

    /// Sends several events in one step: all of them, or none if one of them is refused.
    ///
    /// The events get successive offsets. Readers get them in order, with no other event of the channel in between.
    /// With a remote backend, one round trip and one acknowledgement cover all of them. Returns what
    /// [`send`](Self::send) would have returned for each event, in order.
    ///
    /// A [`Batch`] can also address single clients, have a condition, or finish the channel. If an event's
    /// [idempotency key](Event::idempotency_key) was seen before, that event is left out and the others are sent. An
    /// empty batch does nothing.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Batch, Event, Publisher};
    ///
    /// let chat = Publisher::new().channel("chat");
    /// let sent = chat.send_all(["a", "few", "words"].map(Event::text)).await?;
    /// assert_eq!(sent.len(), 3);
    /// chat.send_all(Batch::new().event(Event::text("bye")).event_to("ana", Event::text("see you")).finish()).await?;
    /// assert!(chat.send(Event::text("more")).await.unwrap_err().is_finished());
    /// # Ok::<_, tower_sse::PublishError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send) for any of the events, and also if the batch is [too
    /// large](PublishError::is_too_large). If two of the events have the same custom id for the same reader, the error
    /// is a [duplicate](PublishError::is_duplicate_id).
    pub async fn send_all(&self, batch: impl Into<Batch>) -> Result<Vec<Sent>, PublishError> {
        self.write(batch.into()).await
    }

    /// Sends an event only if `last` is the position of the channel's last event. With `None`, sends it only if the
    /// channel has no last event. If several writers expect the same last event, one of them succeeds.
    ///
    /// The last event counts whether or not it is still held, and no matter whom it was for. A channel that was closed
    /// has no last event, and neither has a channel that the hub has forgotten. The error contains the position of the
    /// last event.
    ///
    /// If a remote backend does not answer, the event may have been sent, and a second attempt would conflict with the
    /// first. With an [idempotency key](Event::idempotency_key), the second attempt returns the first one's result.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Event, Publisher};
    ///
    /// let chess = Publisher::new().channel("game-7");
    /// let first = chess.send_if(None, Event::text("e4")).await?;
    /// let reply = chess.send_if(Some(first.cursor), Event::text("c5")).await?;
    /// // Somebody else who replies to the same move comes too late.
    /// let late = chess.send_if(Some(first.cursor), Event::text("e5")).await.unwrap_err();
    /// assert!(late.is_conflict());
    /// assert_eq!(late.last(), Some(reply.cursor));
    /// # Ok::<_, tower_sse::PublishError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send), and a [conflict](PublishError::is_conflict) if `last` is not the channel's
    /// last event.
    pub async fn send_if(&self, last: Option<Cursor>, event: Event) -> Result<Sent, PublishError> {
        self.write(Batch::from(event).only_after(last)).await.and_then(the_one)
    }

    /// Returns a handle that adds this fence to every append.
    ///
    /// The channel remembers the highest fence of the appends that it has accepted, and refuses an append with a lower
    /// one. Once a second writer takes over with a higher number, nothing from the first writer is accepted any more,
    /// no matter how late it arrives. The number can be anything that only grows, such as the number of a lease, a
    /// counter, or a time. An append from a handle without a fence is not checked. Neither is an event whose
    /// [idempotency key](Event::idempotency_key) was seen before, nor an [ephemeral](Event::ephemeral) event, which is
    /// not appended.
    ///
    /// The channel keeps its fence when it is finished, closed or dropped, for as long as the hub remembers anything
    /// of it. This is at least as long as an event of it may be held, with a remote backend on all nodes.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Event, Publisher};
    ///
    /// let publisher = Publisher::new();
    /// let first = publisher.channel("run-7").fence(1);
    /// first.send(Event::text("one")).await?;
    /// // The first writer seems to be gone, and another one goes on.
    /// let second = publisher.channel("run-7").fence(2);
    /// second.send(Event::text("two")).await?;
    /// let error = first.send(Event::text("three")).await.unwrap_err();
    /// assert!(error.is_fenced());
    /// assert_eq!(error.fence(), Some(2));
    /// # Ok::<_, tower_sse::PublishError>(())
    /// # }).unwrap();
    /// ```
    #[must_use = "only what is sent through the returned handle is fenced"]
    pub fn fence(&self, fence: u64) -> Self {
        Self { fence: Some(fence), ..self.clone() }
    }

    /// Finishes the channel without an event, otherwise as [`finish`](Self::finish) does. It is no error if the
    /// channel is finished already.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{ChannelState, Event, Publisher};
    ///
    /// let answer = Publisher::new().channel("run-7");
    /// answer.send(Event::text("the last token")).await?;
    /// answer.end().await?;
    /// answer.end().await?;
    /// assert_eq!(answer.info().await?.state, ChannelState::Finished);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the channel's name is not valid, a limit is reached, a higher [fence](Self::fence) was seen,
    /// the hub is shutting down, or a remote backend fails. See the predicates of [`PublishError`].
    pub async fn end(&self) -> Result<(), PublishError> {
        ended(self.write(Batch::new().finish()).await)
    }

    /// Does the same as [`finish`](Self::finish), in code that is not async, such as [`Drop`].
    ///
    /// In process, the channel is finished when this returns. With a remote backend, a task of the current tokio
    /// runtime finishes it, and retries for about a minute if the backend does not answer. The outcome of that task is
    /// only logged. A runtime that shuts down may drop the task.
    ///
    /// With a remote backend, the end is sent even while this node [shuts down](crate::Publisher::shutdown), so that
    /// no reader on another node waits for it in vain. Keep the runtime alive until then.
    ///
    /// A retry may come late. If an earlier attempt did finish the channel, and the channel was then
    /// [closed](Self::close) and used again, the retry finishes the new channel. To prevent this, write each use of a
    /// name through a handle with a higher [fence](Self::fence): the backend then refuses the retry of an earlier use.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Event, Publisher};
    ///
    /// let answer = Publisher::new().channel("run-7");
    /// answer.finish_detached(Event::text("cancelled"))?;
    /// assert_eq!(answer.recent(1)[0].data(), "cancelled");
    /// # Ok::<_, tower_sse::PublishError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// In process, the same as `finish`, except that it is no error if the channel is finished already. During a
    /// shutdown the end is refused, and readers are ended anyway. With a remote backend, returns an
    /// [`is_unavailable`](PublishError::is_unavailable) error outside a runtime.
    pub fn finish_detached(&self, event: Event) -> Result<(), PublishError> {
        self.write_detached(Batch::from(event).finish())
    }

    /// Does the same as [`end`](Self::end), in code that is not async, such as [`Drop`]. See
    /// [`finish_detached`](Self::finish_detached).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_sse::{Channel, Event, Publisher};
    ///
    /// /// Ends its channel whatever becomes of its task: it is done, fails, panics, or is aborted.
    /// struct Answer(Channel);
    ///
    /// impl Drop for Answer {
    ///     fn drop(&mut self) {
    ///         // If this fails, the channel can't be written to anyway.
    ///         let _ = self.0.end_detached();
    ///     }
    /// }
    ///
    /// let channel = Publisher::new().channel("run-7");
    /// drop(Answer(channel.clone()));
    /// assert!(channel.send(Event::text("late")).await.unwrap_err().is_finished());
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`finish_detached`](Self::finish_detached).
    pub fn end_detached(&self) -> Result<(), PublishError> {
        self.write_detached(Batch::new().finish())
    }

    async fn publish(&self, target: Option<&ClientId>, event: Event, last: bool) -> Result<Sent, PublishError> {
        // An ephemeral event is not appended, so it needs no fence.
        let is_ephemeral = event.is_ephemeral() && !last;
        let Handle { hub, remote, .. } = &*self.handle;
        match (&self.name, remote) {
            (Ok(name), None) => {
                // Yield before publishing, so that nothing was published if the caller drops the future here.
                consume_budget().await;
                let (started, span) = (hub.meter.start_some(), Span::publish(name, 1));
                self.count(started, span.scope(|| hub.publish(name, target, traced(hub, event), last, self.fence)))
            }
            // Boxed, because otherwise every in-process publish would have a future of this size.
            (Ok(name), Some(remote)) if is_ephemeral => {
                let (started, span) = (hub.meter.start(), Span::publish(name, 1));
                let pass = async { remote.pass(hub, name, target, traced(hub, event)).await };
                self.count(started, Box::pin(span.around(pass)).await)
            }
            _ => Box::pin(self.write_one(target, event, last)).await,
        }
    }

    /// Publishes one event by way of a batch, for the cases that [`publish`](Self::publish) does not handle itself.
    async fn write_one(&self, target: Option<&ClientId>, event: Event, last: bool) -> Result<Sent, PublishError> {
        let batch = Batch { events: vec![(target.cloned(), event)], last, ..Batch::new() };
        self.write(batch).await.and_then(the_one)
    }

    async fn write(&self, batch: Batch) -> Result<Vec<Sent>, PublishError> {
        self.write_until(batch, self.handle.hub.is_shutting_down()).await
    }

    /// Writes a batch. Refuses to if the log lives elsewhere and this node `is_over`.
    async fn write_until(&self, batch: Batch, is_over: bool) -> Result<Vec<Sent>, PublishError> {
        if self.handle.remote.is_none() {
            // Yield before publishing, as in `publish`.
            consume_budget().await;
        }
        let (meter, is_here) = (&self.handle.hub.meter, self.handle.remote.is_none());
        let started = if is_here { meter.start_some() } else { meter.start() };
        let hub = &self.handle.hub;
        let sent = match self.name() {
            Err(error) => Err(error.clone().into()),
            Ok(_) if batch.is_empty() => return Ok(Vec::new()),
            Ok(name) => match &self.handle.remote {
                None => self.write_here(name, batch),
                Some(_) if is_over => Err(PublishErrorKind::ShuttingDown.into()),
                Some(remote) => {
                    let span = Span::publish(name, batch.events.len());
                    let write = async { remote.write(hub, name, all_traced(hub, batch), self.fence).await };
                    Box::pin(span.around(write)).await
                }
            },
        };
        self.count(started, sent)
    }

    /// Writes a batch to a log that lives in process.
    fn write_here(&self, name: &ChannelName, batch: Batch) -> Result<Vec<Sent>, PublishError> {
        let (hub, span) = (&self.handle.hub, Span::publish(name, batch.events.len()));
        span.scope(|| hub.write(name, all_traced(hub, batch), self.fence))
    }

    fn count<T>(&self, started: Started, sent: Result<T, PublishError>) -> Result<T, PublishError> {
        let hub = &self.handle.hub;
        if sent.is_err() {
            hub.counters.publish_refused.add(1);
        }
        hub.meter.published(started, sent.as_ref().err());
        sent
    }

    /// Does the same as [`send_all`](Self::send_all) with a batch that finishes the channel, in code that is not async.
    pub(crate) fn write_detached(&self, batch: Batch) -> Result<(), PublishError> {
        let started = self.handle.hub.meter.start_some();
        let written = match (self.name(), &self.handle.remote) {
            (Err(error), _) => Err(error.clone().into()),
            (Ok(name), None) => ended(self.write_here(name, batch)),
            (Ok(_), Some(_)) => match Runtime::try_current() {
                Ok(runtime) => {
                    // The task has none of the context of its caller.
                    let batch = all_traced(&self.handle.hub, batch);
                    runtime.spawn(self.clone().write_in_background(batch));
                    return Ok(());
                }
                Err(error) => Err(PublishErrorKind::Unavailable(BackendError::new(error)).into()),
            },
        };
        self.count(started, written)
    }

    /// Retries until the backend answers, or gives up. A shutdown of this node does not refuse the write, because
    /// readers on other nodes wait for the end.
    async fn write_in_background(self, batch: Batch) {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            match ended(self.write_until(batch.clone(), false).await) {
                Err(error) if error.is_unavailable() && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    debug!("a channel was not finished", channel = self.name.as_ref().map_or("", ChannelName::as_str));
                    return drop(error);
                }
                Ok(()) => return,
            }
        }
    }
}

/// How long a task tries to finish a channel, and how long it pauses between attempts.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Treats a channel that is finished already as success.
fn ended(written: Result<Vec<Sent>, PublishError>) -> Result<(), PublishError> {
    match written {
        Err(error) if !error.is_finished() => Err(error),
        _ => Ok(()),
    }
}

/// Returns the result for the only event of a batch.
fn the_one(sent: Vec<Sent>) -> Result<Sent, PublishError> {
    let missing = || PublishErrorKind::Unavailable(BackendError::new("the backend has not said where the event is"));
    sent.into_iter().next().ok_or_else(|| missing().into())
}
