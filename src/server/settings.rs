//! The settings of connections.

use std::time::Duration;

use hyper::server::conn::http1;

/// The settings of connections, as they are used.
pub(super) struct Settings {
    pub(super) stall: Duration,
    pub(super) head_timeout: Duration,
    pub(super) max_connections: usize,
    pub(super) max_head_bytes: usize,
    pub(super) max_streams: u32,
    pub(super) http1: http1::Builder,
}
