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
}

/// A snapshot of what a server has done since it was created, from [`Server::stats`](super::Server::stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The connections that exist now.
    pub connections: usize,
    /// The streams that exist now without an HTTP stack behind them.
    pub streams: u64,
    /// Connections taken on.
    pub accepted: u64,
    /// Connections refused because [`max_connections`](super::Builder::max_connections) was reached.
    pub refused: u64,
    /// Streams detached from hyper.
    pub detached: u64,
    /// Event streams over HTTP/1 that hyper sent, because they could not be [detached](super#what-is-detached).
    pub by_hyper: u64,
    /// Connections closed, and streams of HTTP/2 reset, because the peer did not read for the [stall
    /// time](super::Builder::stall), or had vanished.
    pub stalled: u64,
    /// Times that accepting a connection failed, other than by the peer: mostly, because the process had no more file
    /// descriptors.
    pub accept_errors: u64,
}

impl Counters {
    pub(super) fn snapshot(&self, connections: usize) -> Stats {
        // Read in this order, a stream that ends in between is counted, instead of less than none.
        let ended = self.ended.get();
        let detached = self.detached.get();
        Stats {
            connections,
            streams: detached.saturating_sub(ended),
            accepted: self.accepted.get(),
            refused: self.refused.get(),
            detached,
            by_hyper: self.by_hyper.get(),
            stalled: self.stalled.get(),
            accept_errors: self.accept_errors.get(),
        }
    }
}
