//! The response future of the services that answer by themselves.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;

use super::body::SseBody;

/// The response future of `PublishService` and `Inspect`.
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct AnswerFuture {
    answering: Pin<Box<dyn Future<Output = Response<SseBody>> + Send>>,
}

impl AnswerFuture {
    pub(super) fn new(answering: impl Future<Output = Response<SseBody>> + Send + 'static) -> Self {
        Self { answering: Box::pin(answering) }
    }
}

impl Future for AnswerFuture {
    type Output = Result<Response<SseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answering.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for AnswerFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerFuture").finish_non_exhaustive()
    }
}
