//! An authorizer for JSON Web Tokens, with the keys, the claims and the time checked.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `keys`, `key_set`, `fetch` | which keys there are, what each is for, and when they are fetched |
//! | `crypto` | whether a signature is right |
//! | `verify` | whether a token is valid |
//! | `claims` | what a valid token allows |

mod claims;
mod crypto;
mod fetch;
mod future;
mod key_set;
mod keys;
mod links;
#[cfg(feature = "publish")]
mod publish;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower_service::Service;

use self::verify::{Checked, Expected};
pub use self::{future::JwtFuture, keys::JwtKeys, links::Links};
use super::{
    denied::Denied,
    request::AuthorizeRequest,
    token::{Found, TokenSource},
};
use crate::{error::BoxError, hub::Grant, random};

/// Makes an [`Authorizer`](crate::Authorizer) for JSON Web Tokens ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) that
/// were signed with one of `keys`.
///
/// The token comes from the header `Authorization: Bearer <token>`, and from a [query parameter](Jwt::query_parameter) or a
/// [cookie](Jwt::cookie) if you name one. A token is valid if a key that may have signed it has signed it, if its `exp` is
/// in the future and its `nbf`, if it has one, is not, and if it has the [issuer](Jwt::issuer) and the
/// [audience](Jwt::audience) that you ask for. The stream ends when the token expires.
///
/// By default, these claims of a token decide what it allows. [`claims`](Jwt::claims) replaces that for reading, and
/// `Jwt::publish_claims`, with the feature `publish`, for publishing.
///
/// | claim | meaning |
/// | --- | --- |
/// | `channels` | an array of the channels that may be read |
/// | `mercure`, an object with `subscribe` | the same, as [Mercure](https://mercure.rocks/spec) has it |
/// | `client`, or `sub` if there is none | the client of the stream |
/// | `publish`, or `publish` in `mercure` | an array of the channels that may be published to over HTTP, with the feature `publish` |
///
/// Each entry of such an array is the name of a channel, `*` for all channels, or a template: in `room/{id}`, `{id}` stands
/// for one or more characters other than `:/?#[]@!$&'()*+,;={}`. Other expressions of URI templates have no meaning, and
/// match nothing. A token that names no channel allows nothing.
///
/// ```
/// use tower_sse::{JwtKeys, Publisher, SseLayer, jwt};
///
/// let keys = JwtKeys::secret("a secret that only your servers know")?;
/// let authorizer = jwt(keys).audience(["chat"]).cookie("__Host-session");
/// let layer = SseLayer::new(Publisher::new()).authorizer(authorizer).route("/sse/{channel}")?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// What is wrong with a request decides about the answer:
///
/// | the request | the answer |
/// | --- | --- |
/// | has no token, or one that is not valid | 401 |
/// | has a valid token that allows no requested channel | 403 |
/// | has a token whose key can't be had now: see [`JwtKeys::fetched`] | as for any error: the client reconnects later |
pub fn jwt(keys: JwtKeys) -> Jwt {
    let rules = Rules {
        keys,
        expected: Expected::default(),
        mapping: Arc::new(|claims: Value, request: &AuthorizeRequest| claims::grant(&claims, request)),
        longest: None,
        #[cfg(feature = "publish")]
        publishing: publish::Mapping::default(),
    };
    Jwt { rules: Arc::new(rules), source: TokenSource::default() }
}

/// The [`Authorizer`](crate::Authorizer) returned by [`jwt`].
#[derive(Clone)]
pub struct Jwt {
    rules: Arc<Rules>,
    source: TokenSource,
}

type Mapping = dyn Fn(Value, &AuthorizeRequest) -> Result<Grant, Denied> + Send + Sync;

#[derive(Clone)]
struct Rules {
    keys: JwtKeys,
    expected: Expected,
    mapping: Arc<Mapping>,
    /// How long a stream may last, if its token is valid for longer.
    longest: Option<Duration>,
    #[cfg(feature = "publish")]
    publishing: publish::Mapping,
}

impl Jwt {
    /// Accepts only tokens whose `iss` is one of these. By default, any issuer whose key you accept will do.
    pub fn issuer<S: Into<String>>(mut self, issuers: impl IntoIterator<Item = S>) -> Self {
        self.expected().issuers = Some(issuers.into_iter().map(Into::into).collect());
        self
    }

