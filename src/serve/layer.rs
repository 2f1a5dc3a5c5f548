//! What an application configures: the hub, the routes and the authorizer.

use std::sync::Arc;

use tower_layer::Layer;

use super::{
    config::Config,
    route::{Route, Routes},
    service::SseService,
};
use crate::{
    authorize::{AllowAll, Authorizer},
    error::RouteError,
    publisher::Publisher,
};

/// A [`tower_layer::Layer`] that answers `GET` and `HEAD` on its routes with streams of a hub's channels, and passes every
/// other request to the service within.
///
/// Around any HTTP stack that is a `tower::Service<http::Request<_>>`:
///
/// ```
/// use tower_sse::{Publisher, SseLayer};
///
/// let publisher = Publisher::new();
/// let layer = SseLayer::new(publisher.clone()).route("/sse/{channel}")?.route("/sse/{channel}/{client_id}")?;
/// let app: axum::Router = axum::Router::new().layer(layer);
/// # Ok::<_, tower_sse::RouteError>(())
/// ```
///
/// The client and its [authorizer](SseLayer::authorizer) decide what is read; without one everybody reads everything.
#[derive(Debug, Clone)]
pub struct SseLayer<A = AllowAll> {
    config: Arc<Config>,
    authorizer: A,
}

impl SseLayer {
    /// A layer over the hub of `publisher`, without routes, that grants everybody what they ask for.
    pub fn new(publisher: Publisher) -> Self {
        Self { config: Arc::new(Config { publisher, routes: Routes::default() }), authorizer: AllowAll }
    }
}

impl<A> SseLayer<A> {
    /// Adds a route: a pattern, or a [`Route`] with settings.
    ///
    /// # Errors
    ///
    /// If the pattern is malformed, does not begin with a slash or conflicts with one that the layer has, or if the
    /// route has both a fixed channel and a `{channel}`.
    pub fn route(mut self, route: impl Into<Route>) -> Result<Self, RouteError> {
        Arc::make_mut(&mut self.config).routes.insert(route.into())?;
        Ok(self)
    }

    /// Sets who decides; [`AllowAll`] by default. It is cloned for each connection.
    pub fn authorizer<D: Authorizer>(self, authorizer: D) -> SseLayer<D> {
        SseLayer { config: self.config, authorizer }
    }
}

impl<S, A: Clone> Layer<S> for SseLayer<A> {
    type Service = SseService<S, A>;

    fn layer(&self, inner: S) -> SseService<S, A> {
        SseService::new(inner, self.config.clone(), self.authorizer.clone())
    }
}
