//! Where the keys for tokens come from.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    crypto,
    fetch::{Pace, Source},
    key_set::KeySet,
};
use crate::error::{BoxError, JwtError};

/// The keys that tokens may be signed with: secrets, a JWK Set, or a JWK Set that is fetched again and again. Clones share
/// the keys, so you can [replace](Self::replace) them while they are in use.
///
/// A key is for the algorithms of its own type, whatever a token says: a secret is for HS256, and the keys of a JWK Set are
/// for what their `alg` says. Without an `alg`, an RSA key is for RS256 to RS512 and PS256 to PS512, a key on P-256 for
/// ES256, one on P-384 for ES384, one on Ed25519 for EdDSA, and an `oct` key for HS256, HS384 and HS512 if it is as long as
/// their hash. `none` is not an algorithm.
///
/// ```
/// use tower_sse::{JwtKeys, jwt};
///
/// // The first is the current secret. Tokens that were signed with the old one are accepted until you remove it.
/// let keys = JwtKeys::secrets(["a current secret of at least 32 bytes", "an old secret of no less than 32 bytes"])?;
/// let authorizer = jwt(keys.clone()).issuer(["https://login.example"]);
/// // Later, without a restart:
/// keys.replace(&JwtKeys::secret("the next secret, of at least 32 bytes")?);
/// # Ok::<_, tower_sse::JwtError>(())
/// ```
#[derive(Clone)]
pub struct JwtKeys {
    source: Arc<Source>,
    /// `None` if the keys are not fetched.
    pace: Option<Pace>,
}

impl JwtKeys {
    /// Accepts tokens that were signed with this secret and HS256.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret is shorter than 32 bytes.
    pub fn secret(secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Self::secrets([secret])
    }

    /// Accepts tokens that were signed with any of these secrets and HS256. Use it to rotate a secret.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no secret, if there are more than 64, or if one is shorter than 32 bytes.
    pub fn secrets<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, JwtError> {
        Ok(Self::fixed(KeySet::secrets(secrets)?))
    }

    /// Accepts tokens that were signed with a key of this document: a JWK Set or a single JWK ([RFC
    /// 7517](https://www.rfc-editor.org/rfc/rfc7517)). Keys that are not for signatures or of an unknown kind are left out.
    ///
    /// # Errors
    ///
    /// Returns an error if the document is not JSON, or has no usable key or more than 64.
    pub fn jwks(document: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Ok(Self::fixed(KeySet::jwks(document.as_ref())?))
    }

    /// Accepts tokens that were signed with a key of the JWK Set that `fetch` returns, for example from an identity
    /// provider's `jwks_uri`.
    ///
    /// The first request fetches the keys, and waits for them. Then they are fetched again:
    ///
    /// - when a token names a key that is not among them, or names none and was signed with none of them. The request
    ///   waits. However many such tokens come, a fetch begins at most every [10 seconds](Self::fetch_at_most_every);
    /// - when a request finds them older than [5 minutes](Self::refresh_after). The request does not wait, unless it is the
    ///   first one after twice that time: the keys at hand may be long out of date then.
    ///
    /// A fetch that fails or takes longer than 10 seconds changes nothing: the keys at hand stay in use, and a request that
    /// waits for it is told to reconnect later, as with any error of an authorizer. So is a token that names an unknown
    /// key within 10 seconds of a fetch, unless it is known that there is no such key: an
    /// earlier request has found that, or the last fetch has removed it. A token that names no key is refused at once
    /// within 10 seconds of a fetch that succeeded, if none of the keys has signed it.
    ///
    /// Your future runs in a task of the tokio runtime. Limit the size of what it reads.
    ///
    /// ```
    /// use tower_sse::{JwtKeys, jwt};
    ///
    /// async fn get(url: &str) -> Result<Vec<u8>, std::io::Error> {
    ///     // With reqwest: `reqwest::get(url).await?.error_for_status()?.bytes().await?.to_vec()`
    /// #   Ok(url.into())
    /// }
    ///
    /// let keys = JwtKeys::fetched(|| get("https://login.example/.well-known/jwks.json"));
    /// let authorizer = jwt(keys).issuer(["https://login.example"]).audience(["chat"]);
    /// ```
    pub fn fetched<F, Fut, D, E>(fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<D, E>> + Send + 'static,
        D: Into<Vec<u8>>,
        E: Into<BoxError>,
    {
        crypto::install();
        let source = Source::new(move || {
            let fetching = fetch();
            Box::pin(async move { fetching.await.map(Into::into).map_err(Into::into) })
        });
        let pace = Pace { refresh_after: Duration::from_secs(300), interval: Duration::from_secs(10) };
        Self { source: Arc::new(source), pace: Some(pace) }
    }

    /// Sets after what time keys that are in use are fetched again. A key that the issuer has removed is accepted at most
    /// twice this long, or longer if fetches fail. The default is 5 minutes. It has no effect on keys that are not fetched.
    pub fn refresh_after(mut self, age: Duration) -> Self {
        self.pace.iter_mut().for_each(|pace| pace.refresh_after = age);
        self
    }

    /// Sets how much time passes from the beginning of one fetch to the next, at least. The default is 10 seconds. It has no
    /// effect on keys that are not fetched.
    pub fn fetch_at_most_every(mut self, interval: Duration) -> Self {
        self.pace.iter_mut().for_each(|pace| pace.interval = interval);
        self
    }

    /// Replaces the keys in all clones by those that `keys` has now. Tokens that were signed with another key are refused
    /// from then on. Streams that are open go on until their grant expires: see
    /// [`Publisher::reauthorize`](crate::Publisher::reauthorize).
    ///
    /// If these keys are fetched, the next fetch replaces them again.
    pub fn replace(&self, keys: &Self) {
        keys.source.keys().into_iter().for_each(|keys| self.source.replace(keys));
    }

    fn fixed(keys: KeySet) -> Self {
        crypto::install();
        let source = Source::new(|| Box::pin(async { Err("the keys are fixed".into()) }));
        source.replace(Arc::new(keys));
        Self { source: Arc::new(source), pace: None }
    }

    pub(super) fn set(&self, keys: KeySet) {
        self.source.replace(Arc::new(keys));
    }

    /// The keys, or `None` before the first fetch. Has them fetched again if they are old.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.pace.iter().for_each(|pace| self.source.keep_fresh(*pace));
        self.source.keys()
    }

    /// Whether the keys have to be fetched before they are used.
    pub(super) fn must_wait(&self) -> bool {
        self.pace.is_some_and(|pace| self.source.must_wait(pace))
    }

    /// Whether the keys were fetched so recently that they can't be fetched again yet.
    pub(super) fn are_fresh(&self) -> bool {
        self.pace.is_some_and(|pace| self.source.is_fresh(pace))
    }

    /// Whether a fetch may bring a key that is missing: the one with this id, or one for a token that names none. `fresh`
    /// says whether the keys that were tried [are](Self::are_fresh).
    pub(super) fn may_bring(&self, id: Option<&str>, fresh: bool) -> bool {
        let may_exist = id.map_or(!fresh, |id| !self.source.is_absent(id));
        self.pace.is_some() && may_exist
    }

    /// Waits until the keys were fetched again.
    pub(super) async fn refreshed(&self) -> Result<(), BoxError> {
        match self.pace {
            Some(pace) => self.source.refreshed(pace).await,
            None => Ok(()),
        }
    }

    /// Remembers that there is no key with this id.
    pub(super) fn set_absent(&self, id: &str) {
        self.source.set_absent(id);
    }
}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKeys").field("keys", &self.source.keys()).field("pace", &self.pace).finish()
    }
}
