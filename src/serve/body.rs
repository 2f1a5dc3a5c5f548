//! The body of every response of the layer: a stream of events, a short answer of the layer's own, or the inner
//! service's body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    greeting::Greeting, keep_alive::KeepAlive, output::Output, preamble::Repair, retry::Retry, shape::Shape,
    stream::EventStream, transform::Transform, webkit::WebKitRepair,
};
use crate::{
    error::BoxError,
    hub::{Ending, Subscription},
    wire::{encoded::EncodedEvent, event::Event, notice::Gap},
};

pin_project! {
    /// The body of the layer's responses: a stream of events, a short response of the layer's own, or the inner
    /// service's body `B`, passed through untouched.
    ///
    /// Without a type parameter, it is the stream of a [`Subscription`]. You can answer with it from any handler,
    /// including one for `POST`. Polling it needs a tokio runtime with time enabled, unless keep-alives and coalescing
    /// are off and the grant does not expire.
    ///
    /// With an inner body `B`, it implements `http_body::Body` if `B` is a `Body<Data = Bytes>`, as the bodies of
    /// hyper, axum and warp are. If the data of your inner service's body has another type, map the body first, for
    /// example with `http_body_util::BodyExt::map_frame`. Errors are boxed: those
    /// of `B`, and the [`Incomplete`](crate::Incomplete) with which a [strict](SseBody::strict) body breaks off.
    ///
    /// In a handler, read the whole request body before you answer: over HTTP/1.1, hyper does not notice that a client
    /// has hung up while part of its request is unread.
    ///
    /// A handler can do everything that the layer does:
    ///
    /// ```
    /// use axum::{Router, extract::{Path, State}, http::{HeaderMap, Response, Uri}, routing::get};
    /// use tower_sse::{ChannelName, Grant, OpenOptions, Publisher, SseBody, last_event_id};
    ///
    /// async fn answers(
    ///     State(publisher): State<Publisher>,
    ///     Path(channel): Path<String>,
    ///     headers: HeaderMap,
    ///     uri: Uri,
    /// ) -> Result<Response<SseBody>, String> {
    ///     let channel = ChannelName::try_from(channel).map_err(|error| error.to_string())?;
    ///     let last_event_id = last_event_id(&headers, &uri);
    ///     Ok(match OpenOptions::new().open(&publisher, Grant::new([channel]), last_event_id.as_deref()).await {
    ///         Ok(subscription) => SseBody::new(subscription).announce_cursor(true).into_response(),
    ///         Err(error) => SseBody::refused(&publisher, &error),
    ///     })
    /// }
    ///
    /// let app: Router = Router::new().route("/answers/{channel}", get(answers)).with_state(Publisher::new());
    /// ```
    #[derive(Debug)]
    #[must_use = "a body does nothing until it is sent"]
    pub struct SseBody<B = NoBody> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<B> {
        /// The inner service's body.
        Inner { #[pin] body: B },
        /// Not boxed, because each event would have to fetch the box from memory. A body that passes through then takes the
        /// size of a stream, but does not live long.
        Stream { stream: EventStream },
        /// A stream that ends after these bytes, if any. It announces no size, like the stream it stands for.
        Rest { bytes: Option<Bytes> },
        /// An answer whose size is known.
        Whole { bytes: Option<Bytes> },
    }
}

/// The inner body of an [`SseBody`] without an inner service. It has no values.
#[derive(Debug, Clone, Copy)]
pub enum NoBody {}

impl SseBody {
    /// Creates the stream of a subscription, with the default [`KeepAlive`] and a reconnection time of three seconds.
    ///
    /// The setters below change the stream before it is first polled. They have no effect on a body that is not a
    /// stream.
    pub fn new(subscription: Subscription) -> Self {
        Self { kind: Kind::Stream { stream: EventStream::new(subscription) } }
    }

    /// Sets what is sent while the stream is idle. The default is a bare comment every 15 seconds.
    pub fn keep_alive(self, keep_alive: KeepAlive) -> Self {
        self.set(|stream| stream.set_keep_alive(keep_alive))
    }

    /// Sends at most one chunk per `pause`. It is off by default; a `pause` of zero turns it off, and the longest is
    /// one second. See [`Route::coalesce`](crate::Route::coalesce).
    pub fn coalesce(self, pause: Duration) -> Self {
        self.set(|stream| stream.set_coalesce(pause))
    }

    /// Sets how long a client waits before it reconnects: a `Duration`, or a range of them, from which this call draws
    /// a random time. The default is three seconds; `None` leaves the time to the client. See [`Retry`].
    pub fn retry(self, retry: impl Into<Retry>) -> Self {
        self.set(|stream| stream.set_preamble(|preamble| preamble.set_retry(retry.into())))
    }

    /// Sends the position at which the reader starts, as the id of an event named `cursor` with empty data. The reader
    /// then resumes there if its connection breaks before its first event. Off by default. See
    /// [`Route::announce_cursor`](crate::Route::announce_cursor).
    pub fn announce_cursor(self, announce: bool) -> Self {
        self.set(|stream| stream.set_preamble(|preamble| preamble.announce_cursor = announce))
    }

    /// Sends only the events for which `keep` returns `true`. A body may have several filters; they come before its
    /// [transform](Self::transform).
    ///
    /// An event that is left out costs nothing on the wire. A client's last event id is that of the last event that it
    /// was sent: if later ones were left out, and are no longer held when it reconnects, it gets a gap.
    ///
    /// ```
    /// use tower_sse::{SseBody, Subscription};
    ///
    /// fn body(subscription: Subscription) -> SseBody {
    ///     SseBody::new(subscription).filter(|event| event.name() != Some("debug"))
    /// }
    /// ```
    pub fn filter(self, keep: impl FnMut(&EncodedEvent) -> bool + Send + 'static) -> Self {
        self.set(|stream| stream.set_shape(|shape| shape.add_filter(keep)))
    }

    /// Sends what `map` makes of each event, with the event's id, and nothing where it returns `None`. This replaces an
    /// earlier [transform](Self::transform).
    ///
    /// ```
    /// use tower_sse::{Event, SseBody, Subscription};
    ///
    /// fn body(subscription: Subscription) -> SseBody {
    ///     SseBody::new(subscription).filter_map(|event| match event.name() {
    ///         Some("secret") => None,
    ///         _ => Some(Event::text(event.data().to_uppercase())),
    ///     })
    /// }
    /// ```
    pub fn filter_map(self, mut map: impl FnMut(&EncodedEvent) -> Option<Event> + Send + 'static) -> Self {
        self.transform(move |event: &EncodedEvent, out: &mut Output| {
            if let Some(mapped) = map(event) {
                out.replace(event, mapped);
            }
        })
    }

    /// Sends what a [`Transform`] makes of the events, the gaps and the end. By default all are sent as they are. A body
    /// has one transform; a second one replaces it.
    ///
    /// The body begins at once, stays alive, coalesces, and announces its cursor as it does without a transform. A
    /// closure is a transform of single events:
    ///
    /// ```
    /// use tower_sse::{EncodedEvent, Event, EventName, Output, SseBody, Subscription};
    ///
    /// fn body(subscription: Subscription) -> SseBody {
    ///     SseBody::new(subscription).transform(|event: &EncodedEvent, out: &mut Output| {
    ///         if event.name() == Some("chart") {
    ///             // Both stand for the event. Only the second has its id.
    ///             out.replace(event, Event::text("a chart follows"));
    ///         }
    ///         out.pass(event);
    ///     })
    /// }
    /// ```
    pub fn transform(self, transform: impl Transform) -> Self {
        self.set(|stream| stream.set_shape(|shape| shape.set_transform(transform)))
    }

    /// Says the channel in the name of each event, for clients that read several channels: `channel:name`, with
    /// `message` for an event without a name. Off by default. See [`Route::show_channel`](crate::Route::show_channel).
    pub fn show_channel(self, show: bool) -> Self {
        self.set(|stream| stream.set_shape(|shape| shape.show_channel(show)))
    }

    /// Makes the end of the body mean that the client got everything, for clients that are no `EventSource`.
    ///
    /// A strict body ends only when all of its channels are [finished](crate::Channel::finish) and everything was sent.
    /// On a gap, a lag, a shutdown, an expired grant, or when the reader is disconnected, replaced or closed, it breaks
    /// off: its error is an [`Incomplete`](crate::Incomplete), over HTTP/1.1 the last chunk is missing, and over HTTP/2 the stream is reset.
    /// Clients such as the SDKs of LLM vendors report that as an error, where they would take an end for a complete
    /// answer. A strict body has no `gap` and `goodbye` events, unless a [transform](Self::transform) sends something
    /// of its own.
    ///
    /// A gap that is known before the first byte is a response of its own: see
    /// [`into_response`](Self::into_response). For a subscription that was not opened, see
    /// [`refused_strictly`](Self::refused_strictly).
    ///
    /// ```
    /// use http::Response;
    /// use tower_sse::{Grant, OpenOptions, Publisher, SseBody, Start};
    ///
    /// async fn answer(publisher: &Publisher, grant: Grant) -> Response<SseBody> {
    ///     match OpenOptions::new().start(Start::Earliest).open(publisher, grant, None).await {
    ///         Ok(subscription) => SseBody::new(subscription).strict().into_response(),
    ///         Err(error) => SseBody::refused_strictly(publisher, &error),
    ///     }
    /// }
    /// ```
    pub fn strict(self) -> Self {
        self.set(|stream| stream.set_shape(Shape::set_strict))
    }

    /// Ends the body, but not the stream behind it, after this time: as soon as the client has everything that can be
    /// read, or else with the next chunk. Off by default. See [`Route::close_after`](crate::Route::close_after).
    ///
    /// [Announce the cursor](Self::announce_cursor) to a client that brings no id, so that it can go on if nothing comes
    /// in that time.
    pub fn close_after(self, time: Duration) -> Self {
        self.set(|stream| stream.set_close(time))
    }

    /// Begins the stream with a block that makes WebKit discard a partial event from before a reconnect, if `repair`
    /// applies to a request with these `headers`. By default there is no block. Pass the
    /// [last event id](crate::last_event_id) of the request; the block repeats it, so that the client keeps it. See
    /// [`WebKitRepair`].
    ///
    /// ```
    /// use http::{HeaderMap, Uri};
    /// use tower_sse::{SseBody, Subscription, WebKitRepair, last_event_id};
    ///
    /// fn body(subscription: Subscription, headers: &HeaderMap, uri: &Uri) -> SseBody {
    ///     let id = last_event_id(headers, uri);
    ///     SseBody::new(subscription).webkit_repair(WebKitRepair::Auto, headers, id.as_deref())
    /// }
    /// ```
    pub fn webkit_repair(self, repair: WebKitRepair, headers: &HeaderMap, last_event_id: Option<&[u8]>) -> Self {
        if repair.applies(headers) { self.repaired(last_event_id) } else { self }
    }

    /// Like `webkit_repair`, for a client that is known to need it and sent this last event id.
    pub(crate) fn repaired(self, last_event_id: Option<&[u8]>) -> Self {
        let repair = Some(Repair::of(last_event_id));
        self.set(|stream| stream.set_preamble(|preamble| preamble.repair = repair))
    }

    /// The gap with which the body would break off before its first event.
    pub(crate) fn fatal_gap(&self) -> Option<&Gap> {
        match &self.kind {
            Kind::Stream { stream } => stream.fatal_gap(),
            _ => None,
        }
    }

    /// Ends the stream before it begins.
    pub(crate) fn end(self, ending: Ending) {
        drop(self.set(|stream| stream.end(ending)));
    }

    /// Whether some of what the subscription reads does not get here.
    #[cfg(feature = "runs")]
    pub(crate) fn is_filtered(&self) -> bool {
        matches!(&self.kind, Kind::Stream { stream } if stream.is_filtered())
    }

    /// What the stream says about itself. A body that is not a stream has nothing to say.
    pub(crate) fn greeting(&self) -> Greeting {
        match &self.kind {
            Kind::Stream { stream } => stream.greeting(),
            _ => Greeting::default(),
        }
    }

    pub(crate) fn rest(bytes: Option<Bytes>) -> Self {
        Self { kind: Kind::Rest { bytes } }
    }

    pub(crate) fn whole(bytes: Option<Bytes>) -> Self {
        Self { kind: Kind::Whole { bytes } }
    }

    /// Converts to the type that can also hold an inner body.
    pub(crate) fn widen<B>(self) -> SseBody<B> {
        let kind = match self.kind {
            Kind::Inner { body } => match body {},
            Kind::Stream { stream } => Kind::Stream { stream },
            Kind::Rest { bytes } => Kind::Rest { bytes },
            Kind::Whole { bytes } => Kind::Whole { bytes },
        };
        SseBody { kind }
    }

    /// Changes a stream's settings before it is polled. A body that is not a stream has none.
    fn set(mut self, change: impl FnOnce(&mut EventStream)) -> Self {
        if let Kind::Stream { stream } = &mut self.kind {
            change(stream);
        }
        self
    }
}

impl<B> SseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }
}

