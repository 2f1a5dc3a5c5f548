//! The accounts of a hub's channels: the memory that they take, and which channel loses an event next.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    footprint::Tally,
    observe::Counter,
    sync::{Mutex, lock},
    wire::{cursor::Offset, name::ChannelName},
};

/// Shared by all channels of a hub. Its lock is always taken last.
pub(crate) struct Ledger {
    pub(crate) tally: Arc<Tally>,
    /// The number of ephemeral events that readers did not get because they were behind.
    pub(crate) dropped: Counter,
    /// The channels that hold events, ordered by rank and oldest event, so that the hub finds the next one without
    /// looking at each.
    by_turn: Mutex<BTreeMap<Turn, ChannelName>>,
}

/// A channel's turn to lose its oldest event. The oldest event may be newer than the turn says, but not older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) rank: Rank,
    pub(crate) oldest: Offset,
    /// Distinguishes channels that have events of the same offset, as copies of different epochs may.
    number: u32,
}

/// Whether a channel is in progress. In a full hub, channels of a lower rank lose their events first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The channel takes no more events.
    Finished,
    /// Nobody reads the channel, and nothing was published to it for a while.
    Idle,
    InProgress,
}

impl Ledger {
    /// What a turn takes from the allocator. In a tree that grows at its end, six of the eleven places of a leaf are
    /// used.
    pub(crate) const TURN: usize = size_of::<(Turn, ChannelName)>() * 11 / 6;

    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { tally, dropped: Counter::default(), by_turn: Mutex::new(BTreeMap::new()) }
    }

    /// Enters a channel of this rank whose oldest event has this offset. Returns its turn.
    pub(crate) fn enter(&self, rank: Rank, oldest: Offset, channel: &ChannelName) -> Turn {
        let mut by_turn = lock(&self.by_turn);
        // In process no two events have the same offset.
        let mut turn = Turn { rank, oldest, number: 0 };
        while by_turn.contains_key(&turn) {
            turn.number += 1;
        }
        by_turn.insert(turn, channel.clone());
        turn
    }

    pub(crate) fn leave(&self, turn: Turn) {
        lock(&self.by_turn).remove(&turn);
    }

    /// Returns the channel whose turn is next, and the offset up to which it loses events before another channel's
    /// turn comes. The channel keeps its turn.
    pub(crate) fn next(&self) -> Option<(ChannelName, Offset)> {
        let by_turn = lock(&self.by_turn);
        let mut turns = by_turn.iter();
        let (first, channel) = turns.next()?;
        let other = turns.next().filter(|(turn, _)| turn.rank == first.rank);
        Some((channel.clone(), other.map_or(Offset::new(u64::MAX), |(turn, _)| turn.oldest)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_channel_with_the_oldest_event_of_the_lowest_rank_is_next() {
        let ledger = Ledger::new(Arc::default());
        let [a, b, c] = ["a", "b", "c"].map(ChannelName::from_static);
        let enter = |offset, channel| ledger.enter(Rank::Idle, Offset::new(offset), channel);
        let turns = [enter(7, &a), enter(3, &b), enter(7, &b)];
        assert_ne!(turns[0], turns[2], "each has its own");
        let next = || ledger.next().map(|(channel, upto)| (channel, upto.get()));
        assert_eq!(next(), Some((b.clone(), 7)));
        ledger.leave(turns[1]);
        assert_eq!(next(), Some((a, 7)));
        ledger.leave(turns[0]);
        assert_eq!(next(), Some((b.clone(), u64::MAX)));
        ledger.enter(Rank::InProgress, Offset::new(1), &c);
        assert_eq!(next(), Some((b, u64::MAX)), "all of it goes before anything that is in progress");
        let finished = ledger.enter(Rank::Finished, Offset::new(9), &c);
        assert_eq!(next(), Some((c.clone(), u64::MAX)));
        [turns[2], finished].into_iter().for_each(|turn| ledger.leave(turn));
        assert_eq!(next(), Some((c, u64::MAX)));
    }
}
