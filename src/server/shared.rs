//! What all connections of a server share.

use super::{gate::Gate, settings::Settings, stats::Counters};

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    pub(super) gate: Gate,
    /// Set once the metrics are recorded for the first time.
    #[cfg(feature = "metrics")]
    pub(super) exported: std::sync::OnceLock<super::metrics::Exported>,
}
