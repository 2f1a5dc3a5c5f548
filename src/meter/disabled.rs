//! What is left of the meter without the feature `metrics`: nothing.

use std::time::Duration;

use crate::{
    error::{OpenError, PublishError},
    wire::notice::GapReason,
};

#[derive(Default)]
pub(crate) struct Labels;

pub(crate) struct Meter;

/// When something began.
#[derive(Clone, Copy)]
pub(crate) struct Started;

impl Meter {
    /// Whether the meter needs the record of each stream.
    pub(crate) const KEEPS_RECORDS: bool = false;

    pub(crate) fn new(_: &Labels) -> Self {
        Self
    }

    pub(crate) fn start(&self) -> Started {
        Started
    }

    pub(crate) fn published(&self, _: Started, _: Option<&PublishError>) {}

    pub(crate) fn opened(&self, _: bool, _: Option<GapReason>) {}

    pub(crate) fn not_opened(&self, _: &OpenError) {}

    pub(crate) fn gap(&self, _: GapReason) {}

    pub(crate) fn delivered(&self, _: u64) {}

    pub(crate) fn replayed(&self, _: u64) {}

    pub(crate) fn sent(&self, _: u64) {}

    pub(crate) fn first_byte(&self, _: Duration) {}

    pub(crate) fn ended(&self, _: &'static str, _: Duration) {}

    #[cfg(feature = "runs")]
    pub(crate) fn run_began(&self) -> Started {
        Started
    }

    #[cfg(feature = "runs")]
    pub(crate) fn found_lost(&self) {}

    #[cfg(feature = "runs")]
    pub(crate) fn run_ended(&self, _: Started, _: &'static str) {}
}
