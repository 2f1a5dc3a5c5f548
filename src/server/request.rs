//! The body of a request, which records whether it was read to its end.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::error::BoxError;

/// The body of a request that a [`Server`](super::Server) received.
///
/// Over HTTP/1, a stream is [detached](super#which-responses-are-detached) from hyper only if the body of its request was
/// read to its end, because nobody would read the rest later. So read the body even if you don't need it. The requests of
/// an `EventSource` have no body.
///
/// To test a handler or a service without a server, create a body from text or bytes, or an [empty](Self::empty) one:
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use tower_sse::server::RequestBody;
///
/// # type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// async fn shout(request: Request<RequestBody>) -> Result<Response<String>, BoxError> {
///     let body = request.into_body().collect().await?.to_bytes();
///     Ok(Response::new(String::from_utf8_lossy(&body).to_uppercase()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let response = shout(Request::new("hello".into())).await?;
/// assert_eq!(response.body(), "HELLO");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RequestBody {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Received {
        incoming: Incoming,
        /// Set once the body has been read to its end. `None` if the request has no body.
        read: Option<Arc<AtomicBool>>,
    },
    /// What is left of a body that did not come over a connection.
    Created(Bytes),
}

/// Whether the body of a request was read to its end.
#[derive(Debug)]
pub(super) struct Progress(Option<Arc<AtomicBool>>);

impl RequestBody {
    /// Creates an empty body, as that of a `GET` request.
    pub fn empty() -> Self {
        Bytes::new().into()
    }

    pub(super) fn new(incoming: Incoming) -> (Self, Progress) {
        let read = (!incoming.is_end_stream()).then(Arc::default);
        (Self { kind: Kind::Received { incoming, read: read.clone() } }, Progress(read))
    }
}

impl Default for RequestBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self { kind: Kind::Created(bytes) }
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for RequestBody {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl Progress {
    pub(super) fn is_read(&self) -> bool {
        self.0.as_ref().is_none_or(|read| read.load(Ordering::Acquire))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Received { incoming, read } => poll_received(incoming, read, cx),
            Kind::Created(rest) if rest.is_empty() => Poll::Ready(None),
            Kind::Created(rest) => Poll::Ready(Some(Ok(Frame::data(mem::take(rest))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Received { incoming, .. } => incoming.is_end_stream(),
            Kind::Created(rest) => rest.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Received { incoming, .. } => incoming.size_hint(),
            Kind::Created(rest) => rest.len().try_into().map_or_else(|_| SizeHint::default(), SizeHint::with_exact),
        }
    }
}

/// Polls a body that comes over a connection, and notes when it ends.
fn poll_received(
    incoming: &mut Incoming,
    read: &mut Option<Arc<AtomicBool>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
    // hyper reports the end only after it has read all of the body from the connection.
    let ended = match &frame {
        None => true,
        Some(Ok(frame)) => frame.is_trailers() || incoming.is_end_stream(),
        Some(Err(_)) => false,
    };
    if let Some(read) = read.take_if(|_| ended) {
        read.store(true, Ordering::Release);
    }
    Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_that_you_create_says_what_is_left_of_it() {
        let mut body = RequestBody::from("text");
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(4)));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "text");
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
        assert!(body.frame().await.is_none());
        for body in
            [Bytes::from_static(b"x").into(), vec![b'x'].into(), String::from("x").into(), RequestBody::from("x")]
        {
            assert_eq!(body.collect().await.unwrap().to_bytes(), "x");
        }
        for mut body in [RequestBody::empty(), RequestBody::default(), "".into()] {
            assert!(body.is_end_stream() && body.frame().await.is_none());
        }
    }
}
