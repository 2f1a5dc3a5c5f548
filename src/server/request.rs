//! The body of a request, which knows whether it was read to its end.

use std::{
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

/// The error of a service or a body, whatever it is.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request that a [`Server`](super::Server) received.
///
/// A response over HTTP/1 is detached from hyper only if the request's body was read to its end, because nobody would read
/// the rest of it. So read it even if you do not need it. The requests of an `EventSource` have no body.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    /// Set once the body was read to its end; `None` if there is nothing to read.
    read: Option<Arc<AtomicBool>>,
}

/// Whether the body of a request was read to its end.
#[derive(Debug)]
pub(super) struct Progress(Option<Arc<AtomicBool>>);

impl RequestBody {
    pub(super) fn new(incoming: Incoming) -> (Self, Progress) {
        let read = (!incoming.is_end_stream()).then(Arc::default);
        (Self { incoming, read: read.clone() }, Progress(read))
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
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        // hyper makes the end known only after it has taken all of the body from the connection.
        let ended = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || self.incoming.is_end_stream(),
            Some(Err(_)) => false,
        };
        if let Some(read) = self.read.take_if(|_| ended) {
            read.store(true, Ordering::Release);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
