//! The meter of a hub.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use metrics::{Counter, Histogram};
#[cfg(feature = "runs")]
use metrics::{Gauge, Unit};

use super::{
    exported::{Exported, Now, opens},
    family::{Family, Labels},
    pace::Pace,
    words,
};
use crate::{
    error::{OpenError, PublishError},
    observe,
    wire::{cursor::Offset, notice::GapReason},
};

/// The measures of a hub.
pub(crate) struct Meter {
    publishes: Family,
    publish_time: Histogram,
    /// By what happened, and why.
    opens: Vec<((&'static str, &'static str), Counter)>,
    gaps: Family,
    first_byte: Histogram,
    /// By how they ended.
    streams: Family,
    stream_time: Histogram,
    hot: Hot,
    pace: Pace,
    wakeup_time: Histogram,
    exported: Exported,
    #[cfg(feature = "runs")]
    runs: Runs,
}

/// What is counted with each chunk of each stream. Handles would cost more. It has cache lines of its own, since what is
/// beside it is only read.
#[derive(Default)]
#[repr(align(128))]
struct Hot {
    delivered: observe::Counter,
    replayed: observe::Counter,
    sent: observe::Counter,
    /// How many publishes in process there were. They are that fast that most of them are not timed.
    local: AtomicU64,
}

#[cfg(feature = "runs")]
struct Runs {
    active: Gauge,
    ended: Family,
    found_lost: Counter,
    time: Histogram,
}

/// When something began, if it is timed.
#[derive(Clone, Copy)]
pub(crate) struct Started(Option<Instant>);

impl Started {
    pub(crate) fn now() -> Self {
        Self(Some(Instant::now()))
    }

    pub(crate) fn elapsed(self) -> Option<Duration> {
        self.0.map(|at| at.elapsed())
    }
}

impl Meter {
    /// Whether the meter needs the record of each stream.
    pub(crate) const KEEPS_RECORDS: bool = true;

    pub(crate) fn new(labels: &Labels) -> Self {
        let opens = words::OPENS.iter().map(|how| (*how, opens(labels, *how))).collect();
        Self {
            publishes: Family::new(
                labels,
                "tower_sse_publishes_total",
                "Calls to publish, by outcome. A call publishes one event, or several in one step.",
                "outcome",
                words::PUBLISHES,
            ),
            publish_time: labels.seconds(
                "tower_sse_publish_duration_seconds",
                "Time of a publish until the hub or the backend had the event.",
            ),
            opens,
            gaps: Family::new(labels, "tower_sse_gaps_total", "Gaps that readers got.", "reason", words::GAPS),
            first_byte: labels.seconds(
                "tower_sse_time_to_first_byte_seconds",
                "Time from a request for a stream until the first bytes of the body were ready.",
            ),
            streams: Family::new(
                labels,
                "tower_sse_streams_ended_total",
                "Streams that have ended, by reason.",
                "ending",
                words::ENDINGS,
            ),
            stream_time: labels.seconds("tower_sse_stream_duration_seconds", "Time that a stream was open."),
            hot: Hot::default(),
            pace: Pace::new(Instant::now()),
            wakeup_time: labels.seconds(
                "tower_sse_wakeup_duration_seconds",
                "Time from a publish until a waiting reader takes the event. A sample of the deliveries.",
            ),
            exported: Exported::new(labels),
            #[cfg(feature = "runs")]
            runs: Runs::new(labels),
        }
    }

    pub(crate) fn start(&self) -> Started {
        Started::now()
    }

    /// Starts the time of something that takes less time than its measurement, one time in 16.
    #[inline]
    pub(crate) fn start_some(&self) -> Started {
        let is_timed = self.hot.local.fetch_add(1, Ordering::Relaxed).is_multiple_of(16);
        Started(is_timed.then(Instant::now))
    }

    pub(crate) fn published(&self, started: Started, error: Option<&PublishError>) {
        self.publishes.add(error.map_or("ok", words::of_publish));
        record(&self.publish_time, started);
    }

    /// A stream is open. `gap` is what it begins with, if it does.
    pub(crate) fn opened(&self, resumes: bool, gap: Option<GapReason>) {
        match gap {
            Some(gap) => {
                self.count_open(("gap", gap.as_str()));
                self.gap(gap);
            }
            None => self.count_open((if resumes { "resumed" } else { "fresh" }, "")),
        }
    }

    pub(crate) fn not_opened(&self, error: &OpenError) {
        self.count_open(words::of_open(error));
    }

    fn count_open(&self, how: (&'static str, &'static str)) {
        if let Some((_, counter)) = self.opens.iter().find(|(own, _)| *own == how) {
            counter.increment(1);
        }
    }

    pub(crate) fn gap(&self, reason: GapReason) {
        self.gaps.add(reason.as_str());
    }

    /// Counts events that a reader has got.
    pub(crate) fn delivered(&self, events: u64) {
        self.hot.delivered.add(events);
    }

    /// Counts those of them that were there before the reader had caught up.
    pub(crate) fn replayed(&self, events: u64) {
        self.hot.replayed.add(events);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.hot.sent.add(bytes);
    }

    /// An event for every reader of the channel at this address was published.
    pub(crate) fn broadcast(&self, channel: usize, offset: Offset, now: Instant) {
        self.pace.published(channel, offset, now);
    }

    /// The reader at this address, which waited, has taken the events between two offsets.
    #[inline]
    pub(crate) fn woken(
        &self,
        reader: usize,
        (before, last): (Offset, Offset),
        reads: impl Fn(usize) -> bool,
        now: impl Fn() -> Instant,
    ) {
        if self.pace.is_in(reader, before, last)
            && let Some(time) = self.pace.since(before, reads, now())
        {
            self.wakeup_time.record(time);
        }
    }

    pub(crate) fn first_byte(&self, after: Duration) {
        self.first_byte.record(after);
    }

    pub(crate) fn ended(&self, ending: &'static str, after: Duration) {
        self.streams.add(ending);
        self.stream_time.record(after);
    }

    /// Hands over what is counted anyway.
    pub(crate) fn export(&self, now: &Now) {
        self.exported.take(now, [&self.hot.delivered, &self.hot.replayed, &self.hot.sent].map(observe::Counter::get));
    }
}

fn record(times: &Histogram, started: Started) {
    if let Some(time) = started.elapsed() {
        times.record(time);
    }
}

#[cfg(feature = "runs")]
impl Meter {
    pub(crate) fn run_began(&self) -> Started {
        self.runs.active.increment(1);
        self.start()
    }

    /// A run of another node was found to be lost.
    pub(crate) fn found_lost(&self) {
        self.runs.found_lost.increment(1);
    }

    pub(crate) fn run_ended(&self, started: Started, outcome: &'static str) {
        let runs = &self.runs;
        runs.active.decrement(1);
        runs.ended.add(outcome);
        record(&runs.time, started);
    }
}

#[cfg(feature = "runs")]
impl Runs {
    fn new(labels: &Labels) -> Self {
        Self {
            active: labels.gauge("tower_sse_runs_active", Unit::Count, "Runs whose producers are on this node."),
            ended: Family::new(
                labels,
                "tower_sse_runs_total",
                "Runs whose producers were on this node, by outcome.",
                "outcome",
                words::RUNS,
            ),
            found_lost: labels.counter(
                "tower_sse_runs_found_lost_total",
                Unit::Count,
                "Runs of other nodes that this node found to be lost. Each node that was watching the run counts it.",
            ),
            time: labels.seconds(
                "tower_sse_run_duration_seconds",
                "Time from the start of a run on this node to its end here.",
            ),
        }
    }
}
