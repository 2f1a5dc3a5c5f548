//! The token that `AUTH_TOKEN` sets: streams ask for it through an authorizer, handlers that publish through a
//! middleware.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower_sse::{AuthorizeRequest, Authorizer, Denied, bearer};

use crate::refused::Refused;

#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    pub fn new(token: String) -> Self {
        Self(token.into())
    }

    /// For the streams. `EventSource` can't set headers, so the token may stand in the URL as well.
    pub fn authorizer(self) -> impl Authorizer<Future: Send> + Send + Sync {
        let check = bearer(move |given: String, request: AuthorizeRequest| {
            // Whoever has the token may be any client: the one that the URL names.
            let grant = (*given == *self.0).then(|| request.grant().client(request.client().cloned()));
            async move { grant.ok_or_else(Denied::unauthorized) }
        });
        check.query_parameter("access_token")
    }

    /// For all other requests, a middleware. It runs before the handler's extractors, so the body of a request that it
    /// refuses is never read.
    pub async fn require(State(token): State<Self>, request: Request, next: Next) -> Response {
        if given(request.headers()) == Some(&*token.0) {
            return next.run(request).await;
        }
        let refused = Refused::new(StatusCode::UNAUTHORIZED, "publishing needs `Authorization: Bearer <token>`");
        ([(header::WWW_AUTHENTICATE, "Bearer")], refused).into_response()
    }
}

/// The token in a request's headers. The scheme's case does not matter.
fn given(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
