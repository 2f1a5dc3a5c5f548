//! Handing over what a server counts to the recorder of the `metrics` crate.

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
}

impl Default for Exported {
    fn default() -> Self {
        let labels = Labels::default();
        let gauge = |name, description| labels.gauge(name, Unit::Count, description);
        let taken = |name, description| Taken::new(labels.counter(name, Unit::Count, description));
        Self {
            connections: gauge("tower_sse_server_connections", "Connections that the server has."),
            streams: gauge("tower_sse_server_streams", "Streams without an HTTP stack behind them."),
            accepted: taken("tower_sse_server_accepted_total", "Connections that the server has taken on."),
            refused: taken(
                "tower_sse_server_refused_total",
                "Connections that were refused because there were as many as there may be.",
            ),
            detached: taken("tower_sse_server_detached_streams_total", "Streams that were detached from hyper."),
            by_hyper: taken("tower_sse_server_hyper_streams_total", "Streams over HTTP/1 that hyper sent."),
            stalled: taken("tower_sse_server_stalled_total", "Readers that were closed because they did not read."),
            accept_errors: taken("tower_sse_server_accept_errors_total", "Times that accepting a connection failed."),
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
    }
}
