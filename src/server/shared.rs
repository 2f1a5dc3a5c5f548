//! What all connections of a server share.

use super::{gate::Gate, settings::Settings, stats::Counters};

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    pub(super) gate: Gate,
}
