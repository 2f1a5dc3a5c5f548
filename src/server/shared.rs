//! What all connections of a server share.

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;

use super::{gate::Gate, settings::Settings, stats::Counters};

pub(super) struct Shared {
    pub(super) settings: Settings,
    /// The settings, as hyper takes them.
    pub(super) http1: http1::Builder,
    pub(super) counters: Counters,
    pub(super) gate: Gate,
    /// Set once the metrics are recorded for the first time.
    #[cfg(feature = "metrics")]
    pub(super) exported: std::sync::OnceLock<super::metrics::Exported>,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(settings.head_timeout).max_buf_size(settings.max_head_bytes);
        Self {
            settings,
            http1,
            counters: Counters::default(),
            gate: Gate::default(),
            #[cfg(feature = "metrics")]
            exported: Default::default(),
        }
    }
}
