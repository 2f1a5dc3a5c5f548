//! The handshake at the start of a connection, such as that of TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};

use super::{guarded::Guarded, shared::Shared};

/// The handshake of a connection. It fails if it takes too long.
pub(super) struct Handshake<T, S> {
    shared: Arc<Shared>,
    shaking: Pin<Box<Shaking<T, S>>>,
    /// `None` before the first poll.
    timeout: Option<Pin<Box<Sleep>>>,
}

/// Returns a connection that is ready for requests, and the service for them.
type Shaking<T, S> = dyn Future<Output = io::Result<(T, S)>> + Send;

impl<T, S> Handshake<T, S> {
    pub(super) fn new(
        shared: Arc<Shared>,
        handshake: impl Future<Output = io::Result<(T, S)>> + Send + 'static,
    ) -> Self {
        Self { shared, shaking: Box::pin(handshake), timeout: None }
    }

    /// Returns the connection and its application. Returns `None` if the handshake fails, and counts that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Guarded<T>, S)>> {
        let shaken = match self.shaking.as_mut().poll(cx) {
            Poll::Ready(shaken) => shaken.ok(),
            Poll::Pending if self.poll_timeout(cx).is_pending() => return Poll::Pending,
            Poll::Pending => None,
        };
        if shaken.is_none() {
            self.shared.counters.handshake_errors.add(1);
        }
        Poll::Ready(shaken.map(|(io, app)| (Guarded::new(io, self.shared.clone()), app)))
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = self.shared.settings.head_timeout;
        self.timeout.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx)
    }
}
