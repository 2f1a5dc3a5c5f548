//! The layer, which an application configures with a publisher, routes and an authorizer.

use std::sync::Arc;

use tower_layer::Layer;

use super::{
    config::Config,
    not_found::NotFound,
    route::{Route, Routes},
    service::SseService,
};
use crate::{
    authorize::{AllowAll, Authorizer},
    error::RouteError,
    publisher::Publisher,
};

/// A [`tower_layer::Layer`] that answers `GET` and `HEAD` on its routes with streams of a hub's channels, and passes
/// every other request to the inner service.
///
/// It works around any HTTP stack that is a `tower::Service<http::Request<_>>`:
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
/// To be told when a stream opens and when it ends, set hooks on the publisher: see
/// [`PublisherBuilder::on_open`](crate::PublisherBuilder::on_open) and
/// [`on_close`](crate::PublisherBuilder::on_close). They see the streams of the layer and those of your own handlers.
///
/// # The inner service
///
/// The inner service must be `Clone`, as the adapters of axum and hyper-util require anyway. Each request that is
/// passed on gets a clone of its own. The body of the inner service's responses must be an
/// `http_body::Body<Data = Bytes>`: see [`SseBody`](crate::SseBody).
///
/// **[`SseService`] is always ready.** It polls the inner service for readiness only when a request is passed on, on
/// that request's own clone. A stream therefore neither waits for a busy inner service nor takes up its capacity, but
/// backpressure does not reach the layers *around* this one either. Put a layer that depends on readiness, such as
/// `LoadShed` around a `ConcurrencyLimit`, inside this layer, next to the service that may be busy. A limit that should
/// count streams too goes around this layer.
///
/// # Which layers protect the streams
///
/// The layer answers its routes itself, so nothing *inside* it ever sees a request for a stream. Authentication, CORS,
/// rate limits and tracing that streams need must go *around* it. **In axum that means you add them after it**, because
/// the layer that is added last sees a request first: `.layer(auth).layer(sse)` protects every page and leaves every
/// stream open to anybody.
///
/// ```
/// use axum::{
///     Router, extract::Request, http::StatusCode, middleware, response::{IntoResponse, Response}, routing::get,
/// };
/// use tower::ServiceExt as _;
/// use tower_sse::{Publisher, SseLayer};
///
/// async fn signed_in(request: Request, next: middleware::Next) -> Response {
///     match request.headers().contains_key("cookie") {
///         true => next.run(request).await,
///         false => StatusCode::UNAUTHORIZED.into_response(),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sse = SseLayer::new(Publisher::new()).route("/events/{channel}")?;
/// let app: Router = Router::new()
///     .route("/private", get(async || "a page"))
///     .layer(sse)
///     // Added after `sse`, so it protects the page and the streams.
///     .layer(middleware::from_fn(signed_in));
///
/// for path in ["/private", "/events/payroll"] {
///     let request = Request::get(path).body(axum::body::Body::empty())?;
///     assert_eq!(app.clone().oneshot(request).await?.status(), 401);
/// }
/// # Ok(())
/// # }
/// ```
///
/// With `tower::ServiceBuilder` the order is the opposite: the layer that is added first is outermost.
///
/// # In axum
///
/// [`axum::Router::layer`][axum-layer] wraps the routes and the fallback that the router has at that moment. A path
/// that the router does not know reaches the layer only through the fallback. So add the layer after all routes and
/// after `fallback`, on the router that you serve:
///
/// ```
/// # use axum::{Router, routing::get};
/// # use tower_sse::{Publisher, SseLayer};
/// # let sse = SseLayer::new(Publisher::new()).route("/sse/{channel}")?;
/// let app: Router = Router::new()
///     .route("/", get(async || "the page"))
///     .fallback(async || "everything else")
///     .layer(sse);
/// # Ok::<_, tower_sse::RouteError>(())
/// ```
///
/// You can also wrap a whole router, wherever it comes from: `Router::new().fallback_service(sse.layer(app))`, with
/// `tower::Layer` in scope for the method.
///
/// If you don't want a layer around the whole router, make the streams a service of their own, on a route or under a
/// prefix. axum strips the prefix before the layer's patterns see the path:
///
/// ```
/// # use axum::Router;
/// # use tower_sse::{Publisher, SseLayer};
/// # let publisher = Publisher::new();
/// let on_a_route = SseLayer::new(publisher.clone()).route("/sse/{channel}")?.into_service();
/// let under_a_prefix = SseLayer::new(publisher).route("/{channel}")?.into_service();
/// let app: Router = Router::new().route_service("/sse/{channel}", on_a_route).nest_service("/live", under_a_prefix);
/// # Ok::<_, tower_sse::RouteError>(())
/// ```
///
/// You can put a router that has the layer, here `streams`, into another router with `nest_service`, or with
/// `other.merge(streams)` as long as `other` has no fallback. The following compile as well, but answer the layer's
/// paths with a 404 or with a fallback, without any warning:
///
/// - `route_layer` instead of `layer`: it does not wrap the fallback.
/// - `.layer(sse)` before `.fallback(..)`: the fallback is not inside the layer.
/// - `nest` of a router that has the layer but no fallback of its own: the outer router's fallback is used instead.
/// - `streams.merge(other)`, or an `other` with a fallback: the fallback that remains is that of `other`.
///
/// # Who may read
///
/// The [authorizer](SseLayer::authorizer) decides which channels a connection reads, and as which client. Without one,
/// everybody can read everything.
///
/// [axum-layer]: https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct SseLayer<A = AllowAll> {
    config: Arc<Config>,
    authorizer: A,
}

