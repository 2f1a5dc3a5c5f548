//! What is left of the meter without the feature `metrics`: nothing.

use std::time::{Duration, Instant};

use crate::{
    error::{OpenError, PublishError},
    wire::{cursor::Offset, notice::GapReason},
};

#[derive(Default)]
pub(crate) struct Labels {}

pub(crate) struct Meter;

/// When something began.
#[derive(Clone, Copy)]
pub(crate) struct Started;

/// How far a reader has come.
#[derive(Default)]
pub(crate) struct Seen {}

impl Seen {
    pub(crate) const IS_KEPT: bool = false;

    pub(crate) fn set(&mut self, _: Offset) {}
}

impl Meter {
    /// Whether the meter needs the record of each stream.
    pub(crate) const KEEPS_RECORDS: bool = false;

    pub(crate) fn new(_: &Labels) -> Self {
        Self
    }

    pub(crate) fn start(&self) -> Started {
        Started
    }

    pub(crate) fn start_some(&self) -> Started {
        Started
    }

    pub(crate) fn published(&self, _: Started, _: Option<&PublishError>) {}

    pub(crate) fn opened(&self, _: bool, _: Option<GapReason>) {}

    pub(crate) fn not_opened(&self, _: &OpenError) {}

    pub(crate) fn gap(&self, _: GapReason) {}

    pub(crate) fn delivered(&self, _: u64) {}

    pub(crate) fn replayed(&self, _: u64) {}

    pub(crate) fn sent(&self, _: u64) {}

    pub(crate) fn broadcast(&self, _: usize, _: Offset, _: Instant) {}

    pub(crate) fn woken(&self, _: usize, _: (Offset, Offset), _: impl Fn(usize) -> bool, _: impl Fn() -> Instant) {}

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
