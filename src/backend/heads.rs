//! How far channels are. A node asks that of many channels at once, and does not read those that are as far as it
//! knows.

use crate::wire::cursor::{Epoch, Offset};

/// How far some channels are, as of one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Heads {
    /// The epoch of all these offsets.
    pub epoch: Epoch,
    /// The offset that the hub had given last, on any channel.
    pub level: Offset,
    /// The channels, in the order in which they were asked for.
    pub channels: Vec<Head>,
}

impl Heads {
    /// Creates the heads of these channels.
    pub fn new(epoch: Epoch, level: Offset, channels: Vec<Head>) -> Self {
        Self { epoch, level, channels }
    }
}

/// How far a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The offset that the channel has given last; [`Offset::START`] if the store knows of none.
    pub offset: Offset,
    /// If the store knows of no offset: the highest one that the channel may have given all the same. A store that
    /// forgets channels answers with an offset that is too high rather than too low.
    pub forgotten: Offset,
    /// How often the channel was [closed](super::Backend::close), as far as the store knows.
    pub closed: u64,
}

impl Head {
    /// Creates the head of a channel that was never closed, in a store that forgets no channels.
    pub fn new(offset: Offset) -> Self {
        Self { offset, forgotten: Offset::START, closed: 0 }
    }
}
