//! How far a reader has come in a channel, for whoever looks for the slowest one.

use std::num::NonZeroU64;

use crate::wire::cursor::Offset;

/// The offset up to which a reader has taken everything. `None` before its first look.
#[derive(Default)]
pub(crate) struct Seen(Option<NonZeroU64>);

impl Seen {
    /// Whether anybody looks for the slowest reader.
    pub(crate) const IS_KEPT: bool = true;

    /// Notes that the reader has taken everything up to this offset. It may go back, as in a new epoch.
    pub(crate) fn set(&mut self, offset: Offset) {
        self.0 = NonZeroU64::new(offset.get().saturating_add(1));
    }

    pub(crate) fn get(&self) -> Option<Offset> {
        self.0.map(|offset| Offset::new(offset.get() - 1))
    }
}
