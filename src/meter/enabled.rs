//! The meter of a hub.

use std::time::{Duration, Instant};

use metrics::{Counter, Histogram};
#[cfg(feature = "runs")]
use metrics::{Gauge, Unit};

use super::{
    exported::{Exported, Now, opens},
    family::{Family, Labels},
    words,
};
use crate::{
    error::{OpenError, PublishError},
    wire::notice::GapReason,
};

/// The measures of a hub.
pub(crate) struct Meter {
    publishes: Family,
    publish_time: Histogram,
    /// By what happened, and why.
    opens: Vec<((&'static str, &'static str), Counter)>,
    gaps: Family,
    exported: Exported,
    #[cfg(feature = "runs")]
    runs: Runs,
}

#[cfg(feature = "runs")]
struct Runs {
    active: Gauge,
    ended: Family,
    time: Histogram,
}

/// When something began.
#[derive(Clone, Copy)]
pub(crate) struct Started(Instant);

impl Started {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl Meter {
    pub(crate) fn new(labels: &Labels) -> Self {
        let opens = words::OPENS.iter().map(|how| (*how, opens(labels, *how))).collect();
        Self {
            publishes: Family::new(
                labels,
                "tower_sse_publishes_total",
                "Publishes by what became of them: a call that sends one event, or several in one step.",
                "outcome",
                words::PUBLISHES,
            ),
            publish_time: labels.seconds(
                "tower_sse_publish_duration_seconds",
                "Time that a publish took, until the hub or the backend had the event.",
            ),
            opens,
            gaps: Family::new(labels, "tower_sse_gaps_total", "Gaps told to readers.", "reason", words::GAPS),
            exported: Exported::new(labels),
            #[cfg(feature = "runs")]
            runs: Runs::new(labels),
        }
    }

    pub(crate) fn start(&self) -> Started {
        Started::now()
    }

    pub(crate) fn published(&self, started: Started, error: Option<&PublishError>) {
        self.publishes.add(error.map_or("ok", words::of_publish));
        self.publish_time.record(started.elapsed());
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

    /// Hands over what the hub counts anyway.
    pub(crate) fn export(&self, now: &Now) {
        self.exported.take(now);
    }
}

#[cfg(feature = "runs")]
impl Meter {
    pub(crate) fn run_began(&self) -> Started {
        self.runs.active.increment(1);
        self.start()
    }

    pub(crate) fn run_ended(&self, started: Started, outcome: &'static str) {
        let runs = &self.runs;
        runs.active.decrement(1);
        runs.ended.add(outcome);
        runs.time.record(started.elapsed());
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
                "Runs whose producers were on this node, by how they ended.",
                "outcome",
                words::RUNS,
            ),
            time: labels.seconds(
                "tower_sse_run_duration_seconds",
                "Time from the start of a run on this node to its end here.",
            ),
        }
    }
}
