//! The values of labels: a fixed set of words for each.

use crate::error::{OpenError, OpenErrorKind, PublishError, PublishErrorKind};

/// How a publish came out.
pub(super) const PUBLISHES: &[&str] = &[
    "ok",
    "unavailable",
    "finished",
    "too_large",
    "limit",
    "fenced",
    "conflict",
    "duplicate_id",
    "shutting_down",
    "invalid",
];

pub(super) fn of_publish(error: &PublishError) -> &'static str {
    match &error.0 {
        PublishErrorKind::InvalidText(_) | PublishErrorKind::Ephemeral => "invalid",
        PublishErrorKind::TooLarge { .. } | PublishErrorKind::TooManyEvents { .. } => "too_large",
        PublishErrorKind::Finished => "finished",
        PublishErrorKind::DuplicateId => "duplicate_id",
        PublishErrorKind::Fenced { .. } => "fenced",
        PublishErrorKind::Conflict { .. } => "conflict",
        PublishErrorKind::TooManyChannels | PublishErrorKind::TooManyLanes => "limit",
        PublishErrorKind::ShuttingDown => "shutting_down",
        PublishErrorKind::Unavailable(_) => "unavailable",
    }
}

/// The reasons for a gap.
pub(super) const GAPS: &[&str] = &["evicted", "unknown-id", "other-epoch", "lagged"];

/// How an opening came out if it did: what happened, and why. What is open comes first. The other outcomes are counted where
/// a request is answered.
pub(super) const OPENS: &[(&str, &str)] = &[
    ("fresh", ""),
    ("resumed", ""),
    ("gap", "evicted"),
    ("gap", "unknown-id"),
    ("gap", "other-epoch"),
    ("over", ""),
    ("refused", "hub_limit"),
    ("refused", "memory"),
    ("refused", "channel_limit"),
    ("refused", "client_limit"),
    ("refused", "duplicate"),
    ("refused", "replay_limit"),
    ("refused", "shutting_down"),
    ("refused", "unavailable"),
    ("refused", "absent"),
];

pub(super) fn of_open(error: &OpenError) -> (&'static str, &'static str) {
    use OpenErrorKind::*;
    let reason = match error.0 {
        Over => return ("over", ""),
        Expired => return ("denied", ""),
        TooManySubscriptions => "hub_limit",
        HubFull => "memory",
        TooManyOfChannel | TooManyLanes => "channel_limit",
        TooManyOfClient => "client_limit",
        Duplicate => "duplicate",
        ReplayLimit(_) => "replay_limit",
        RateLimit(_) => "rate_limit",
        ShuttingDown => "shutting_down",
        Unavailable => "unavailable",
        Absent => "absent",
        NoChannel | TooManyChannels => "bad_request",
    };
    ("refused", reason)
}

/// How a stream ended.
pub(super) const ENDINGS: &[&str] = &[
    "left",
    "finished",
    "shutdown",
    "expired",
    "disconnected",
    "replaced",
    "closed",
    "revoked",
    "reauthorize",
    "elapsed",
    "evicted",
    "unknown-id",
    "other-epoch",
    "lagged",
    "completed",
    "broken-off",
];

/// How a run ended here.
#[cfg(feature = "runs")]
pub(super) const RUNS: &[&str] = &["done", "stopped", "failed", "drained", "handed_over", "lost"];
