//! The settings of connections.

use std::time::Duration;

/// The longest timeout, a hundred years: the clock can't represent every time in the future.
pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The settings of connections, which a [`Builder`](super::Builder) sets.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) stall_timeout: Duration,
    pub(super) head_timeout: Duration,
    pub(super) max_head_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) max_streams: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stall_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(30),
            max_head_bytes: 16 << 10,
            max_connections: 100_000,
            max_streams: 100,
        }
    }
}
