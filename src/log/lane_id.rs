//! The id of the lane that an event or a reader is in.

/// A lane's place in its log. It stays the same as long as the lane has a reader or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LaneId(pub(super) u32);

/// The lane that every reader reads.
pub(crate) const BROADCAST: LaneId = LaneId(0);

/// The error for a channel that has as many lanes as it may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyLanes;
