//! The handshake at the start of a connection, such as that of TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};

use super::shared::Shared;

/// The handshake of a connection. It fails if it takes too long.
pub(super) struct Handshake<T, S> {
    shared: Arc<Shared>,
    shaking: Pin<Box<dyn Future<Output = io::Result<T>> + Send>>,
    /// `None` before the first poll.
    timeout: Option<Pin<Box<Sleep>>>,
    /// `None` once the handshake has ended.
    app: Option<S>,
}

/// A connection that is ready for requests.
pub(super) struct Shaken<T, S> {
    pub(super) io: T,
    pub(super) shared: Arc<Shared>,
    pub(super) app: S,
}

impl<T, S> Handshake<T, S> {
    pub(super) fn new(
        shared: Arc<Shared>,
        handshake: impl Future<Output = io::Result<T>> + Send + 'static,
        app: S,
    ) -> Self {
        Self { shared, shaking: Box::pin(handshake), timeout: None, app: Some(app) }
    }

    /// Returns `None` if the handshake fails, and counts that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Shaken<T, S>>> {
        let shaken = match self.shaking.as_mut().poll(cx) {
            Poll::Ready(shaken) => shaken.ok(),
            Poll::Pending if self.poll_timeout(cx).is_pending() => return Poll::Pending,
            Poll::Pending => None,
        };
        if shaken.is_none() {
            self.shared.counters.handshake_errors.add(1);
        }
        Poll::Ready(shaken.zip(self.app.take()).map(|(io, app)| Shaken { io, shared: self.shared.clone(), app }))
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = self.shared.settings.head_timeout;
        self.timeout.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx)
    }
}
