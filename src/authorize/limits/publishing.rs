//! Limits around the authorizer of a service that publishes.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{Key, Limit, Limited, LimitedFuture, Principal, Settings, limited::Permission};
use crate::{
    authorize::{
        permit::{PublishGrant, PublishRequest},
        rate_limited::RateLimited,
    },
    error::BoxError,
    hub::toll::Toll,
};

impl<A> Service<PublishRequest> for Limited<A>
where
    A: Service<PublishRequest, Response = PublishGrant, Error: Into<BoxError>>,
{
    type Response = PublishGrant;
    type Error = BoxError;
    type Future = LimitedFuture<A::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: PublishRequest) -> Self::Future {
        self.ask(self.settings.enter(&request), request)
    }
}

impl Permission for PublishGrant {
    fn limited(mut self, settings: &Arc<Settings>, address: Principal<'_>) -> Result<Self, RateLimited> {
        let key = settings.keys.key(self.client_id().map_or(address, Principal::Client));
        settings.publishes.charge(settings.max_keys, key, 1).map_err(RateLimited::new)?;
        if settings.publishes.is_set() {
            let (inner, settings) = (self.toll.take(), settings.clone());
            self.toll = Some(Toll::new(move |events| {
                inner.as_ref().map_or(Ok(()), |inner| inner.charge(events))?;
                // The first one was counted with the request.
                settings.publishes.add(settings.max_keys, key, events - 1);
                Ok(())
            }));
        }
        Ok(self)
    }
}

impl Limit {
    /// Counts something that has happened.
    fn add(&self, max_keys: usize, key: Key, cost: u64) {
        self.limiter(max_keys).into_iter().for_each(|limiter| limiter.add(key, cost));
    }
}
