//! The response future: it polls the inner service, or asks the authorizer and opens a subscription.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Response, request::Parts};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    answer::{self, Decided},
    ask::Ask,
    body::SseBody,
    config::Config,
};
use crate::{
    authorize::{AllowAll, AuthorizeRequest, Authorizer, Decide},
    oneshot::Oneshot,
    publisher::{Opening, Publisher},
};

pin_project! {
    /// The response future of [`SseService`](crate::SseService). `S` is the inner service, `R` the request, and `A` the
    /// authorizer.
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct SseFuture<S: Service<R>, R, A: Authorizer = AllowAll> {
        #[pin]
        state: State<S, R, A>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S: Service<R>, R, A: Authorizer> {
        Inner { #[pin] inner: Oneshot<S, R> },
        Asked { config: Arc<Config>, ask: Ask, #[pin] step: Step<A> },
        /// `None` once it was returned.
        Answered { response: Option<Response<SseBody>> },
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<A: Authorizer> {
        Deciding { #[pin] decide: Decide<A> },
        // Ready at once if the log lives in process.
        Opening { #[pin] opening: Opening },
    }
}

impl<S: Service<R>, R, A: Authorizer> SseFuture<S, R, A> {
    pub(crate) fn passed_on(service: S, request: R) -> Self {
        Self { state: State::Inner { inner: Oneshot::new(service, request) } }
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

impl<S: Service<R>, R, A: Authorizer> fmt::Debug for SseFuture<S, R, A> {
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

impl<S, R, A, B> Future for SseFuture<S, R, A>
where
    S: Service<R, Response = Response<B>>,
    A: Authorizer,
{
    type Output = Result<Response<SseBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let response = match state.as_mut().project() {
            StateProj::Inner { inner } => return inner.poll(cx).map_ok(|response| response.map(SseBody::inner)),
            StateProj::Asked { config, ask, step } => {
                let response = ready!(step.poll_response(&config.publisher, ask, cx));
                state.set(State::Answered { response: None });
                response
            }
            // The contract of `Future`: polling again after `Ready` is a bug of the caller.
            StateProj::Answered { response } => response.take().expect("polled after it was ready"),
        };
        Poll::Ready(Ok(response.map(SseBody::widen)))
    }
}
