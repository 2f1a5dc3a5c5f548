//! The settings of connections.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;

/// The settings of connections, as they are used.
pub(super) struct Settings {
    pub(super) stall: Duration,
    pub(super) head_timeout: Duration,
    pub(super) max_connections: usize,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
}
