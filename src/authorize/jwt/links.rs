//! Links to channels that the application signs itself, for a page that has no other credential.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Jwt, JwtKeys, claims, jwt, key_set::KeySet};
use crate::{
    authorize::{denied::Denied, request::AuthorizeRequest, token::MAX_LEN},
    error::{JwtError, JwtErrorKind},
    hub::Grant,
};

/// The audience of links. It keeps them apart from other tokens that are signed with the same secret.
const AUDIENCE: &str = "tower-sse link";

/// Signs links to channels, and accepts them. A page that gets such a link from you can open its stream without any other
/// credential, for as long as the link is valid.
///
/// A link is a URL with a token in its query that carries a [`Grant`]: its channels, exactly as named, and its client. It
/// grants nothing else, whatever else the URL names, and it ends the stream when it expires. The token is a JSON Web Token
/// that is signed with HS256.
///
/// **Anyone who has a link can use it**, any number of times and in several places, until it expires. You can't revoke
/// a single link. So sign links for minutes, and have the page get a new one when its stream ends with a 401.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::{ChannelName, ClientId, Grant, Links, Publisher, SseLayer};
///
/// let links = Links::new("a secret that only your servers know")?;
/// let layer = SseLayer::new(Publisher::new()).route("/sse/{channel}")?.authorizer(links.authorizer());
///
/// // In the handler that renders the page for Ana:
/// let grant = Grant::new([ChannelName::from_static("run-7")]).client(ClientId::from_static("ana"));
/// let url = format!("/sse/run-7?token={}", links.sign(&grant, Duration::from_secs(300))?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Links {
    keys: JwtKeys,
    signing: EncodingKey,
}

impl Links {
    /// Signs links with this secret, and accepts links that were signed with it.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret is shorter than 32 bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let keys = JwtKeys::secret(&secret)?;
        let signing = EncodingKey::from_secret(secret.as_ref()).map_err(JwtErrorKind::NotSigned)?;
        Ok(Self { keys, signing })
    }

    /// Also accepts links that were signed with an earlier secret, in this value and in all of its clones and authorizers.
    /// To rotate the secret, create a value with the new one that also accepts the old one, on all nodes, and drop the old
    /// one when the last link that was signed with it has expired.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret is shorter than 32 bytes, or the 65th.
    pub fn also_accept(self, earlier_secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let earlier = KeySet::secrets([earlier_secret])?;
        let keys = match self.keys.current() {
            Some(keys) => keys.and(&earlier)?,
            None => earlier,
        };
        self.keys.set(keys);
        Ok(self)
    }

    /// Returns a token for the channels and the client of `grant`. It is valid for `lifetime`, in whole seconds, or until
    /// the grant expires if that is sooner. Put it into the query parameter `token` of a stream's URL. It needs no escaping.
    ///
    /// A [recheck](Grant::recheck) of the grant is not part of the link.
    ///
    /// # Errors
    ///
    /// Returns an error if the grant has so many channels that the token would have more than 8 KiB.
    pub fn sign(&self, grant: &Grant, lifetime: Duration) -> Result<String, JwtError> {
        let left = grant.expires.map(|at| at.saturating_duration_since(Instant::now()));
        let until = SystemTime::now().checked_add(left.unwrap_or(lifetime).min(lifetime));
        let until = until.and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or(Duration::MAX);
        let mut claims = json!({
            "aud": AUDIENCE,
            "exp": until.as_secs(),
            "channels": grant.channels().iter().map(|channel| channel.as_str()).collect::<Vec<_>>(),
        });
        if let Some(client) = grant.client_id() {
            claims["client"] = client.as_str().into();
        }
        let token = encode(&Header::default(), &claims, &self.signing).map_err(JwtErrorKind::NotSigned)?;
        match token.len() {
            len if len > MAX_LEN => Err(JwtErrorKind::LongLink { len, max: MAX_LEN }.into()),
            _ => Ok(token),
        }
    }

    /// Returns an [`Authorizer`](crate::Authorizer) that accepts the links. It takes the token from the query parameter
    /// `token`, and from the header `Authorization: Bearer <token>`.
    pub fn authorizer(&self) -> Jwt {
        let mut links = jwt(self.keys.clone()).audience([AUDIENCE]).leeway(Duration::ZERO).query_parameter("token");
        links.rules_mut().mapping = Arc::new(|claims, request: &AuthorizeRequest| grant(&claims, request));
        links
    }
}

/// The names of a link are no patterns: a channel may be called `*`.
fn grant(claims: &Value, request: &AuthorizeRequest) -> Result<Grant, Denied> {
    let client = claims::client(claims)?;
    let channels = claims.get("channels").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_named = |name: &str| channels.iter().any(|channel| channel.as_str() == Some(name));
    Ok(request.grant().only(|channel| is_named(channel.as_str())).client(client))
}

/// Leaves out the secrets.
impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}
