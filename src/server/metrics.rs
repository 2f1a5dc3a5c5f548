//! Passes a server's counters to the recorder of the `metrics` crate.

use metrics::{Gauge, Unit};

use super::stats::Stats;
use crate::meter::{Labels, Taken};

/// The metrics of a server.
pub(super) struct Exported {
    connections: Gauge,
    streams: Gauge,
    accepted: Taken,
    refused: Taken,
    detached: Taken,
    by_hyper: Taken,
    stalled: Taken,
    accept_errors: Taken,
    handshake_errors: Taken,
}

impl Default for Exported {
    fn default() -> Self {
        let labels = Labels::default();
        let gauge = |name, description| labels.gauge(name, Unit::Count, description);
        let taken = |name, description| Taken::new(labels.counter(name, Unit::Count, description));
        Self {
            connections: gauge("tower_sse_server_connections", "Open connections."),
            streams: gauge("tower_sse_server_streams", "Open streams that are detached from hyper."),
            accepted: taken("tower_sse_server_accepted_total", "Connections accepted."),
            refused: taken(
                "tower_sse_server_refused_total",
                "Connections closed at once because of `max_connections`.",
            ),
            detached: taken("tower_sse_server_detached_streams_total", "Streams detached from hyper."),
            by_hyper: taken("tower_sse_server_hyper_streams_total", "HTTP/1 streams that stayed with hyper."),
            stalled: taken(
                "tower_sse_server_stalled_total",
                "Connections closed, and HTTP/2 streams reset, because the peer did not read.",
            ),
            accept_errors: taken("tower_sse_server_accept_errors_total", "Failed attempts to accept a connection."),
            handshake_errors: taken(
                "tower_sse_server_handshake_errors_total",
                "Handshakes that failed or took too long.",
            ),
        }
    }
}

impl Exported {
    pub(super) fn take(&self, stats: &Stats) {
        self.connections.set(stats.connections as f64);
        self.streams.set(stats.streams as f64);
        self.accepted.take(stats.accepted);
        self.refused.take(stats.refused);
        self.detached.take(stats.detached);
        self.by_hyper.take(stats.by_hyper);
        self.stalled.take(stats.stalled);
        self.accept_errors.take(stats.accept_errors);
        self.handshake_errors.take(stats.handshake_errors);
    }
}