    /// Accepts only tokens whose `aud` has one of these. By default, only tokens without an `aud` are accepted, because one
    /// with it is for somebody else ([RFC 7519, 4.1.3](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3)).
    pub fn audience<S: Into<String>>(mut self, audiences: impl IntoIterator<Item = S>) -> Self {
        self.expected().audiences = Some(audiences.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how far the issuer's clock may differ: a token is accepted for this long after its `exp`, and before its `nbf`.
    /// The default is 10 seconds, and the most is 5 minutes.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.expected().leeway = leeway.min(Duration::from_secs(300));
        self
    }

    /// Accepts tokens without an `exp`, too. Their streams do not end by themselves, and whoever has such a token can read
    /// until you replace the key. By default, such tokens are refused.
    pub fn allow_without_expiry(mut self) -> Self {
        self.expected().needs_expiry = false;
        self
    }

    /// Ends a stream after this time, even if its token is valid for longer. The client is told to reconnect, resumes where
    /// it was, and its token is checked again, with the keys that there are by then. So a reader whose key you have
    /// [replaced](JwtKeys::replace) reads at most this much longer, on every node. The default is that a stream lasts as
    /// long as its token is valid.
    ///
    /// Each stream ends at a random time in the last quarter, so that not all of them reconnect at once. If the keys are
    /// [fetched](JwtKeys::fetched), a node accepts a key that the issuer has removed until its
    /// [next fetch](JwtKeys::refresh_after), and this time comes on top.
    pub fn longest_stream(mut self, time: Duration) -> Self {
        self.rules_mut().longest = Some(time);
        self
    }

    /// Sets what a valid token allows to read. `map` gets the token's claims as a type of yours. A token without the claims that the
    /// type needs is denied. The grant ends with the token, whatever `map` returns.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_sse::{AuthorizeRequest, ClientId, Denied, JwtKeys, jwt};
    ///
    /// #[derive(Deserialize)]
    /// struct Claims {
    ///     sub: String,
    ///     teams: Vec<String>,
    /// }
    ///
    /// let keys = JwtKeys::secret("a secret that only your servers know")?;
    /// let authorizer = jwt(keys).claims(|claims: Claims, request: &AuthorizeRequest| {
    ///     let client = ClientId::try_from(claims.sub).map_err(|_| Denied::forbidden())?;
    ///     let grant = request.grant().only(|channel| claims.teams.iter().any(|team| channel.as_str() == team));
    ///     Ok(grant.client(client))
    /// });
    /// # fn check<A: tower_sse::Authorizer>(_: A) {}
    /// # check(authorizer);
    /// # Ok::<_, tower_sse::JwtError>(())
    /// ```
    pub fn claims<C, F>(mut self, map: F) -> Self
    where
        C: DeserializeOwned,
        F: Fn(C, &AuthorizeRequest) -> Result<Grant, Denied> + Send + Sync + 'static,
    {
        self.rules_mut().mapping =
            Arc::new(move |claims, request: &AuthorizeRequest| map(claims::read(claims)?, request));
        self
    }

    /// Checks the token of a request to a handler of your own, and returns its claims as a type of yours. Returns `None` if
    /// the request has no token.
    ///
    /// # Errors
    ///
    /// Returns a [`Denied`] if the token is malformed or not valid (401), or has not the claims that the type needs (403).
    /// Any other error means that the token's key can't be had now.
    ///
    /// ```
    /// use http::request::Parts;
    /// use serde::Deserialize;
    /// use tower_sse::{Denied, Jwt};
    ///
    /// #[derive(Deserialize)]
    /// struct Claims {
    ///     sub: String,
    /// }
    ///
    /// /// Who sends the request.
    /// async fn user(tokens: &Jwt, request: &Parts) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    ///     let claims: Claims = tokens.verify(request).await?.ok_or_else(Denied::unauthorized)?;
    ///     Ok(claims.sub)
    /// }
    /// ```
    pub fn verify<C>(&self, request: &Parts) -> JwtFuture<Option<C>>
    where
        C: DeserializeOwned + Send + 'static,
    {
        match self.source.find(&request.method, &request.uri, &request.headers) {
            None => JwtFuture::ready(Ok(None)),
            Some(Found::Malformed) => JwtFuture::ready(Err(Denied::unauthorized().into())),
            Some(Found::Token(token)) => self.rules.clone().decide(token, |_, claims| Ok(Some(claims::read(claims)?))),
        }
    }

    /// Also takes the token from the query parameter `name`: see
    /// [`Bearer::query_parameter`](crate::Bearer::query_parameter). Off by default.
    pub fn query_parameter(mut self, name: impl Into<Arc<str>>) -> Self {
        self.source = self.source.query_parameter(name.into());
        self
    }

    /// Also takes the token from the cookie `name`: see [`Bearer::cookie`](crate::Bearer::cookie). Off by default.
    pub fn cookie(mut self, name: impl Into<Arc<str>>) -> Self {
        self.source = self.source.cookie(name.into());
        self
    }

    fn expected(&mut self) -> &mut Expected {
        &mut self.rules_mut().expected
    }

    fn rules_mut(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.rules)
    }
}

