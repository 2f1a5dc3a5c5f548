//! The future of a decision: ready at once, unless a key has to be fetched.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{error::BoxError, hub::Grant};

/// The response future of [`Jwt`](crate::Jwt). `G` is what it decides about. It is ready at once, unless the token's key has to be
/// fetched.
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct JwtFuture<G = Grant> {
    state: State<G>,
}

enum State<G> {
    /// `None` once it was returned.
    Ready(Option<Result<G, BoxError>>),
    Waiting(Pin<Box<dyn Future<Output = Result<G, BoxError>> + Send>>),
}

impl<G> JwtFuture<G> {
    pub(super) fn ready(decided: Result<G, BoxError>) -> Self {
        Self { state: State::Ready(Some(decided)) }
    }

    pub(super) fn waiting(decision: impl Future<Output = Result<G, BoxError>> + Send + 'static) -> Self {
        Self { state: State::Waiting(Box::pin(decision)) }
    }
}

/// Nothing in it is pinned in place.
impl<G> Unpin for JwtFuture<G> {}

impl<G> Future for JwtFuture<G> {
    type Output = Result<G, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Ready(decided) => {
                Poll::Ready(decided.take().unwrap_or_else(|| Err("polled after it was ready".into())))
            }
            State::Waiting(waiting) => waiting.as_mut().poll(cx),
        }
    }
}

impl<G> fmt::Debug for JwtFuture<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = matches!(self.state, State::Waiting(_));
        f.debug_struct("JwtFuture").field("waits_for_keys", &waits).finish_non_exhaustive()
    }
}
