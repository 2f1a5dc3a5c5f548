//! Events, ids and their bytes on the wire. No tokio, no http, no clock.

pub(crate) mod cursor;
pub(crate) mod encode;
pub(crate) mod encoded;
pub(crate) mod event;
pub(crate) mod except;
pub(crate) mod name;
pub(crate) mod notice;
#[cfg(feature = "runs")]
pub(crate) mod parts;
pub(crate) mod percent;
pub(crate) mod traceparent;
