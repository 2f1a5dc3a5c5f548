//! Tokens that allow to publish over HTTP.

use std::task::{Context, Poll};

use serde_json::Value;
use tower_service::Service;

use super::{Jwt, JwtFuture, claims};
use crate::authorize::{
    authorizer::BoxError,
    denied::Denied,
    pattern,
    permit::{PublishGrant, PublishRequest},
};

/// A token allows to publish to the channels that its claims `publish` and `mercure.publish` name: arrays like those for
/// reading. In these, `*` and templates leave out the channels of runs: `runs`, `run/..` and `thread/..`. A token has to name
/// such a channel exactly.
impl Service<PublishRequest> for Jwt {
    type Response = PublishGrant;
    type Error = BoxError;
    type Future = JwtFuture<PublishGrant>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: PublishRequest) -> JwtFuture<PublishGrant> {
        let Some(token) = self.source.token(request.method(), request.uri(), request.headers()) else {
            return JwtFuture::ready(Err(Denied::unauthorized().into()));
        };
        self.rules.clone().decide(token, move |_, claims| grant(&claims, &request))
    }
}

fn grant(claims: &Value, request: &PublishRequest) -> Result<PublishGrant, BoxError> {
    let lists = [claims.get("publish"), claims.get("mercure").and_then(|mercure| mercure.get("publish"))];
    Ok(request.grant().only(|channel| {
        lists.iter().flatten().any(|list| claims::any(list, |entry| pattern::allows_to_publish(entry, channel)))
    }))
}
