//! What a hub counts anyway, handed over when it is asked for.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use metrics::{Counter, Gauge, Unit};

use super::family::Labels;
use crate::observe::Stats;

/// How a hub and its node are now.
pub(crate) struct Now {
    pub(crate) stats: Stats,
    /// How old the oldest event is that some reader has yet to take.
    pub(crate) slowest: Duration,
    /// How many subscriptions and bytes the hub may have.
    pub(crate) limits: (usize, usize),
    pub(crate) draining: bool,
    /// `None` in process.
    pub(crate) feed: Option<Feed>,
}

/// How the feed of a node is.
pub(crate) struct Feed {
    pub(crate) alive: bool,
    pub(crate) lag: Duration,
    /// How many feeds were lost.
    pub(crate) lost: u64,
}

/// A counter that takes over a number which grows elsewhere.
pub(crate) struct Taken {
    counter: Counter,
    /// How much of the number was added.
    before: AtomicU64,
}

impl Taken {
    pub(crate) fn new(counter: Counter) -> Self {
        Self { counter, before: AtomicU64::new(0) }
    }

    pub(crate) fn take(&self, number: u64) {
        // Of two callers at once, the one with the lower number adds nothing.
        let before = self.before.fetch_max(number, Ordering::Relaxed);
        self.counter.increment(number.saturating_sub(before));
    }
}

/// The metrics that are only brought up to date when somebody asks.
pub(super) struct Exported {
    gauges: Gauges,
    totals: Totals,
}

/// What is so now.
struct Gauges {
    connections: Gauge,
    connections_limit: Gauge,
    lingering: Gauge,
    channels: Gauge,
    held: Gauge,
    held_limit: Gauge,
    draining: Gauge,
    feed_up: Gauge,
    lag: Gauge,
    slowest: Gauge,
}

/// What has happened so far.
struct Totals {
    losses: Taken,
    published: Taken,
    ephemeral: Taken,
    ephemeral_dropped: Taken,
    evicted: Taken,
    delivered: Taken,
    replayed: Taken,
    sent: Taken,
    denied: Taken,
    failed: Taken,
    bad: Taken,
    rate_limited: Taken,
    publishes_limited: Taken,
}

impl Exported {
    pub(super) fn new(labels: &Labels) -> Self {
        Self { gauges: Gauges::new(labels), totals: Totals::new(labels) }
    }

    pub(super) fn take(&self, now: &Now, [delivered, replayed, sent]: [u64; 3]) {
        self.gauges.set(now);
        self.totals.take(now);
        self.totals.delivered.take(delivered);
        self.totals.replayed.take(replayed);
        self.totals.sent.take(sent);
    }
}

impl Gauges {
    fn new(labels: &Labels) -> Self {
        let count = |name, description| labels.gauge(name, Unit::Count, description);
        let bytes = |name, description| labels.gauge(name, Unit::Bytes, description);
        let seconds = |name, description| labels.gauge(name, Unit::Seconds, description);
        Self {
            connections: count("tower_sse_connections", "Subscriptions that are open on this node."),
            connections_limit: count("tower_sse_connections_limit", "How many subscriptions this node may have."),
            lingering: count(
                "tower_sse_connections_lingering",
                "Subscriptions that have ended, but whose readers have not read the end.",
            ),
            channels: count("tower_sse_channels", "Channels that exist on this node."),
            held: bytes("tower_sse_held_bytes", "Memory that the hub takes, as Limits::hub_bytes counts it."),
            held_limit: bytes("tower_sse_held_limit_bytes", "How much memory the hub may take: Limits::hub_bytes."),
            draining: count("tower_sse_draining", "1 if the node shuts down or drains its runs, and 0 otherwise."),
            feed_up: count("tower_sse_feed_up", "1 if the backend's feed is alive or not needed, and 0 if it is down."),
            lag: seconds(
                "tower_sse_level_lag_seconds",
                "How long the node has lacked events that the backend has acknowledged.",
            ),
            slowest: seconds(
                "tower_sse_slowest_reader_lag_seconds",
                "Age of the oldest event that some reader has yet to take.",
            ),
        }
    }

    fn set(&self, Now { stats, slowest, limits, draining, feed }: &Now) {
        let (Feed { alive, lag, .. }, bit) = (feed.as_ref().unwrap_or(&Feed::NONE), |is| f64::from(u8::from(is)));
        self.connections.set(stats.subscriptions as f64);
        self.connections_limit.set(limits.0 as f64);
        self.lingering.set(stats.lingering as f64);
        self.channels.set(stats.channels as f64);
        self.held.set(stats.held_bytes as f64);
        self.held_limit.set(limits.1 as f64);
        self.draining.set(bit(*draining));
        self.feed_up.set(bit(*alive));
        self.lag.set(lag.as_secs_f64());
        self.slowest.set(slowest.as_secs_f64());
    }
}

impl Totals {
    fn new(labels: &Labels) -> Self {
        let taken = |name, description| Taken::new(labels.counter(name, Unit::Count, description));
        let opens = |outcome, reason| Taken::new(opens(labels, (outcome, reason)));
        Self {
            losses: taken("tower_sse_feed_losses_total", "Feeds that broke and had to be opened again."),
            published: taken("tower_sse_published_events_total", "Events that were published on this node."),
            ephemeral: taken("tower_sse_ephemeral_events_total", "Ephemeral events that were published on this node."),
            ephemeral_dropped: taken(
                "tower_sse_ephemeral_dropped_total",
                "Ephemeral events that a reader did not get because it was behind, counted once for each reader.",
            ),
            evicted: taken("tower_sse_evicted_events_total", "Events evicted by retention or by the memory limit."),
            delivered: taken("tower_sse_delivered_events_total", "Events that readers got."),
            replayed: taken(
                "tower_sse_replayed_events_total",
                "Delivered events that readers got before they had caught up for the first time.",
            ),
            sent: Taken::new(labels.counter(
                "tower_sse_delivered_bytes_total",
                Unit::Bytes,
                "Bytes of the streams, including keep-alives, but without HTTP's framing.",
            )),
            denied: opens("denied", ""),
            failed: opens("refused", "authorizer_failed"),
            bad: opens("refused", "bad_request"),
            rate_limited: opens("refused", "rate_limit"),
            publishes_limited: taken(
                "tower_sse_publish_requests_limited_total",
                "Requests to publish over HTTP that were refused because of a rate limit.",
            ),
        }
    }

    fn take(&self, Now { stats, feed, .. }: &Now) {
        self.losses.take(feed.as_ref().map_or(0, |feed| feed.lost));
        self.published.take(stats.published);
        self.ephemeral.take(stats.ephemeral);
        self.ephemeral_dropped.take(stats.ephemeral_dropped);
        self.evicted.take(stats.evicted);
        self.denied.take(stats.denied);
        self.failed.take(stats.authorizer_failed);
        self.bad.take(stats.bad_requests);
        self.rate_limited.take(stats.rate_limited);
        self.publishes_limited.take(stats.publishes_limited);
    }
}

impl Feed {
    const NONE: Self = Self { alive: true, lag: Duration::ZERO, lost: 0 };
}

/// The counter of the openings that came out like this.
pub(super) fn opens(labels: &Labels, (outcome, reason): (&'static str, &'static str)) -> Counter {
    let labels = labels.with("outcome", outcome).with("reason", reason);
    let description = "Requests for a stream, by outcome.";
    labels.counter("tower_sse_opens_total", Unit::Count, description)
}
