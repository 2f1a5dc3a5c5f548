//! The id of the lane that an event or a reader is in.

use std::num::NonZeroU32;

/// A lane's place in its log. It stays the same as long as the lane has a reader or an event. It is never zero, so that
/// an `Option` takes no more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LaneId(NonZeroU32);

/// The lane that every reader reads.
pub(crate) const BROADCAST: LaneId = LaneId::numbered(0);

impl LaneId {
    /// Returns the lane with this number. The broadcast lane is 0, and those of clients follow. Four billion lanes would
    /// not fit in memory.
    pub(crate) const fn numbered(number: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(number))
    }

    pub(crate) const fn number(self) -> u32 {
        self.0.get() - 1
    }

    /// Returns the lane that has this key among those of clients.
    pub(super) fn of_client(key: u32) -> Self {
        Self::numbered(key.saturating_add(1))
    }

    /// Returns the lane's key among those of clients, or `None` for the broadcast lane.
    pub(super) fn key(self) -> Option<u32> {
        self.number().checked_sub(1)
    }
}

/// The error for a channel that has as many lanes as it may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyLanes;
