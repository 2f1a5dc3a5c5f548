//! The future that opening a subscription returns.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{error::OpenError, hub::Subscription, node::opening::Loading};

/// The future returned by [`OpenOptions::open`](crate::OpenOptions::open). It resolves to the subscription as soon as
/// its channels are loaded.
///
/// The subscription holds its place from the call to `open` on, and gives it back if you drop this future. In process,
/// the future is ready when it is first polled, and needs no runtime. With a remote
/// [`Backend`](crate::backend::Backend), it needs a tokio runtime with time enabled.
#[must_use = "a future does nothing until it is polled"]
pub struct Opening(Stage);

enum Stage {
    /// `None` once the result was returned.
    Ready(Option<Result<Subscription, OpenError>>),
    /// Used only with a remote backend.
    Loading(Box<Loading>),
}

impl Opening {
    pub(super) fn ready(opened: Result<Subscription, OpenError>) -> Self {
        Self(Stage::Ready(Some(opened)))
    }

    pub(super) fn loading(loading: Result<Loading, OpenError>) -> Self {
        match loading {
            Ok(loading) => Self(Stage::Loading(Box::new(loading))),
            Err(error) => Self::ready(Err(error)),
        }
    }
}

impl Future for Opening {
    type Output = Result<Subscription, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // The contract of `Future`: polling again after `Ready` is a bug in the caller.
            Stage::Ready(opened) => Poll::Ready(opened.take().expect("polled after it was ready")),
            Stage::Loading(loading) => Pin::new(&mut **loading).poll(cx),
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.0 {
            Stage::Ready(_) => "ready",
            Stage::Loading(_) => "waiting",
        };
        f.debug_tuple("Opening").field(&stage).finish()
    }
}