impl Rules {
    fn grant(&self, claims: Value, request: &AuthorizeRequest) -> Result<Grant, BoxError> {
        let until = self.expected.end(&claims);
        let longest = self.longest.map(|longest| random::between(longest - longest / 4, longest));
        let checked_again = longest.and_then(|longest| SystemTime::now().checked_add(longest));
        let grant = (self.mapping)(claims, request)?;
        Ok([until, checked_again].into_iter().flatten().fold(grant, Grant::at_most_until))
    }

    /// Decides by a token. `map` says what its claims allow.
    fn decide<G, F>(self: Arc<Self>, token: String, map: F) -> JwtFuture<G>
    where
        G: Send + 'static,
        F: FnOnce(&Self, Value) -> Result<G, BoxError> + Send + 'static,
    {
        if !self.keys.must_wait() {
            return self.decide_now(token, map);
        }
        JwtFuture::waiting(async move {
            // If the fetch fails, the keys at hand stay in use.
            drop(self.keys.refreshed().await);
            self.decide_now(token, map).await
        })
    }

    fn decide_now<G, F>(self: Arc<Self>, token: String, map: F) -> JwtFuture<G>
    where
        G: Send + 'static,
        F: FnOnce(&Self, Value) -> Result<G, BoxError> + Send + 'static,
    {
        // Asked before the check, which then tries these keys or later ones.
        let fresh = self.keys.are_fresh();
        JwtFuture::ready(match self.expected.check(&token, &self.keys) {
            Checked::Valid(claims) => map(&self, claims),
            Checked::Invalid(denied) => Err(denied.into()),
            Checked::UnknownKey(id) if self.keys.may_bring(id.as_deref(), fresh) => {
                return JwtFuture::waiting(self.wait(token, map));
            }
            Checked::UnknownKey(_) => Err(verify::invalid("the token's key is not known").into()),
        })
    }

    async fn wait<G>(
        self: Arc<Self>,
        token: String,
        map: impl FnOnce(&Self, Value) -> Result<G, BoxError>,
    ) -> Result<G, BoxError> {
        self.keys.refreshed().await?;
        match self.expected.check(&token, &self.keys) {
            Checked::Valid(claims) => map(&self, claims),
            Checked::UnknownKey(id) => {
                id.iter().for_each(|id| self.keys.set_absent(id));
                Err(verify::invalid("the token's key is not known").into())
            }
            Checked::Invalid(denied) => Err(denied.into()),
        }
    }
}

impl Service<AuthorizeRequest> for Jwt {
    type Response = Grant;
    type Error = BoxError;
    type Future = JwtFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: AuthorizeRequest) -> JwtFuture {
        let Some(token) = self.source.token(request.method(), request.uri(), request.headers()) else {
            return JwtFuture::ready(Err(Denied::unauthorized().into()));
        };
        self.rules.clone().decide(token, move |rules, claims| rules.grant(claims, &request))
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules { keys, expected, .. } = &*self.rules;
        f.debug_struct("Jwt")
            .field("keys", keys)
            .field("expected", expected)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
