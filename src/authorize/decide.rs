//! Asks an authorizer, and fails closed.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{authorizer::Authorizer, denied::Denied, rate_limited::RateLimited, request::AuthorizeRequest};
use crate::{error::BoxError, hub::Grant, oneshot::Oneshot, trace::debug, wire::name::ChannelName};

/// Why there is no grant.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The authorizer denied the request.
    Denied(Denied),
    /// The request comes too soon.
    Limited(RateLimited),
    /// The authorizer failed to answer. That may pass.
    Failed,
}

pin_project! {
    /// One question to a clone of an authorizer about a stream. It ends in a grant within what was asked or in a refusal.
    pub(crate) struct Decide<A: Authorizer> {
        asked: Arc<[ChannelName]>,
        #[pin]
        asking: Asking<A, AuthorizeRequest>,
    }
}

pin_project! {
    /// One question to a clone of a service. Whatever happens in it, an error or a panic, it ends in an answer or in a
    /// refusal.
    pub(crate) struct Asking<A: Service<R>, R> {
        #[pin]
        state: State<A, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<A: Service<R>, R> {
        Asked { #[pin] call: Oneshot<A, R> },
        /// The authorizer has answered, or could not even be cloned.
        Over,
    }
}

impl<A: Authorizer> Decide<A> {
    pub(crate) fn new(authorizer: &A, request: AuthorizeRequest) -> Self {
        Self { asked: request.shared_channels(), asking: Asking::new(authorizer, request) }
    }
}

impl<A: Service<R> + Clone, R> Asking<A, R> {
    pub(crate) fn new(authorizer: &A, request: R) -> Self {
        // Unwind safety: after a panic, nothing looks at the clone again, and the original belongs to the application.
        let state = match catch_unwind(AssertUnwindSafe(|| authorizer.clone())) {
            Ok(authorizer) => State::Asked { call: Oneshot::new(authorizer, request) },
            Err(_) => State::Over,
        };
        Self { state }
    }
}

impl<A: Authorizer> Future for Decide<A> {
    type Output = Result<Grant, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.asking.poll(cx).map(|answer| answer.and_then(|grant| narrow(grant, this.asked)))
    }
}

impl<A, R> Future for Asking<A, R>
where
    A: Service<R>,
    A::Error: Into<BoxError>,
{
    type Output = Result<A::Response, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.as_mut().project().state;
        // Unwind safety: a state that panicked is replaced below and never polled again.
        let answer = match catch_unwind(AssertUnwindSafe(|| state.poll_answer(cx))) {
            Ok(answer) => ready!(answer),
            Err(_) => Err("the authorizer panicked".into()),
        };
        self.as_mut().project().state.set(State::Over);
        Poll::Ready(answer.map_err(|error| judge(&*error)))
    }
}

impl<A, R> State<A, R>
where
    A: Service<R>,
    A::Error: Into<BoxError>,
{
    fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<A::Response, BoxError>> {
        match self.project() {
            StateProj::Asked { call } => call.poll(cx).map_err(Into::into),
            StateProj::Over => Poll::Ready(Err("the authorizer gave no answer".into())),
        }
    }
}

/// A grant may narrow what was asked, but never widen it.
fn narrow(grant: Grant, asked: &[ChannelName]) -> Result<Grant, Refusal> {
    // A set, because a query can name thousands of channels.
    let asked: HashSet<&ChannelName> = asked.iter().collect();
    let grant = grant.only(|channel| asked.contains(channel));
    if grant.channels().is_empty() { Err(Refusal::Denied(Denied::forbidden())) } else { Ok(grant) }
}