/// An empty body. Middleware around the layer needs it to make responses of its own.
impl<B> Default for SseBody<B> {
    fn default() -> Self {
        Self { kind: Kind::Whole { bytes: None } }
    }
}

impl From<Subscription> for SseBody {
    fn from(subscription: Subscription) -> Self {
        Self::new(subscription)
    }
}

/// The errors are those of the inner body, and an [`Incomplete`](crate::Incomplete) where a [strict](SseBody::strict) body breaks off.
impl<B> Body for SseBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut kind = self.project().kind;
        let chunk = match kind.as_mut().project() {
            KindProj::Inner { body } => {
                return body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
            }
            KindProj::Stream { stream } => {
                let chunk = ready!(stream.poll_chunk(cx));
                if !matches!(chunk, Some(Ok(_))) {
                    // Frees the subscription at once, however long the server keeps the body.
                    kind.set(Kind::Rest { bytes: None });
                }
                chunk
            }
            KindProj::Rest { bytes } | KindProj::Whole { bytes } => bytes.take().map(Ok),
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Whole { bytes } => bytes.is_none(),
            // False even if nothing is left: a server that knew would send the answer to a HEAD with `content-length:
            // 0`.
            Kind::Stream { .. } | Kind::Rest { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            // A `usize` fits on every existing platform. If it did not, no size would be announced.
            Kind::Whole { bytes } => u64::try_from(bytes.as_ref().map_or(0, |bytes| bytes.len()))
                .map_or_else(|_| SizeHint::default(), SizeHint::with_exact),
            Kind::Stream { .. } | Kind::Rest { .. } => SizeHint::default(),
        }
    }
}

impl Body for NoBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn an_inner_body_keeps_its_trailers_and_size() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "1".parse().unwrap());
        let body = Full::<Bytes>::from("hello");
        assert_eq!(SseBody::inner(body.clone()).size_hint().exact(), Some(5));
        let body = body.with_trailers(std::future::ready(Some(Ok(trailers.clone()))));
        let collected = SseBody::inner(body).collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "hello");
        assert!(SseBody::inner(Full::<Bytes>::default()).is_end_stream());
    }

    #[tokio::test]
    async fn short_answers_end_and_only_whole_ones_announce_their_size() {
        let whole = SseBody::whole(Some("{}".into()));
        assert_eq!(whole.size_hint().exact(), Some(2));
        assert!(!whole.is_end_stream());
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "{}");
        assert!(SseBody::whole(None).is_end_stream());

        let rest = SseBody::rest(Some("retry: 1\n".into()));
        assert_eq!(rest.size_hint().exact(), None);
        assert_eq!(rest.collect().await.unwrap().to_bytes(), "retry: 1\n");
        assert!(!SseBody::rest(None).is_end_stream());
        assert_eq!(SseBody::rest(None).collect().await.unwrap().to_bytes(), "");
    }
}
