//! Whether a token is valid.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::Value;

use super::{key_set::KeySet, keys::JwtKeys};
use crate::authorize::denied::Denied;

/// What a token must have besides a signature.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) issuers: Option<HashSet<String>>,
    pub(super) audiences: Option<HashSet<String>>,
    pub(super) leeway: Duration,
    pub(super) needs_expiry: bool,
}

impl Default for Expected {
    fn default() -> Self {
        Self { issuers: None, audiences: None, leeway: Duration::from_secs(10), needs_expiry: true }
    }
}

pub(super) enum Checked {
    /// With these claims.
    Valid(Value),
    Invalid(Denied),
    /// No key at hand has signed it, and the key with this id is not at hand.
    UnknownKey(Option<String>),
}

impl Expected {
    pub(super) fn check(&self, token: &str, keys: &JwtKeys) -> Checked {
        // A token whose algorithm is `none` or unknown has no header that can be read.
        let Ok(header) = decode_header(token) else { return Checked::Invalid(invalid("the token is malformed")) };
        match keys.current() {
            Some(keys) => self.check_with(token, header, &keys),
            None => Checked::UnknownKey(header.kid),
        }
    }

    fn check_with(&self, token: &str, header: Header, keys: &KeySet) -> Checked {
        for key in keys.candidates(&header) {
            // One algorithm: that of the header, which this key is for.
            match decode::<Value>(token, &key.key, &self.validation(header.alg)) {
                Ok(token) if token.claims.is_object() => return Checked::Valid(token.claims),
                Ok(_) => return Checked::Invalid(invalid("the token has no claims")),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {}
                Err(error) => return Checked::Invalid(invalid(reason(error.kind()))),
            }
        }
        match &header.kid {
            Some(id) if keys.has(id) => Checked::Invalid(invalid("the token is not signed with its key")),
            _ => Checked::UnknownKey(header.kid),
        }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        validation.aud.clone_from(&self.audiences);
        validation.iss.clone_from(&self.issuers);
        let required = [("exp", self.needs_expiry), ("aud", self.audiences.is_some()), ("iss", self.issuers.is_some())];
        let required = required.into_iter().filter(|(_, is_required)| *is_required);
        validation.required_spec_claims = required.map(|(claim, _)| claim.to_owned()).collect();
        validation
    }

    /// When a valid token ends, which is when it would not be accepted any more. `None` if it does not.
    pub(super) fn end(&self, claims: &Value) -> Option<SystemTime> {
        let exp = claims.get("exp")?;
        let seconds = exp.as_u64().or_else(|| Some(exp.as_f64()?.round() as u64))?;
        // `None` is a time that no clock has.
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?.checked_add(self.leeway)
    }
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks a required claim",
        _ => "the token is not valid",
    }
}

/// "The access token provided is expired, revoked, malformed, or invalid for other reasons" ([RFC 6750,
/// 3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)).
pub(super) fn invalid(detail: &'static str) -> Denied {
    Denied::unauthorized().challenge(HeaderValue::from_static(r#"Bearer error="invalid_token""#)).detail(detail)
}
