//! Every error of the crate: opaque structs with a private kind, `is_*` predicates, and the cause in `source()`.

mod backend;
mod open;
mod publish;
mod route;
mod serialize;
mod text;

pub use self::{
    backend::BackendError, open::OpenError, publish::PublishError, route::RouteError, serialize::SerializeError,
    text::InvalidText,
};
pub(crate) use self::{open::OpenErrorKind, publish::PublishErrorKind, route::RouteErrorKind, text::Why};
