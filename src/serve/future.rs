//! The way from a request to its response: through the inner service, or through the authorizer.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Response, request::Parts};
use pin_project_lite::pin_project;

use super::{
    answer::{self, Decided},
    ask::Ask,
    body::SseBody,
    config::Config,
};
use crate::{
    authorize::{AllowAll, AuthorizeRequest, Authorizer, Decide},
    hub::Opening,
    publisher::Publisher,
};

pin_project! {
    /// What [`SseService`](crate::SseService) answers: `F` is the inner service's future, `A` the authorizer.
    #[must_use = "a future does nothing until it is polled"]
    pub struct SseFuture<F, A: Authorizer = AllowAll> {
        #[pin]
        state: State<F, A>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, A: Authorizer> {
        Inner { #[pin] future: F },
        Asked { config: Arc<Config>, ask: Ask, #[pin] step: Step<A> },
        /// `None` once it is given.
        Answered { response: Option<Response<SseBody>> },
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<A: Authorizer> {
        Deciding { #[pin] decide: Decide<A> },
        // Ready at once where the log lives in process.
        Opening { #[pin] opening: Opening },
    }
}

impl<F, A: Authorizer> SseFuture<F, A> {
    pub(crate) fn inner(future: F) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(crate) fn answered(response: Response<SseBody>) -> Self {
        Self { state: State::Answered { response: Some(response) } }
    }

    pub(crate) fn asking(config: Arc<Config>, authorizer: &A, ask: Ask, parts: Parts) -> Self {
        let request = AuthorizeRequest::of(parts, ask.channels.clone(), ask.client.clone());
        Self { state: State::Asked { config, ask, step: Step::Deciding { decide: Decide::new(authorizer, request) } } }
    }
}

impl<A: Authorizer> Step<A> {
    fn poll_response(
        mut self: Pin<&mut Self>,
        publisher: &Publisher,
        ask: &Ask,
        cx: &mut Context<'_>,
    ) -> Poll<Response<SseBody>> {
        loop {
            let decided = match self.as_mut().project() {
                StepProj::Deciding { decide } => answer::decided(publisher, ask, ready!(decide.poll(cx))),
                StepProj::Opening { opening } => {
                    return opening.poll(cx).map(|opened| answer::opened(publisher, ask, opened));
                }
            };
            match decided {
                Decided::Open(opening) => self.set(Step::Opening { opening }),
                Decided::Answer(response) => return Poll::Ready(response),
            }
        }
    }
}

impl<F, A: Authorizer> fmt::Debug for SseFuture<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Inner { .. } => "inner",
            State::Asked { step: Step::Deciding { .. }, .. } => "asking",
            State::Asked { step: Step::Opening { .. }, .. } => "opening",
            State::Answered { .. } => "answered",
        };
        f.debug_struct("SseFuture").field("state", &state).finish_non_exhaustive()
    }
}

impl<F, A, B, E> Future for SseFuture<F, A>
where
    F: Future<Output = Result<Response<B>, E>>,
    A: Authorizer,
{
    type Output = Result<Response<SseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let response = match state.as_mut().project() {
            StateProj::Inner { future } => return future.poll(cx).map_ok(|response| response.map(SseBody::inner)),
            StateProj::Asked { config, ask, step } => {
                let response = ready!(step.poll_response(&config.publisher, ask, cx));
                state.set(State::Answered { response: None });
                response
            }
            // The contract of `Future`: whoever polls once more than that has a bug of their own.
            StateProj::Answered { response } => response.take().expect("polled after it was ready"),
        };
        Poll::Ready(Ok(response.map(SseBody::widen)))
    }
}
