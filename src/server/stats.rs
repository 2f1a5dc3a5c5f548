//! The server's counters.

use crate::observe::Counter;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) detached: Counter,
    pub(super) ended: Counter,
    pub(super) by_hyper: Counter,
    pub(super) stalled: Counter,
    pub(super) accept_errors: Counter,
    pub(super) handshake_errors: Counter,
}

/// A snapshot of a server's counters, from [`Server::stats`](super::Server::stats). The totals count from the creation of the
/// server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open now.
    pub connections: usize,
    /// Streams that are open now and are [detached](super#which-responses-are-detached) from hyper.
    pub streams: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because [`max_connections`](super::Builder::max_connections) was reached.
    pub refused: u64,
    /// Streams detached from hyper.
    pub detached: u64,
    /// HTTP/1 event streams that stayed with hyper, because they could not be
    /// [detached](super#which-responses-are-detached).
    pub by_hyper: u64,
    /// Connections closed, and HTTP/2 streams reset, because the peer did not read for the [stall
    /// timeout](super::Builder::stall_timeout), or had vanished.
    pub stalled: u64,
    /// Failed attempts to accept a connection, usually because the process had no file descriptors left. Failures that the
    /// peer caused do not count.
    pub accept_errors: u64,
    /// [Handshakes](super::Serve::handshake) that failed, or did not end within the [timeout](super::Builder::head_timeout). One
    /// that panics, or that a shutdown ends, does not count.
    pub handshake_errors: u64,
}

impl Counters {
    pub(super) fn snapshot(&self, connections: usize) -> Stats {
        // In this order, so that `detached` is never below `ended`, even if a stream ends in between.
        let ended = self.ended.get();
        let detached = self.detached.get();
        Stats {
            connections,
            streams: usize::try_from(detached.saturating_sub(ended)).unwrap_or(usize::MAX),
            accepted: self.accepted.get(),
            refused: self.refused.get(),
            detached,
            by_hyper: self.by_hyper.get(),
            stalled: self.stalled.get(),
            accept_errors: self.accept_errors.get(),
            handshake_errors: self.handshake_errors.get(),
        }
    }
}