impl SseLayer {
    /// Creates a layer that serves the channels of `publisher`. It has no routes yet, and grants everybody what they
    /// ask for.
    pub fn new(publisher: Publisher) -> Self {
        Self { config: Arc::new(Config { publisher, routes: Routes::default() }), authorizer: AllowAll }
    }
}

impl<A> SseLayer<A> {
    /// Adds a route: a pattern, or a [`Route`] with settings.
    ///
    /// # Errors
    ///
    /// Returns an error that names the pattern in either of these cases:
    ///
    /// - The pattern is malformed, does not begin with a slash, could never match as intended, or conflicts with
    ///   another pattern of the layer: [`RouteError::is_pattern`](crate::RouteError::is_pattern).
    /// - The route has a fixed channel, and its pattern has a `{channel}`:
    ///   [`RouteError::is_channel_twice`](crate::RouteError::is_channel_twice).
    pub fn route(mut self, route: impl Into<Route>) -> Result<Self, RouteError> {
        Arc::make_mut(&mut self.config).routes.insert(route.into())?;
        Ok(self)
    }

    /// Sets the authorizer, which decides who may read what. The default is [`AllowAll`]. It is cloned for each
    /// request for a stream.
    ///
    /// By default there is no limit on how long it may take. Put a timeout around it: see [`Authorizer`]. axum requires
    /// it to be `Send`, `Sync` and `'static`.
    pub fn authorizer<D: Authorizer>(self, authorizer: D) -> SseLayer<D> {
        SseLayer { config: self.config, authorizer }
    }

    /// Returns a service that serves only the streams, for a router's `route_service` or `nest_service`. It answers any
    /// other path with 404, and any other method on a stream's path with 405.
    pub fn into_service(self) -> SseService<NotFound, A> {
        let inner = NotFound { config: self.config.clone() };
        SseService::new(inner, self.config, self.authorizer)
    }
}

impl<S, A: Clone> Layer<S> for SseLayer<A> {
    type Service = SseService<S, A>;

    fn layer(&self, inner: S) -> SseService<S, A> {
        SseService::new(inner, self.config.clone(), self.authorizer.clone())
    }
}
