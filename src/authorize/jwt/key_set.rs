//! The keys that tokens may be signed with, each with the algorithms that it is for.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

use crate::error::{JwtError, JwtErrorKind};

/// The most keys of a set. A token without a key id is tried with each of them.
const MAX_KEYS: usize = 64;
/// "A key of the same size as the hash output (for instance, 256 bits for "HS256") or larger MUST be used" ([RFC 7518,
/// 3.2](https://www.rfc-editor.org/rfc/rfc7518#section-3.2)).
const SHORTEST_SECRET: usize = 32;

/// At least one key.
#[derive(Clone)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    /// Follows from the key's type, or is what the key itself says. A token has no say in it.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl KeySet {
    /// Secrets for HS256.
    pub(super) fn secrets<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, JwtError> {
        let key = |secret: S| match DecodingKey::from_secret(secret.as_ref()) {
            Ok(key) if secret.as_ref().len() >= SHORTEST_SECRET => {
                Ok(Key { id: None, algorithms: vec![Algorithm::HS256], key })
            }
            _ => Err(JwtErrorKind::ShortSecret { len: secret.as_ref().len(), min: SHORTEST_SECRET }.into()),
        };
        Self::new(secrets.into_iter().map(key).collect::<Result<_, JwtError>>()?)
    }

    /// The keys of a JWK Set, or a single JWK.
    ///
    /// "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" values that are not understood by them, that
    /// are missing required members, or for which values are out of the supported ranges" ([RFC 7517,
    /// 5](https://www.rfc-editor.org/rfc/rfc7517#section-5)).
    pub(super) fn jwks(document: &[u8]) -> Result<Self, JwtError> {
        let mut document: Value = serde_json::from_slice(document).map_err(JwtErrorKind::NotJson)?;
        let keys = match document.get_mut("keys").map(Value::take) {
            Some(Value::Array(keys)) => keys,
            Some(_) => Vec::new(),
            None => vec![document],
        };
        Self::new(keys.into_iter().filter_map(Key::read).collect())
    }

    fn new(keys: Vec<Key>) -> Result<Self, JwtError> {
        match keys.len() {
            0 => Err(JwtErrorKind::NoKey.into()),
            count if count > MAX_KEYS => Err(JwtErrorKind::TooManyKeys { count, max: MAX_KEYS }.into()),
            _ => Ok(Self { keys }),
        }
    }

    /// All keys of both sets.
    pub(super) fn and(&self, other: &Self) -> Result<Self, JwtError> {
        Self::new([&*self.keys, &*other.keys].concat())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.id.as_deref())
    }

    /// Whether there is a key with the id that the token names.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids().any(|own| own == id)
    }

    /// The keys with which the token may be signed: those with its key id, and those without an id. If the token names
    /// no key, all of them.
    pub(super) fn candidates(&self, header: &Header) -> impl Iterator<Item = &Key> {
        let (algorithm, named) = (header.alg, header.kid.as_deref());
        let fits = move |key: &Key| match (named, key.id.as_deref()) {
            (Some(named), Some(id)) => named == id,
            _ => true,
        };
        self.keys.iter().filter(move |key| key.algorithms.contains(&algorithm) && fits(key))
    }
}

impl Key {
    /// Returns `None` if the key is not for signatures, or of a kind that is not supported.
    fn read(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let is_for_signatures = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
            (Some(usage), _) => *usage == PublicKeyUse::Signature,
            (None, Some(operations)) => operations.contains(&KeyOperations::Verify),
            (None, None) => true,
        };
        let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| is_for_signatures)?;
        let possible = algorithms(&jwk.algorithm, &key)?;
        let algorithms = match jwk.common.key_algorithm {
            Some(only) => vec![Algorithm::try_from(only).ok().filter(|only| possible.contains(only))?],
            None => possible.to_vec(),
        };
        Some(Self { id: jwk.common.key_id, algorithms, key })
    }
}

/// The algorithms that a key of this type can be for.
fn algorithms(parameters: &AlgorithmParameters, key: &DecodingKey) -> Option<&'static [Algorithm]> {
    use Algorithm::*;
    Some(match parameters {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[EdDSA],
        AlgorithmParameters::OctetKey(_) => match key.try_get_as_bytes().ok()?.len() {
            64.. => &[HS256, HS384, HS512],
            48.. => &[HS256, HS384],
            SHORTEST_SECRET.. => &[HS256],
            _ => return None,
        },
        _ => return None,
    })
}

/// Leaves out the keys, because some are secrets.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.algorithms)).finish()
    }
}
