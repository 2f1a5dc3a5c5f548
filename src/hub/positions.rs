//! The places of a reader in all of its channels, and the questions that it asks all of them.

use std::task::Context;

use super::{engine::Hub, merge::Merge, position::Position, state::State};
use crate::wire::{
    cursor::{Cursor, Epoch, Offset},
    encode::Sealed,
    encoded::EncodedEvent,
    name::{ChannelName, ClientId, CustomId},
};

/// The places of a reader in all of its channels. Each channel is locked only for its own answer.
pub(crate) enum Positions {
    /// The reader has no place yet, or has left.
    None,
    /// Most readers have one channel. It is stored in place, without an allocation.
    One(Position),
    Several(Box<Merge>),
}

impl Positions {
    pub(crate) fn add(&mut self, position: Position) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(position),
            Self::One(first) => Self::Several(Box::new(Merge::of(first, position))),
            Self::Several(mut several) => {
                several.add(position);
                Self::Several(several)
            }
        };
    }

    /// Gives back the places in all channels except those that `keep` keeps.
    pub(crate) fn retain(&mut self, hub: &Hub, keep: impl Fn(&ChannelName) -> bool) {
        if self.as_slice().iter().all(|position| keep(&position.channel.name)) {
            return;
        }
        let places = match std::mem::replace(self, Self::None) {
            Self::None => Vec::new(),
            Self::One(only) => vec![only],
            Self::Several(several) => several.into_places(hub),
        };
        for mut position in places {
            if keep(&position.channel.name) {
                // What was known about the channels is lost, so the reader has to look again.
                position.look_again();
                self.add(position);
            } else {
                position.leave(hub);
            }
        }
    }

    /// Returns the client that the places belong to. It is the same in all of them.
    pub(crate) fn client(&self) -> Option<ClientId> {
        let position = self.as_slice().first()?;
        position.client(&position.channel.look()).cloned()
    }

    pub(crate) fn as_slice(&self) -> &[Position] {
        match self {
            Self::None => &[],
            Self::One(only) => std::slice::from_ref(only),
            Self::Several(several) => several.places(),
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Position] {
        match self {
            Self::None => &mut [],
            Self::One(only) => std::slice::from_mut(only),
            Self::Several(several) => several.places_mut(),
        }
    }

    /// Wraps the event that was read last, with its channel and its epoch.
    pub(crate) fn seen(&self, event: Sealed, epoch: Epoch) -> EncodedEvent {
        let position = match self {
            Self::One(only) => only,
            Self::Several(several) => several.last_read(),
            Self::None => unreachable!("a reader without a place reads nothing"),
        };
        EncodedEvent::new(position.channel.name.clone(), epoch, event)
    }

    /// Returns `true` if there is nothing left to read in any channel and the reader is parked in all of them. Takes
    /// no lock.
    pub(crate) fn are_level(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(only) => only.is_unchanged(),
            Self::Several(several) => several.is_level(),
        }
    }

    /// Prepares for a cursor of another epoch: the reader has to look at all channels again.
    pub(crate) fn begin_anew(&mut self) {
        match self {
            Self::None => {}
            Self::One(only) => only.begin_anew(),
            Self::Several(several) => several.begin_anew(),
        }
    }

    /// Gives the places back.
    pub(crate) fn leave(&mut self, hub: &Hub) {
        match std::mem::replace(self, Self::None) {
            Self::None => {}
            Self::One(only) => only.leave(hub),
            Self::Several(several) => several.leave(hub),
        }
    }

    /// Ends the older readers of the client.
    pub(crate) fn replace(&self) {
        for position in self.as_slice() {
            let mut from = None;
            loop {
                let wakeups = position.channel.change().readers.replace(position.reader, &mut from);
                drop(wakeups);
                if from.is_none() {
                    break;
                }
            }
        }
    }

    /// Begins a reader that gets only history. Marks everything that is missing now as reported, as
    /// [`tell_missed`](Self::tell_missed) does. Returns the highest offset that is no longer history.
    pub(crate) fn begin(&mut self) -> Offset {
        let begin = |position: &mut Position| position.begin();
        self.as_mut_slice().iter_mut().map(begin).max().unwrap_or_default()
    }

    /// Marks everything that is missing now as reported: the reader is about to be told, or is a new one that does not
    /// need to know. What is evicted from now on makes the reader lag. Returns the highest offset that is no longer
    /// held.
    pub(crate) fn tell_missed(&mut self) -> Offset {
        for position in self.as_mut_slice() {
            let state = position.channel.look();
            (position.told, position.late) = (position.missed(&state), state.times_late());
        }
        self.as_slice().iter().map(|position| position.told).max().unwrap_or_default()
    }

    /// Marks what is missing up to `offset` as reported.
    pub(crate) fn tell_up_to(&mut self, offset: Offset) {
        for position in self.as_mut_slice() {
            position.told = position.told.max(offset);
        }
    }

    /// Returns the offset up to which everything published to the channels is in their logs, or was. Events still on
    /// their way come after it.
    pub(crate) fn whole_up_to(&self, hub: &Hub) -> Offset {
        // Read this first: a later look at a channel finds everything that was published to it up to this offset.
        let last = hub.memory.last();
        if hub.elsewhere.is_none() {
            return last;
        }
        let whole_up_to = |state: &State| match self {
            // Events that were lost on the way may lie before the hub's last offset. Only readers of several channels
            // are told of those.
            Self::Several(_) => state.limit().unwrap_or_else(|| state.whole_up_to().max(last)),
            Self::None | Self::One(_) => state.whole_up_to(),
        };
        self.each(|_, state| whole_up_to(state)).min().unwrap_or_default()
    }

    /// Parks the reader in all channels, even if there is something to read.
    pub(crate) fn park(&self, cx: &Context<'_>) {
        self.as_slice().iter().for_each(|position| position.park_anyway(cx));
    }

    /// Returns the place of a cursor of another epoch in the logs. This is the start, unless its offsets continue in
    /// all of them. Returns `None` if one of the logs is not loaded.
    pub(crate) fn place_of(&self, cursor: Cursor) -> Option<Offset> {
        let places: Option<Vec<_>> = self.each(|_, state| state.place_of(cursor)).collect();
        places?.into_iter().map(|place| place.offset).min()
    }

    /// Returns whether every log lives here or is a copy of this epoch.
    pub(crate) fn are_of(&self, epoch: Epoch) -> bool {
        self.each(|_, state| state.is_of(epoch)).all(|is_of| is_of)
    }

    pub(crate) fn first_after(&self, cursor: Offset) -> Option<Offset> {
        self.each(|position, state| position.first_after(state, cursor)).flatten().min()
    }

    /// Returns how many events are held after `cursor` for the reader. It may count some that exclude the reader.
    pub(crate) fn count_after(&self, cursor: Offset) -> u64 {
        // Lossless: no target has a wider `usize`.
        self.each(|position, state| position.count_after(state, cursor) as u64).sum()
    }

    /// Returns the offset right before the last `n` held events, or `None` if there are fewer.
    pub(crate) fn before_last(&self, n: usize) -> Option<Offset> {
        let mut newest: Vec<_> = self.as_slice().iter().flat_map(|position| position.newest(n)).collect();
        newest.sort_unstable_by_key(|offset| std::cmp::Reverse(*offset));
        newest.get(n.checked_sub(1)?).map(|offset| offset.before())
    }

    /// Returns the offset of the event with this custom id, if exactly one is held.
    pub(crate) fn find(&self, id: &CustomId) -> Option<Offset> {
        let found: Vec<_> = self
            .each(|position, state| state.log.find(position.view_of(state), id).collect::<Vec<_>>())
            .flatten()
            .collect();
        match found[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Returns whether one of the channels has never had an event.
    pub(crate) fn any_absent(&self) -> bool {
        self.each(|_, state| !state.log.has_begun()).any(|absent| absent)
    }

    /// Returns whether one of the channels has lost an event for the reader that it has had since it began. Everything
    /// missing must have been [marked](Self::tell_missed) as reported before.
    pub(crate) fn have_lost_beginning(&self) -> bool {
        self.each(|position, state| position.told > state.log.since()).any(|lost| lost)
    }

    pub(crate) fn any_lagged(&self, cursor: Offset) -> bool {
        self.each(|position, state| position.has_lagged(state, cursor)).any(|lagged| lagged)
    }

    /// Returns whether all channels are finished. A channel that was closed is not.
    pub(crate) fn all_finished(&self) -> bool {
        self.each(|_, state| state.log.is_finished() && !state.dropped).all(|finished| finished)
    }

    /// Returns whether none of the channels takes more events. The last events may still be on their way here.
    pub(crate) fn all_finishing(&self) -> bool {
        self.each(|_, state| state.is_finishing()).all(|finishing| finishing)
    }

    fn each<T>(&self, mut ask: impl FnMut(&Position, &State) -> T) -> impl Iterator<Item = T> {
        self.as_slice().iter().map(move |position| ask(position, &position.channel.look()))
    }
}

/// Returns the cursor for a reader that wants everything held: right before the first held event. Events still on
/// their way come after `whole`, and may come before that first event.
pub(crate) fn go_on_before(first: Option<Offset>, whole: Offset) -> Offset {
    first.map_or(whole, |first| first.before().min(whole))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        hub::{ledger::Ledger, seats::Seats, state::Shared},
        log::{Log, Retention, Tombstone},
        wire::name::ChannelName,
    };

    #[test]
    fn the_only_place_takes_no_memory_of_its_own() {
        let log = Log::new(Retention::new(), Tombstone::default(), std::time::Instant::now());
        let ledger = Arc::new(Ledger::new(Arc::default()));
        let channel = Arc::new(Shared::new(ChannelName::from_static("a"), log, None, ledger));
        let seats = Arc::new(Seats::new(9));
        let place = || {
            let mut state = channel.look();
            let reader = state.readers.insert(None, seats.take().unwrap());
            Position::new(channel.clone(), reader, None, &state)
        };
        let mut positions = Positions::None;
        positions.add(place());
        assert!(matches!(positions, Positions::One(_)));
        (2..5).for_each(|_| positions.add(place()));
        assert_eq!(positions.as_slice().len(), 4);
    }
}
