//! The body of a request, which records whether it was read to its end.

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

use crate::error::BoxError;

/// The body of a request that a [`Server`](super::Server) received.
///
/// Over HTTP/1, a stream is [detached](super#which-responses-are-detached) from hyper only if the body of its request was
/// read to its end, because nobody would read the rest. So read the body even if you don't need it. The requests of an
/// `EventSource` have none.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    /// Set once the body has been read to its end. `None` if the request has no body.
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
        // hyper reports the end only after it has read all of the body from the connection.
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
