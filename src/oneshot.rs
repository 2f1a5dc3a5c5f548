//! A call of a service that waits until the service is ready.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// The response of a service to one request.
    pub(crate) struct Oneshot<S: Service<R>, R> {
        #[pin]
        state: State<S, R, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, R, F> {
        /// The service is not ready yet. `request` is `None` once the service was called.
        Readying { service: S, request: Option<R> },
        Called { #[pin] future: F },
    }
}

impl<S: Service<R>, R> Oneshot<S, R> {
    pub(crate) fn new(service: S, request: R) -> Self {
        Self { state: State::Readying { service, request: Some(request) } }
    }
}

impl<S: Service<R>, R> Future for Oneshot<S, R> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let future = match state.as_mut().project() {
                StateProj::Readying { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    // Taken only once: the state changes in this same iteration.
                    service.call(request.take().expect("polled after a panic"))
                }
                StateProj::Called { future } => return future.poll(cx),
            };
            state.set(State::Called { future });
        }
    }
}
