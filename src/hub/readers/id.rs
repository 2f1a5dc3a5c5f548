//! The number of a reader in its channel.

use std::num::NonZeroU32;

/// A reader's number in its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReaderId(NonZeroU32);

impl ReaderId {
    /// Returns the number of the reader at this key. It is one higher, so that an `Option` takes no more room. Four
    /// billion readers would not fit in memory.
    pub(super) fn of(key: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(key))
    }

    pub(super) fn key(self) -> u32 {
        self.0.get() - 1
    }
}
