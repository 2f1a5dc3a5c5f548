//! The page that shows who reads what, for operators with a token.

use std::{env, future::ready, sync::Arc};

use axum::{
    Router,
    http::{HeaderValue, header::AUTHORIZATION},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq as _;
use tower_sse::{Denied, Inspect, InspectAuthorizer, InspectGrant, InspectRequest, Publisher, inspect_authorizer_fn};

/// The page at `/inspect`, if `INSPECT_TOKEN` is set. Without it, there is nothing.
pub fn router(publisher: Publisher) -> Router {
    match env::var("INSPECT_TOKEN") {
        Ok(token) if !token.is_empty() => {
            Router::new().nest_service("/inspect", Inspect::new(publisher, authorizer(&token)))
        }
        _ => Router::new(),
    }
}

/// A browser asks for a user and a password. The password is the token, and the user is `admin`.
fn authorizer(token: &str) -> impl InspectAuthorizer<Future: Send> + Send + Sync + 'static {
    let expected: Arc<str> = format!("Basic {}", STANDARD.encode(format!("admin:{token}"))).into();
    inspect_authorizer_fn(move |request: InspectRequest| {
        let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        // In constant time, so that nobody finds the token out byte by byte.
        let known = bool::from(given.ct_eq(expected.as_bytes()));
        let challenge = HeaderValue::from_static(r#"Basic realm="inspect", charset="UTF-8""#);
        ready(match known {
            true => Ok(InspectGrant::new().allow_events().allow_disconnect()),
            false => Err(Denied::unauthorized().challenge(challenge)),
        })
    })
}
