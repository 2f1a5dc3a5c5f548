//! A connection that hyper drives over HTTP/1, until a response leaves hyper.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{app::App, chunk::Framing, guarded::Guarded, handover::Handover, tap::Tap, tapped::Tapped};

/// A connection in hyper's hands.
pub(super) struct Http1<T, S: App> {
    /// `None` once a response has left hyper.
    hyper: Option<Hyper<T, S>>,
    handover: Arc<Handover<S::Body>>,
}

type Hyper<T, S> = UpgradeableConnection<TokioIo<Tapped<T, <S as App>::Body>>, Tap<S>>;

/// A response that has left hyper, and the connection with it.
pub(super) struct Detached<T, S: App> {
    pub(super) io: Guarded<T>,
    pub(super) app: S,
    /// The head of the response, which has not been sent yet.
    pub(super) head: Vec<u8>,
    pub(super) body: S::Body,
    pub(super) framing: Framing,
    /// What was read after the request.
    pub(super) early: Bytes,
}

impl<T, S> Http1<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    /// Gives a connection to hyper, which first reads the bytes `before`.
    pub(super) fn new(io: Guarded<T>, app: S, before: Bytes) -> Self {
        let handover = Arc::new(Handover::new());
        let shared = io.shared().clone();
        let tap = Tap::new(app, shared.clone(), Some(handover.clone()));
        let tapped = Tapped::new(io, before, Some(handover.clone()));
        let hyper = shared.http1.serve_connection(TokioIo::new(tapped), tap).with_upgrades();
        Self { hyper: Some(hyper), handover }
    }

    /// Finishes the current request, and then the connection.
    pub(super) fn close(&mut self) {
        if let Some(hyper) = &mut self.hyper {
            Pin::new(hyper).graceful_shutdown();
        }
    }

    /// Waits until a response leaves hyper. Returns `None` if the connection ends.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Detached<T, S>>> {
        let Some(hyper) = &mut self.hyper else { return Poll::Ready(None) };
        if Pin::new(hyper).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let Some((body, framing)) = self.handover.take() else { return Poll::Pending };
        let Some(parts) = self.hyper.take().and_then(UpgradeableConnection::into_parts) else {
            return Poll::Ready(None);
        };
        let (io, head, before) = parts.io.into_inner().into_parts();
        // A copy, because hyper's buffer is large.
        let early = [parts.read_buf, before].concat().into();
        Poll::Ready(Some(Detached { io, app: parts.service.into_app(), head, body, framing, early }))
    }
}
