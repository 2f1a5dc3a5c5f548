//! STUB
pub(crate) mod grant;
pub(crate) mod options;
pub(crate) mod subscription;
