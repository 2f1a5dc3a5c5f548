//! The body of every response of the layer: a stream of events, a short answer of its own, or the inner service's body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{keep_alive::KeepAlive, preamble::Repair, retry::Retry, stream::EventStream, webkit::WebKitRepair};
use crate::hub::Subscription;

pin_project! {
    /// The body of the layer's responses, over an inner body `B` that passes through untouched. It is a body itself if
    /// `B` is one of [`Bytes`]: `http_body::Body<Data = Bytes>`, as those of hyper, axum and warp are. An inner service
    /// with other data needs its body mapped before, as with `http_body_util::BodyExt::map_frame`.
    ///
    /// Without `B` it is the stream of a [`Subscription`], with which any handler can answer, a `POST` too. It needs a
    /// tokio runtime with its timer enabled, unless keep-alive and coalescing are off and its grant does not expire.
    ///
    /// Let a handler read the body of its request first: over HTTP/1.1 hyper does not notice that a client has hung up while
    /// some of its request is unread.
    ///
    /// A handler can do whatever the layer does:
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
        /// The inner service's.
        Inner { #[pin] body: B },
        /// Boxed as the short answers are, so that a body that passes through does not carry its size.
        Stream { stream: Pin<Box<EventStream>> },
        /// A stream that is over after these bytes, if any. Its size is not told: what it stands for has none.
        Rest { bytes: Option<Box<Bytes>> },
        /// An answer whose size is known.
        Whole { bytes: Option<Box<Bytes>> },
    }
}

/// The body that there is none of: what [`SseBody`] has inside when no inner service is involved.
#[derive(Debug, Clone, Copy)]
pub enum NoBody {}

impl SseBody {
    /// The stream of a subscription, with the default [`KeepAlive`] and a reconnection time of three seconds.
    pub fn new(subscription: Subscription) -> Self {
        Self { kind: Kind::Stream { stream: Box::pin(EventStream::new(subscription)) } }
    }

    /// What is sent when there is nothing to send; every 15 seconds a bare comment by default.
    pub fn keep_alive(self, keep_alive: KeepAlive) -> Self {
        self.set(|stream| stream.set_keep_alive(keep_alive))
    }

    /// Sends at most one chunk in each `pause`: off by default, as with zero; a second at most. See
    /// [`Route::coalesce`](crate::Route::coalesce).
    pub fn coalesce(self, pause: Duration) -> Self {
        self.set(|stream| stream.set_coalesce(pause))
    }

    /// How long a client waits before it reconnects: a `Duration`, or a range of them, of which this draws one; three seconds by
    /// default, and `None` leaves it to the client. See [`Retry`].
    pub fn retry(self, retry: impl Into<Retry>) -> Self {
        self.set(|stream| stream.set_preamble(|preamble| preamble.set_retry(retry.into())))
    }

    /// Sends the id of the position at which the reader starts, in an event named `cursor` with empty data, so that it resumes
    /// there if its connection is cut before its first event; off by default. See
    /// [`Route::announce_cursor`](crate::Route::announce_cursor).
    pub fn announce_cursor(self, announce: bool) -> Self {
        self.set(|stream| stream.set_preamble(|preamble| preamble.announce_cursor = announce))
    }

    /// Begins the stream with a block that makes WebKit drop what it has kept of a cut event, if `repair` has it sent on a request
    /// with these headers; never by default. The client keeps the [last event id](crate::last_event_id) that it came with. See
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

    /// See `webkit_repair`; for a client that came with that last event id.
    pub(crate) fn repaired(self, last_event_id: Option<&[u8]>) -> Self {
        let repair = Some(Repair::of(last_event_id));
        self.set(|stream| stream.set_preamble(|preamble| preamble.repair = repair))
    }

    pub(crate) fn rest(bytes: Option<Bytes>) -> Self {
        Self { kind: Kind::Rest { bytes: bytes.map(Box::new) } }
    }

    pub(crate) fn whole(bytes: Option<Bytes>) -> Self {
        Self { kind: Kind::Whole { bytes: bytes.map(Box::new) } }
    }

    /// The same, in a place where there can also be an inner body.
    pub(crate) fn widen<B>(self) -> SseBody<B> {
        let kind = match self.kind {
            Kind::Inner { body } => match body {},
            Kind::Stream { stream } => Kind::Stream { stream },
            Kind::Rest { bytes } => Kind::Rest { bytes },
            Kind::Whole { bytes } => Kind::Whole { bytes },
        };
        SseBody { kind }
    }

    /// Changes a stream, before it is polled; what is no stream has no settings.
    fn set(mut self, change: impl FnOnce(Pin<&mut EventStream>)) -> Self {
        if let Kind::Stream { stream } = &mut self.kind {
            change(stream.as_mut());
        }
        self
    }
}

impl<B> SseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }
}

/// The empty body, with which middlewares around the layer answer themselves.
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

impl<B: Body<Data = Bytes>> Body for SseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut kind = self.project().kind;
        let bytes = match kind.as_mut().project() {
            KindProj::Inner { body } => return body.poll_frame(cx),
            KindProj::Stream { stream } => {
                let bytes = ready!(stream.as_mut().poll_chunk(cx));
                if bytes.is_none() {
                    // Frees the subscription at once, however long the server keeps the body.
                    kind.set(Kind::Rest { bytes: None });
                }
                bytes
            }
            KindProj::Rest { bytes } | KindProj::Whole { bytes } => bytes.take().map(|bytes| *bytes),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Whole { bytes } => bytes.is_none(),
            // Also of nothing left: a server that knew would tell the answer to a HEAD as an empty one.
            Kind::Stream { .. } | Kind::Rest { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            // A `usize` fits on every platform that there is; where it would not, the size is not told.
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
    async fn an_inner_body_passes_with_its_trailers_and_size() {
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
    async fn short_answers_end_and_only_whole_ones_tell_their_size() {
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
