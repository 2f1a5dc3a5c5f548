//! Handing over what the hub counts to the recorder of the `metrics` crate.

use super::Publisher;
use crate::{
    hub::engine::now,
    meter::{Feed, Now},
};

impl Publisher {
    /// Brings the metrics up to date that the hub only counts: gauges such as `tower_sse_connections`, and counters such as
    /// `tower_sse_delivered_events_total`. Everything else is recorded where it happens.
    ///
    /// Call it before you render a page of metrics, or from a task every few seconds if you push them somewhere. It asks no
    /// backend, but looks at each reader to find the slowest: that takes some milliseconds for a hundred thousand.
    ///
    /// Install your recorder before you [build](crate::PublisherBuilder::build) the hub: the hub registers its metrics when
    /// it is built, and keeps the handles. `docs/guide/operate.md` in the repository lists all metrics, and
    /// `examples/observed` is a server with a page of them, a dashboard and alerts.
    ///
    /// ```
    /// use tower_sse::Publisher;
    ///
    /// // Here, install a recorder, such as that of the crate `metrics-exporter-prometheus`.
    /// let publisher = Publisher::new();
    /// publisher.record_metrics();
    /// ```
    pub fn record_metrics(&self) {
        let hub = &self.handle.hub;
        let feed = self.handle.remote.as_ref().map(|remote| {
            let pulse = &remote.link.pulse;
            Feed { alive: pulse.is_feed_alive(), lag: pulse.lag(), lost: pulse.losses() }
        });
        let limits = (hub.settings.limits.subscriptions, hub.settings.limits.hub_bytes);
        hub.meter.export(&Now {
            stats: hub.stats(),
            slowest: hub.slowest_lag(now()),
            limits,
            draining: self.drains(),
            feed,
        });
    }
}
