//! What a hub's channels are accountable for: the memory that they take, and which of them is the next to lose an event.

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
    /// The channels that hold events, by their rank and their oldest, so that the hub finds the next without a look at each.
    by_turn: Mutex<BTreeMap<Turn, ChannelName>>,
}

/// A channel's turn to lose its oldest event. That may be newer than the turn says, and is not older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) rank: Rank,
    pub(crate) oldest: Offset,
    /// Tells channels apart that have events of the same offset, as copies of different epochs may.
    number: u32,
}

/// Whether a channel is in progress. Of a full hub, channels of a lower rank lose their events first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It takes no more events.
    Finished,
    /// Nobody reads it, and nothing was published to it for a while.
    Idle,
    InProgress,
}

impl Ledger {
    /// What a turn takes from the allocator: in a tree that grows at its end, six of eleven places of a leaf are taken.
    pub(crate) const TURN: usize = size_of::<(Turn, ChannelName)>() * 11 / 6;

    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { tally, dropped: Counter::default(), by_turn: Mutex::new(BTreeMap::new()) }
    }

    /// A channel of this rank has an oldest event with this offset: gives its turn.
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

    /// The channel whose turn is next, and up to which offset it loses events until it is that of another. It keeps its turn.
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
