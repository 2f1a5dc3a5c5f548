//! The limits of a server.

use std::{sync::Arc, time::Duration};

use super::{
    handle::Server,
    settings::{LONGEST, Settings},
    shared::Shared,
};

/// Sets the limits of a [`Server`]. [`Server::builder`] returns one.
///
/// ```
/// use std::time::Duration;
/// use tower_sse::server::Server;
///
/// let server = Server::builder().stall_timeout(Duration::from_secs(10)).max_connections(20_000).build();
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    settings: Settings,
}

/// The smallest buffer that hyper takes.
const LEAST_HEAD: usize = 8 << 10;

/// Returns how long to wait if a builder has set `time`. Zero is no limit.
fn limit(time: Duration) -> Duration {
    if time.is_zero() { LONGEST } else { time.min(LONGEST) }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// Creates a server with the default limits of [`Builder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder to set limits.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Sets how long a peer may go without reading before the server closes its connection. The default is 30 seconds. Zero
    /// turns the limit off: a peer that never reads may then keep its connection, and what the server holds for it.
    ///
    /// On every platform, the server closes a connection when a write makes no progress for this time. A [TCP
    /// connection](super::Listener) also gets the option `TCP_USER_TIMEOUT` on Linux, and keep-alive probes, so that the
    /// server notices a peer that has vanished. Over HTTP/2, the server closes a connection whose peer does not answer a
    /// ping within this time, and resets an event stream that the peer does not read.
    ///
    /// Over TLS, a write makes progress when the TLS library accepts it. The library then has this time to send everything
    /// that it has buffered.
    ///
    /// The server may close the connection late, by up to a sixteenth of this time and at most 256 ms.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stall_timeout = limit(timeout);
        self
    }

    /// Sets how long a client may take to send the head of a request, how long a connection may be idle between two requests,
    /// and how long a [handshake](super::Serve::handshake) may take. The default is 30 seconds. Zero turns the limit off.
    ///
    /// This applies to HTTP/1. Over HTTP/2, it limits only the handshake, and the time until the first bytes arrive.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.settings.head_timeout = limit(timeout);
        self
    }

    /// Sets how large the head of a request may be, in bytes. The server answers a larger one with 431. The default is
    /// 16 KiB, and the minimum is 8 KiB.
    ///
    /// Over HTTP/1, this also limits hyper's buffers for a connection. They hold what the client has sent, and what it has
    /// not read yet of a response, unless the response is a stream.
    pub fn max_head_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_head_bytes = bytes.max(LEAST_HEAD);
        self
    }

    /// Sets how many connections may be open. The server closes any others at once, and [counts](super::Stats::refused)
    /// them. The default is 100,000. The system's limit on the file descriptors of a process may be lower.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.settings.max_connections = max;
        self
    }

    /// Sets how many concurrent requests a client may have on one HTTP/2 connection. Each of them may be a stream. The
    /// default is 100.
    pub fn max_streams(mut self, max: u32) -> Self {
        self.settings.max_streams = max;
        self
    }

    /// Creates the server.
    #[must_use]
    pub fn build(self) -> Server {
        Server::of(Arc::new(Shared::new(self.settings)))
    }
}
