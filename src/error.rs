//! Every error of the crate: opaque structs with a private kind, `is_*` predicates, and the cause in `source()`.

mod backend;
#[cfg(feature = "jwt")]
mod jwt;
mod open;
mod publish;
mod route;
mod serialize;
mod text;

#[cfg(feature = "jwt")]
pub use self::jwt::JwtError;
#[cfg(feature = "jwt")]
pub(crate) use self::jwt::JwtErrorKind;
pub use self::{
    backend::BackendError, open::OpenError, publish::PublishError, route::RouteError, serialize::SerializeError,
    text::InvalidText,
};
pub(crate) use self::{open::OpenErrorKind, publish::PublishErrorKind, route::RouteErrorKind, text::Why};

/// The error of any service or body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
