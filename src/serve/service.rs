//! Separates the requests for streams from those for the inner service. `future` handles both from there on.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use tokio::time::Instant;
use tower_service::Service;

use super::{answer, ask::Ask, body::SseBody, config::Config, future::SseFuture};
use crate::authorize::{AllowAll, Authorizer};

/// The service that [`SseLayer`](crate::SseLayer) makes from an inner service. It answers requests on the layer's
/// routes with streams, and passes every other request to the inner service.
///
/// It is always ready, and it fails only if the inner service does. See
/// [`SseLayer`](crate::SseLayer#the-inner-service) for what this means for the layers around it.
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_sse::{Publisher, SseLayer};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("inner".to_owned())));
/// let sse = SseLayer::new(Publisher::new()).route("/sse/{channel}")?;
/// let service = ServiceBuilder::new().layer(sse).service(inner);
/// let response = service.oneshot(Request::get("/other").body(()).unwrap()).await.unwrap();
/// assert_eq!(response.status(), 200);
/// # Ok::<_, tower_sse::RouteError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct SseService<S, A = AllowAll> {
    inner: S,
    config: Arc<Config>,
    authorizer: A,
}

impl<S, A> SseService<S, A> {
    pub(crate) fn new(inner: S, config: Arc<Config>, authorizer: A) -> Self {
        Self { inner, config, authorizer }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to change it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service, without the layer.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, A, ReqBody, ResBody> Service<Request<ReqBody>> for SseService<S, A>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    A: Authorizer,
{
    type Response = Response<SseBody<ResBody>>;
    type Error = S::Error;
    type Future = SseFuture<S, Request<ReqBody>, A>;

    /// Always ready, because a stream does not need the inner service. Polling the inner service here would delay
    /// streams while it is busy, and would reserve capacity in it that a stream never uses.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Config { publisher, routes } = &*self.config;
        let max = publisher.limits().channels_per_subscription;
        match Ask::read(routes, max, request.method(), request.uri(), request.headers()) {
            // The future polls the clone until it is ready, because `poll_ready` has not polled `self.inner`.
            None => SseFuture::passed_on(self.inner.clone(), request),
            Some(Err(rejection)) => {
                let head = request.method() == Method::HEAD;
                SseFuture::answered(answer::rejected(publisher, &rejection, head))
            }
            Some(Ok(mut ask)) => {
                ask.asked = publisher.watch().is_on().then(Instant::now);
                let (parts, _body) = request.into_parts();
                SseFuture::asking(self.config.clone(), &self.authorizer, ask, parts)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tower_layer::Layer as _;

    use crate::{Publisher, SseLayer};

    #[test]
    fn the_inner_service_can_be_seen_changed_and_taken_back() {
        let mut service = SseLayer::new(Publisher::new()).layer(1);
        assert_eq!(*service.get_ref(), 1);
        *service.get_mut() = 2;
        assert_eq!(service.into_inner(), 2);
    }
}
