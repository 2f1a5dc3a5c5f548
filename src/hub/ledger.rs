//! What a hub's channels are accountable for: the memory that they take, and which of them has the oldest event.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    footprint::Tally,
    observe::Counter,
    sync::{Mutex, lock},
    wire::{cursor::Offset, name::ChannelName},
};

/// Shared by all channels of a hub. Its lock is the last that is taken.
pub(crate) struct Ledger {
    pub(crate) tally: Arc<Tally>,
    /// Ephemeral events that readers did not get because they were behind.
    pub(crate) dropped: Counter,
    /// The channels that hold events, by their oldest, so that the hub finds the oldest of all without a look at each.
    by_oldest: Mutex<BTreeMap<Turn, ChannelName>>,
}

/// A channel's turn to lose its oldest event. That may be newer than the turn says, and is not older. The number tells channels
/// apart that have events of the same offset, as copies of different epochs may.
pub(crate) type Turn = (Offset, u32);

impl Ledger {
    /// What a turn takes from the allocator: in a tree that grows at its end, six of eleven places of a leaf are taken.
    pub(crate) const TURN: usize = size_of::<(Turn, ChannelName)>() * 11 / 6;

    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { tally, dropped: Counter::default(), by_oldest: Mutex::new(BTreeMap::new()) }
    }

    /// A channel's oldest event has this offset: gives its turn.
    pub(crate) fn enter(&self, oldest: Offset, channel: &ChannelName) -> Turn {
        let mut by_oldest = lock(&self.by_oldest);
        // In process no two events have the same offset.
        let mut turn = (oldest, 0);
        while by_oldest.contains_key(&turn) {
            turn.1 += 1;
        }
        by_oldest.insert(turn, channel.clone());
        turn
    }

    pub(crate) fn leave(&self, turn: Turn) {
        lock(&self.by_oldest).remove(&turn);
    }

    /// The channel that may have the oldest event of all, and the offset of the next one's. It keeps its turn.
    pub(crate) fn oldest(&self) -> Option<(ChannelName, Offset)> {
        let by_oldest = lock(&self.by_oldest);
        let mut turns = by_oldest.iter();
        let (_, channel) = turns.next()?;
        let next = turns.next().map_or(Offset::new(u64::MAX), |((offset, _), _)| *offset);
        Some((channel.clone(), next))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_channel_with_the_oldest_event_is_found_first() {
        let ledger = Ledger::new(Arc::default());
        let [a, b] = ["a", "b"].map(ChannelName::from_static);
        let enter = |offset, channel| ledger.enter(Offset::new(offset), channel);
        let turns = [enter(7, &a), enter(3, &b), enter(7, &b)];
        assert_ne!(turns[0], turns[2], "each has its own");
        let oldest = || ledger.oldest().map(|(channel, next)| (channel, next.get()));
        assert_eq!(oldest(), Some((b.clone(), 7)));
        ledger.leave(turns[1]);
        assert_eq!(oldest(), Some((a, 7)));
        ledger.leave(turns[0]);
        assert_eq!(oldest(), Some((b, u64::MAX)));
        ledger.leave(turns[2]);
        assert_eq!(oldest(), None);
    }
}
