//! A reader's places in all of its channels, and what is asked of all of them.

use std::task::Context;

use super::{engine::Hub, merge::Merge, position::Position, state::State};
use crate::wire::{
    cursor::{Cursor, Epoch, Offset},
    encode::Sealed,
    encoded::EncodedEvent,
    name::{ChannelName, ClientId, CustomId},
};

/// A reader's places in all of its channels. Each channel is locked for its own answer only.
pub(crate) enum Positions {
    /// None yet, or none any more.
    None,
    /// Most readers have one channel: in place, it costs no allocation.
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

    /// Gives back the places in all channels but those that `keep` keeps.
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
                // What was known of the others, it has to find out again.
                position.look_again();
                self.add(position);
            } else {
                position.leave(hub);
            }
        }
    }

    /// The client whose places these are. It is the same in all of them.
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

    /// The event that was read last, with the channel and the epoch that it is of.
    pub(crate) fn seen(&self, event: Sealed, epoch: Epoch) -> EncodedEvent {
        let position = match self {
            Self::One(only) => only,
            Self::Several(several) => several.last_read(),
            Self::None => unreachable!("a reader without a place reads nothing"),
        };
        EncodedEvent::new(position.channel.name.clone(), epoch, event)
    }

    /// Nothing is left to read in any of them, and the reader is parked in all. Takes no lock.
    pub(crate) fn are_level(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(only) => only.is_unchanged(),
            Self::Several(several) => several.is_level(),
        }
    }

    /// The cursor has moved to another epoch, so that the reader has to look at all of them again.
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

    /// Ends the client's older readers.
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

    /// A reader begins, which gets history alone. Marks everything that is missing now as told, as
    /// [`tell_missed`](Self::tell_missed) does. Returns the highest offset that is no history any more.
    pub(crate) fn begin(&mut self) -> Offset {
        let begin = |position: &mut Position| position.begin();
        self.as_mut_slice().iter_mut().map(begin).max().unwrap_or_default()
    }

    /// Marks everything that is missing now as told: the reader is about to be told, or is a fresh one that does not care. What is
    /// evicted from now on is a lag. Returns the highest offset that is no longer held.
    pub(crate) fn tell_missed(&mut self) -> Offset {
        for position in self.as_mut_slice() {
            let state = position.channel.look();
            (position.told, position.late) = (position.missed(&state), state.times_late());
        }
        self.as_slice().iter().map(|position| position.told).max().unwrap_or_default()
    }

    /// Marks what is missing up to `offset` as told.
    pub(crate) fn tell_up_to(&mut self, offset: Offset) {
        for position in self.as_mut_slice() {
            position.told = position.told.max(offset);
        }
    }

    /// The offset up to which everything that was published to them is in their logs, or was. What is on its way comes after it.
    pub(crate) fn whole_up_to(&self, hub: &Hub) -> Offset {
        // Read first: a look at a channel from here on finds everything that was published to it up to this offset.
        let last = hub.memory.last();
        if hub.elsewhere.is_none() {
            return last;
        }
        let own = self.each(|_, state| state.whole_up_to()).min().unwrap_or_default();
        match self {
            // What got lost on the way may be before the hub's last offset. Only readers of several channels are told of that.
            Self::None | Self::One(_) => own,
            Self::Several(_) => own.max(last),
        }
    }

    /// Parks in all of them, whatever there is to read.
    pub(crate) fn park(&self, cx: &Context<'_>) {
        self.as_slice().iter().for_each(|position| position.park_anyway(cx));
    }

    /// Where a cursor of another epoch is in their logs: at the start unless its offsets go on in all of them. `None` if one of the
    /// logs is not loaded.
    pub(crate) fn place_of(&self, cursor: Cursor) -> Option<Offset> {
        let places: Option<Vec<_>> = self.each(|_, state| state.place_of(cursor)).collect();
        places?.into_iter().map(|place| place.offset).min()
    }

    /// Their logs are here, or copies of this epoch.
    pub(crate) fn are_of(&self, epoch: Epoch) -> bool {
        self.each(|_, state| state.is_of(epoch)).all(|is_of| is_of)
    }

    pub(crate) fn first_after(&self, cursor: Offset) -> Option<Offset> {
        self.each(|position, state| position.first_after(state, cursor)).flatten().min()
    }

    /// The offset right before the last `n` events that are held; `None` if there are fewer.
    pub(crate) fn before_last(&self, n: usize) -> Option<Offset> {
        let mut newest: Vec<_> = self.as_slice().iter().flat_map(|position| position.newest(n)).collect();
        newest.sort_unstable_by_key(|offset| std::cmp::Reverse(*offset));
        newest.get(n.checked_sub(1)?).map(|offset| offset.before())
    }

    /// The event with that custom id, if exactly one is held.
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

    /// One of them has never had an event.
    pub(crate) fn any_absent(&self) -> bool {
        self.each(|_, state| !state.log.has_begun()).any(|absent| absent)
    }

    /// An event for the reader is gone that one of them had since it began. Everything that is missing has been
    /// [marked](Self::tell_missed) as told.
    pub(crate) fn have_lost_beginning(&self) -> bool {
        self.each(|position, state| position.told > state.log.since()).any(|lost| lost)
    }

    pub(crate) fn any_lagged(&self, cursor: Offset) -> bool {
        self.each(|position, state| position.has_lagged(state, cursor)).any(|lagged| lagged)
    }

    pub(crate) fn all_finished(&self) -> bool {
        self.each(|_, state| state.log.is_finished()).all(|finished| finished)
    }

    /// None of them takes more events. The last ones may still be on their way here.
    pub(crate) fn all_finishing(&self) -> bool {
        self.each(|_, state| state.is_finishing()).all(|finishing| finishing)
    }

    fn each<T>(&self, mut ask: impl FnMut(&Position, &State) -> T) -> impl Iterator<Item = T> {
        self.as_slice().iter().map(move |position| ask(position, &position.channel.look()))
    }
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
        let place =
            || Position::new(channel.clone(), channel.look().readers.insert(None, seats.take().unwrap()), None, 0);
        let mut positions = Positions::None;
        positions.add(place());
        assert!(matches!(positions, Positions::One(_)));
        (2..5).for_each(|_| positions.add(place()));
        assert_eq!(positions.as_slice().len(), 4);
    }
}
