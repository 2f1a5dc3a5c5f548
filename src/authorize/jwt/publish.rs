//! Tokens that allow to publish over HTTP.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tower_service::Service;

use super::{Jwt, JwtFuture, claims};
use crate::{
    authorize::{
        denied::Denied,
        pattern,
        permit::{PublishGrant, PublishRequest},
    },
    error::BoxError,
};

/// What the claims of a valid token allow to publish.
#[derive(Clone)]
pub(super) struct Mapping(Arc<Map>);

type Map = dyn Fn(Value, &PublishRequest) -> Result<PublishGrant, Denied> + Send + Sync;

impl Default for Mapping {
    fn default() -> Self {
        Self(Arc::new(|claims, request| grant(&claims, request)))
    }
}

impl Jwt {
    /// Sets what a valid token allows to publish over HTTP. `map` gets the token's claims as a type of yours. A token
    /// without the claims that the type needs is denied. By default, the claims `publish` and `mercure.publish` name the
    /// channels, also if you set what may be [read](Self::claims).
    ///
    /// If your application has runs, don't grant their channels (`runs`, `run/..` and `thread/..`).
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_sse::{EventName, JwtKeys, PublishRequest, jwt};
    ///
    /// #[derive(Deserialize)]
    /// struct Claims {
    ///     shop: String,
    /// }
    ///
    /// let keys = JwtKeys::secret("a secret that only your servers know")?;
    /// let authorizer = jwt(keys).publish_claims(|claims: Claims, request: &PublishRequest| {
    ///     let own = format!("orders/{}", claims.shop);
    ///     Ok(request.grant().only(|channel| *channel == *own).events([EventName::from_static("paid")]).max_bytes(4096))
    /// });
    /// # fn check<A: tower_sse::PublishAuthorizer>(_: A) {}
    /// # check(authorizer);
    /// # Ok::<_, tower_sse::JwtError>(())
    /// ```
    pub fn publish_claims<C, F>(mut self, map: F) -> Self
    where
        C: DeserializeOwned,
        F: Fn(C, &PublishRequest) -> Result<PublishGrant, Denied> + Send + Sync + 'static,
    {
        self.rules_mut().publishing =
            Mapping(Arc::new(move |claims, request: &PublishRequest| map(claims::read(claims)?, request)));
        self
    }
}

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
        self.rules.clone().decide(token, move |rules, claims| Ok((rules.publishing.0)(claims, &request)?))
    }
}

fn grant(claims: &Value, request: &PublishRequest) -> Result<PublishGrant, Denied> {
    let lists = [claims.get("publish"), claims.get("mercure").and_then(|mercure| mercure.get("publish"))];
    let client = claims::client(claims)?;
    let grant = request.grant().only(|channel| {
        lists.iter().flatten().any(|list| claims::any(list, |entry| pattern::allows_to_publish(entry, channel)))
    });
    Ok(grant.client(client))
}
