//! Streams that need a token. A token is the time at which it expires, in milliseconds since 1970.

use std::time::{Duration, SystemTime};

use tower_sse::{AuthorizeRequest, Authorizer, Denied, OpenOptions, Publisher, RouteError, SseLayer, Start, bearer};

use crate::route;

pub fn streams(
    publisher: &Publisher,
) -> Result<SseLayer<impl Authorizer<Future: Send> + Send + Sync + 'static>, RouteError> {
    let check = bearer(|token: String, request: AuthorizeRequest| async move {
        let expires = token.parse().ok().map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        match expires.filter(|expires| *expires > SystemTime::now()) {
            Some(expires) => Ok(request.grant().expires_at(expires)),
            None => Err(Denied::unauthorized().detail("the token has expired")),
        }
    });
    let route = route("/private/{channel}").options(OpenOptions::new().start(Start::Earliest));
    Ok(SseLayer::new(publisher.clone()).route(route)?.authorizer(check.query_parameter("access_token")))
}
