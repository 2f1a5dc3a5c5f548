//! An authorizer with limits around it.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Principal, Settings};
use crate::{
    authorize::{rate_limited::RateLimited, request::AuthorizeRequest},
    error::BoxError,
    hub::{Grant, allowance::Allowance, toll::Toll},
};

/// The authorizer that [`RateLimit::around`](crate::limits::RateLimit::around) returns.
#[derive(Clone)]
pub struct Limited<A> {
    pub(super) inner: A,
    pub(super) settings: Arc<Settings>,
}

impl<A> Limited<A> {
    pub(super) fn new(inner: A, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    pub(super) fn ask<R>(
        &mut self,
        entered: Result<Principal<'static>, RateLimited>,
        request: R,
    ) -> LimitedFuture<A::Future>
    where
        A: Service<R>,
    {
        match entered {
            Ok(address) => {
                let future = self.inner.call(request);
                LimitedFuture { state: State::Asked { future, settings: self.settings.clone(), address } }
            }
            Err(limited) => LimitedFuture { state: State::Refused { limited } },
        }
    }
}

impl<A: fmt::Debug> fmt::Debug for Limited<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("inner", &self.inner).field("settings", &self.settings).finish()
    }
}

impl<A> Service<AuthorizeRequest> for Limited<A>
where
    A: Service<AuthorizeRequest, Response = Grant, Error: Into<BoxError>>,
{
    type Response = Grant;
    type Error = BoxError;
    type Future = LimitedFuture<A::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: AuthorizeRequest) -> Self::Future {
        self.ask(self.settings.enter(&request), request)
    }
}

pin_project! {
    /// The response future of [`Limited`]. `F` is that of the authorizer.
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct LimitedFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Asked { #[pin] future: F, settings: Arc<Settings>, address: Principal<'static> },
        Refused { limited: RateLimited },
    }
}

impl<F> fmt::Debug for LimitedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = matches!(self.state, State::Refused { .. });
        f.debug_struct("LimitedFuture").field("refused", &refused).finish_non_exhaustive()
    }
}

impl<F, G, E> Future for LimitedFuture<F>
where
    F: Future<Output = Result<G, E>>,
    G: Permission,
    E: Into<BoxError>,
{
    type Output = Result<G, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::Asked { future, settings, address } => match ready!(future.poll(cx)) {
                Ok(grant) => grant.limited(settings, *address).map_err(Into::into),
                Err(error) => Err(error.into()),
            },
            StateProj::Refused { limited } => Err((*limited).into()),
        })
    }
}

/// What an authorizer returns.
pub(super) trait Permission: Sized {
    /// Charges the client, or the address if there is no client. Returns the permission with what it has to charge later.
    fn limited(self, settings: &Arc<Settings>, address: Principal<'_>) -> Result<Self, RateLimited>;
}

impl Permission for Grant {
    fn limited(mut self, settings: &Arc<Settings>, address: Principal<'_>) -> Result<Self, RateLimited> {
        let principal = self.client_id().map_or(address, Principal::Client);
        let key = settings.keys.key(principal);
        let holder = settings.streams.map(|max| Allowance { holder: principal.to_string().into(), max });
        settings.connects.charge(settings.max_keys, key, 1).map_err(RateLimited::new)?;
        self.allowance = holder.or(self.allowance);
        if settings.replay.is_set() {
            let (inner, settings) = (self.toll.take(), settings.clone());
            self.toll = Some(Toll::new(move |events| {
                // Another `RateLimit` may be inside this one.
                inner.as_ref().map_or(Ok(()), |inner| inner.charge(events))?;
                settings.replay.charge(settings.max_keys, key, events)
            }));
        }
        Ok(self)
    }
}