/// An error that is neither a [`Denied`] nor a [`RateLimited`] is a failure.
fn judge(error: &(dyn std::error::Error + 'static)) -> Refusal {
    if let Some(denied) = Denied::find(error) {
        return Refusal::Denied(denied.clone());
    }
    if let Some(limited) = RateLimited::find(error) {
        return Refusal::Limited(limited);
    }
    debug!("an authorizer failed", error = error);
    Refusal::Failed
}

#[cfg(test)]
mod tests {
    use std::{fmt, time::Duration};

    use http::StatusCode;
    use tower::{ServiceBuilder, timeout::Timeout};
    use tower_service::Service;

    use super::*;
    use crate::{
        authorize::{AllowAll, authorizer_fn, bearer},
        wire::name::ClientId,
    };

    fn request(channels: &[&'static str]) -> AuthorizeRequest {
        let parts = http::Request::get("/").body(()).unwrap().into_parts().0;
        let channels = channels.iter().map(|name| ChannelName::from_static(name));
        AuthorizeRequest::new(parts, channels, ClientId::from_static("ana"))
    }

    /// Returns the status of a denial, or `None` if the authorizer failed.
    async fn refused<A: Authorizer>(authorizer: A) -> Option<StatusCode> {
        match Decide::new(&authorizer, request(&["a", "b"])).await.expect_err("refused") {
            Refusal::Denied(denied) => Some(denied.status()),
            Refusal::Limited(_) => Some(StatusCode::TOO_MANY_REQUESTS),
            Refusal::Failed => None,
        }
    }

    #[tokio::test]
    async fn without_an_authorizer_everything_is_granted() {
        let grant = Decide::new(&AllowAll, request(&["a", "b"])).await.ok().unwrap();
        assert_eq!(grant.channels().len(), 2);
        assert_eq!(grant.client_id().unwrap(), &"ana");
    }

    #[tokio::test]
    async fn a_grant_narrows_and_never_widens() {
        let wider = authorizer_fn(|_| async { Ok::<_, Denied>(Grant::new(["b", "c"].map(ChannelName::from_static))) });
        let grant = Decide::new(&wider, request(&["a", "b"])).await.ok().unwrap();
        assert_eq!(grant.channels(), ["b"].map(ChannelName::from_static));
        let other = authorizer_fn(|_| async { Ok::<_, Denied>(Grant::new(["c"].map(ChannelName::from_static))) });
        assert_eq!(refused(other).await, Some(StatusCode::FORBIDDEN));
    }

    #[tokio::test]
    async fn a_denial_keeps_its_status_through_middlewares() {
        let denied = |denied: Denied| authorizer_fn(move |_| std::future::ready(Err::<Grant, _>(denied.clone())));
        assert_eq!(refused(denied(Denied::not_found())).await, Some(StatusCode::NOT_FOUND));
        let timed = Timeout::new(denied(Denied::unauthorized()), Duration::from_secs(1));
        assert_eq!(refused(timed).await, Some(StatusCode::UNAUTHORIZED));
        let buffered = ServiceBuilder::new()
            .buffer(4)
            .concurrency_limit(1)
            .timeout(Duration::from_secs(1))
            .service(denied(Denied::not_found()));
        assert_eq!(refused(buffered).await, Some(StatusCode::NOT_FOUND));
    }

    #[tokio::test]
    async fn a_denial_is_found_among_an_errors_causes() {
        #[derive(Debug)]
        struct Wrapped(Denied);
        impl fmt::Display for Wrapped {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("wrapped")
            }
        }
        impl std::error::Error for Wrapped {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let wrapped = authorizer_fn(|_| async { Err::<Grant, _>(Wrapped(Denied::not_found())) });
        assert_eq!(refused(wrapped).await, Some(StatusCode::NOT_FOUND));
    }

    #[tokio::test]
    async fn a_rate_limit_is_found_among_an_errors_causes() {
        let limited = || RateLimited::new(Duration::from_secs(7));
        let timed = Timeout::new(authorizer_fn(move |_| async move { Err::<Grant, _>(limited()) }), Duration::MAX);
        match Decide::new(&timed, request(&["a"])).await {
            Err(Refusal::Limited(found)) => assert_eq!(found, limited()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_error_fails_closed() {
        let broken = authorizer_fn(|_| async { Err::<Grant, _>(std::io::Error::other("no database")) });
        assert_eq!(refused(broken).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_fails_closed() {
        let slow = Timeout::new(
            authorizer_fn(|request: AuthorizeRequest| async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok::<_, Denied>(request.grant())
            }),
            Duration::from_secs(1),
        );
        assert_eq!(refused(slow).await, None);
    }

    /// Panics where it is told to.
    #[derive(Debug)]
    struct Panics(&'static str);

    impl Clone for Panics {
        fn clone(&self) -> Self {
            assert_ne!(self.0, "clone");
            Self(self.0)
        }
    }

    impl Service<AuthorizeRequest> for Panics {
        type Response = Grant;
        type Error = Denied;
        type Future = futures_util::future::Lazy<fn(&mut Context<'_>) -> Result<Grant, Denied>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Denied>> {
            assert_ne!(self.0, "poll_ready");
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: AuthorizeRequest) -> Self::Future {
            assert_ne!(self.0, "call");
            futures_util::future::lazy(|_| panic!("poll"))
        }
    }

    #[tokio::test]
    async fn a_panic_fails_closed_wherever_it_happens() {
        for place in ["clone", "poll_ready", "call", "poll"] {
            assert_eq!(refused(Panics(place)).await, None, "{place}");
        }
    }

    #[tokio::test]
    async fn a_bearer_without_a_token_does_not_look_it_up() {
        let authorizer = bearer(|_, request: AuthorizeRequest| async move {
            assert!(request.method().as_str().is_empty(), "looked up");
            Ok::<_, Denied>(request.grant())
        });
        assert_eq!(refused(authorizer).await, Some(StatusCode::UNAUTHORIZED));
    }

    #[tokio::test]
    async fn the_instance_that_became_ready_is_the_one_called() {
        #[derive(Debug, Default)]
        struct Careful(bool);
        impl Clone for Careful {
            fn clone(&self) -> Self {
                Self(false)
            }
        }
        impl Service<AuthorizeRequest> for Careful {
            type Response = Grant;
            type Error = Denied;
            type Future = std::future::Ready<Result<Grant, Denied>>;

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denied>> {
                if std::mem::replace(&mut self.0, true) {
                    return Poll::Ready(Ok(()));
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }

            fn call(&mut self, request: AuthorizeRequest) -> Self::Future {
                assert!(std::mem::take(&mut self.0), "called before it was ready");
                std::future::ready(Ok(request.grant()))
            }
        }
        assert!(Decide::new(&Careful(true), request(&["a"])).await.is_ok());
    }
}
