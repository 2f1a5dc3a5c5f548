//! The error of keys that tokens can't be checked with.

use std::{error::Error, fmt};

/// The error of keys that can't be used to check or sign tokens.
#[derive(Debug)]
pub struct JwtError(JwtErrorKind);

#[derive(Debug)]
pub(crate) enum JwtErrorKind {
    ShortSecret { len: usize, min: usize },
    NotJson(serde_json::Error),
    NoKey,
    TooManyKeys { count: usize, max: usize },
    LongLink { len: usize, max: usize },
    NotSigned(jsonwebtoken::errors::Error),
}

impl JwtError {
    /// Returns `true` if a secret is too short to be safe.
    pub fn is_short_secret(&self) -> bool {
        matches!(self.0, JwtErrorKind::ShortSecret { .. })
    }

    /// Returns `true` if a JWK Set is not JSON, or has no usable key or too many.
    pub fn is_key_set(&self) -> bool {
        use JwtErrorKind::{NoKey, NotJson, TooManyKeys};
        matches!(self.0, NotJson(_) | NoKey | TooManyKeys { .. })
    }

    /// Returns `true` if a link would be too long, because its grant has too many channels.
    pub fn is_long_link(&self) -> bool {
        matches!(self.0, JwtErrorKind::LongLink { .. })
    }
}

impl From<JwtErrorKind> for JwtError {
    fn from(kind: JwtErrorKind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for JwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            JwtErrorKind::ShortSecret { len, min } => {
                write!(f, "a secret has {len} bytes, and needs at least {min}")
            }
            JwtErrorKind::NotJson(_) => f.write_str("the key set is not JSON"),
            JwtErrorKind::NoKey => f.write_str("there is no usable key"),
            JwtErrorKind::TooManyKeys { count, max } => {
                write!(f, "there are {count} keys, more than the limit of {max}")
            }
            JwtErrorKind::LongLink { len, max } => {
                write!(f, "the link's token has {len} bytes, more than the limit of {max}")
            }
            JwtErrorKind::NotSigned(_) => f.write_str("the link can't be signed"),
        }
    }
}

impl Error for JwtError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            JwtErrorKind::NotJson(error) => Some(error),
            JwtErrorKind::NotSigned(error) => Some(error),
            _ => None,
        }
    }
}
