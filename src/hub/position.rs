//! A reader's place in a channel, and its places in all of them: what it asks them, with the lock that it asks under.

use std::{
    num::NonZeroU64,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{
    engine::Hub,
    readers::ReaderId,
    state::{Shared, State},
};
use crate::node::gate::{Gate, Place};
use crate::{
    log::{Batch, Limit, View},
    wire::{
        cursor::{Cursor, Epoch, Offset},
        encode::EncodedEvent,
        name::CustomId,
        notice::EndReason,
    },
};

/// What one look at the channels gave.
pub(crate) enum Found {
    Batch(Batch),
    /// Events after the cursor are gone.
    Lagged,
    /// The log was lost, and begins anew in this epoch.
    Lost(Epoch),
    End(EndReason),
}

/// What one of several channels gave.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) events: Vec<EncodedEvent>,
    /// There are more than fit.
    pub(crate) more: bool,
    /// There is nothing after them; the reader is parked, unless it is to end.
    pub(crate) level: bool,
    pub(crate) lagged: bool,
    /// An end that does not wait for what is left.
    pub(crate) ended: Option<EndReason>,
    /// The log is not the one that the cursor is of.
    pub(crate) another: bool,
}

/// A place in a channel.
pub(crate) struct Position {
    pub(crate) channel: Arc<Shared>,
    pub(crate) reader: ReaderId,
    view: View,
    /// What is missing of this channel up to here is told already, or was before the reader came. Above the cursor only
    /// while other channels still hold earlier events.
    told: Offset,
    /// The version of the channel at which there was nothing more to read and the reader was parked; 0 if it has to look.
    level_at: u64,
    /// The channel was finished at the last look.
    finished: bool,
    /// How often events had come late to it at the last look.
    late: u16,
}

/// A reader's places in all of its channels, asked one after the other: each is locked for its own answer only.
pub(crate) enum Positions {
    /// Most readers have one channel: in place, it costs no allocation.
    One(Position),
    /// Any number of them, and the reader's place among those who wait for the level.
    Several(Vec<Position>, Option<Box<Place>>),
}

impl Positions {
    pub(crate) fn none() -> Self {
        Self::Several(Vec::new(), None)
    }

    pub(crate) fn add(&mut self, position: Position) {
        *self = match std::mem::replace(self, Self::none()) {
            Self::Several(none, _) if none.is_empty() => Self::One(position),
            Self::Several(mut several, waits) => {
                several.push(position);
                Self::Several(several, waits)
            }
            Self::One(first) => Self::Several(vec![first, position], None),
        };
    }

    pub(crate) fn as_slice(&self) -> &[Position] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Several(several, _) => several,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Position] {
        match self {
            Self::One(only) => std::slice::from_mut(only),
            Self::Several(several, _) => several,
        }
    }

    /// Gives the places back.
    pub(crate) fn leave(&mut self, hub: &Hub) {
        match std::mem::replace(self, Self::none()) {
            Self::One(only) => only.leave(hub),
            Self::Several(several, mut waits) => {
                several.into_iter().for_each(|position| position.leave(hub));
                if let Some(remote) = &hub.remote {
                    remote.level.leave(&mut waits);
                }
            }
        }
    }

    /// The reader is in: see [`Readers::settle`](super::readers::Readers::settle).
    pub(crate) fn settle(&self, number: NonZeroU64, replace: bool) {
        for position in self.as_slice() {
            let replaced = position.channel.change().readers.settle(position.reader, number, replace);
            drop(replaced);
        }
    }

    /// The highest offset that is not held any more, which the reader is told of by this, or which is nothing to a fresh
    /// one; what is evicted from now on is a lag.
    pub(crate) fn tell_missed(&mut self) -> Offset {
        for position in self.as_mut_slice() {
            let state = position.channel.look();
            (position.told, position.late) = (position.missed(&state), state.late());
        }
        self.as_slice().iter().map(|position| position.told).max().unwrap_or_default()
    }

    /// What is missing up to `offset` is told by this, or was never to come.
    pub(crate) fn tell_up_to(&mut self, offset: Offset) {
        for position in self.as_mut_slice() {
            position.told = position.told.max(offset);
        }
    }

    /// Up to where all that was published to them is in their logs, or was: what is on its way comes after it.
    pub(crate) fn whole_up_to(&self, hub: &Hub) -> Offset {
        // Asked first: whoever locks a channel from here on finds all that was published to it up to this.
        let last = hub.memory.last();
        if hub.remote.is_none() {
            return last;
        }
        let own = self.each(|_, state| state.whole_up_to()).min().unwrap_or_default();
        match self {
            // What the feed has lost may lie before the level, of which only readers of several channels are told.
            Self::One(_) => own,
            Self::Several(..) => own.max(last),
        }
    }

    /// Parks in all of them, whatever there is to read.
    pub(crate) fn park(&self, cx: &mut Context<'_>) {
        for position in self.as_slice() {
            let mut state = position.channel.look();
            let replaced = position.park(&mut state, cx);
            drop(state);
            drop(replaced);
        }
    }

    /// Whether the level is still to reach `offset`, of which the reader is told then. One of a single channel does not
    /// wait for it.
    pub(crate) fn wait_for(&mut self, offset: Offset, level: &Gate, cx: &Context<'_>) -> bool {
        match self {
            Self::One(_) => false,
            Self::Several(_, waits) => level.wait(offset.get(), waits, cx.waker()),
        }
    }

    /// One of them is of another epoch.
    pub(crate) fn is_of_another(&self, epoch: Epoch) -> bool {
        self.each(|_, state| state.is_of_another(epoch)).any(|another| another)
    }

    pub(crate) fn first_after(&self, cursor: Offset) -> Option<Offset> {
        self.each(|position, state| position.first_after(state, cursor)).flatten().min()
    }

    /// The offset right before the last `n` events that are held; `None` if there are fewer.
    pub(crate) fn before_last(&self, n: usize) -> Option<Offset> {
        let newest = self.each(|position, state| state.log.newest_offsets(position.view, n));
        let mut newest: Vec<_> = newest.flatten().collect();
        newest.sort_unstable_by_key(|offset| std::cmp::Reverse(*offset));
        newest.get(n.checked_sub(1)?).map(|offset| offset.before())
    }

    /// The event with that custom id, if exactly one is held.
    pub(crate) fn find(&self, id: &CustomId) -> Option<Offset> {
        let found: Vec<_> =
            self.each(|position, state| state.log.find(position.view, id).collect::<Vec<_>>()).flatten().collect();
        match found[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    pub(crate) fn any_lagged(&self, cursor: Offset) -> bool {
        self.each(|position, state| position.has_lagged(state, cursor)).any(|lagged| lagged)
    }

    pub(crate) fn all_finished(&self) -> bool {
        self.each(|_, state| state.log.is_finished()).all(|finished| finished)
    }

    /// They take no more events, of which the last may be on their way here.
    pub(crate) fn all_finishing(&self) -> bool {
        self.each(|_, state| state.is_finishing()).all(|finishing| finishing)
    }

    fn each<T>(&self, mut ask: impl FnMut(&Position, &State) -> T) -> impl Iterator<Item = T> {
        self.as_slice().iter().map(move |position| ask(position, &position.channel.look()))
    }
}

impl Position {
    pub(crate) fn new(channel: Arc<Shared>, reader: ReaderId, view: View) -> Self {
        Self { channel, reader, view, told: Offset::START, level_at: 0, finished: false, late: 0 }
    }

    /// What comes next for a reader of this channel alone, after `cursor`: one lock, under which there is something, or it
    /// parks. Who takes the last there is parks by the same lock: a server asks once more after each delivery, and that
    /// costs no lock then.
    pub(crate) fn poll(&mut self, cursor: Cursor, cx: &mut Context<'_>, limit: Limit) -> Poll<Found> {
        if self.is_level() {
            return Poll::Pending;
        }
        let mut state = self.channel.look();
        let found = self.find(&mut state, cursor, limit);
        let level = match &found {
            None => true,
            Some(Found::Batch(batch)) => {
                self.first_after(&state, batch.last()).is_none() && self.ended(&state).is_none()
            }
            Some(Found::Lagged | Found::Lost(_) | Found::End(_)) => false,
        };
        let mut replaced = None;
        if level {
            replaced = self.park(&mut state, cx);
            // Under the lock, so that it is the version of what was seen.
            self.level_at = self.channel.version();
        }
        drop(state);
        drop(replaced);
        found.map_or(Poll::Pending, Poll::Ready)
    }

    fn find(&self, state: &mut State, Cursor { epoch, offset: cursor }: Cursor, limit: Limit) -> Option<Found> {
        if let Some(reason) = self.ended_at_once(state) {
            return Some(Found::End(reason));
        }
        if state.is_of_another(epoch) {
            // Until it is loaded there is nothing to tell.
            return state.loaded().map(Found::Lost).or(state.readers.ending(self.reader).map(Found::End));
        }
        if self.has_lagged(state, cursor) {
            return Some(Found::Lagged);
        }
        let batch = state.log.read(self.view, cursor, limit).map(Found::Batch);
        batch.or_else(|| self.ended(state).map(Found::End))
    }

    /// Nothing has changed since the reader was parked: there is nothing to read, and it is parked still. It needs no lock
    /// to know: who changes something later finds its waker.
    pub(crate) fn is_level(&self) -> bool {
        self.level_at == self.channel.version()
    }

    /// Whether the channel was finished at the last look.
    pub(crate) fn was_finished(&self) -> bool {
        self.finished
    }

    /// Has to look, whatever the channel's version.
    pub(crate) fn look_again(&mut self) {
        self.level_at = 0;
    }

    /// What one of several channels holds after `cursor`, up to `upto` and within `limit`. If that is all, the reader parks
    /// by the same lock; if it is not given all of it then, it has to [look again](Self::look_again).
    pub(crate) fn gather(&mut self, cursor: Cursor, upto: Offset, cx: &mut Context<'_>, limit: Limit) -> Gathered {
        let mut state = self.channel.look();
        if state.is_of_another(cursor.epoch) {
            return Gathered { another: true, ended: self.ended_at_once(&state), ..Gathered::default() };
        }
        let cursor = cursor.offset;
        let (events, more) = state.log.gather(self.view, cursor, upto, limit);
        let last = events.last().map_or(cursor, EncodedEvent::offset);
        let level = self.first_after(&state, last).is_none();
        self.finished = state.log.is_finished();
        let ended = self.ended_at_once(&state);
        let lagged = self.has_lagged(&state, cursor) || state.has_passed_late(self.view, self.late, self.told, cursor);
        self.late = state.late();
        let mut replaced = None;
        if level && state.readers.ending(self.reader).is_none() {
            replaced = self.park(&mut state, cx);
            // Under the lock, so that it is the version of what was seen.
            self.level_at = self.channel.version();
        }
        drop(state);
        drop(replaced);
        Gathered { events, more, level, lagged, ended, another: false }
    }

    fn missed(&self, state: &State) -> Offset {
        state.log.missed(self.view)
    }

    /// Something was evicted that the reader was to get after `cursor`, and does not know of.
    fn has_lagged(&self, state: &State, cursor: Offset) -> bool {
        self.missed(state) > cursor.max(self.told)
    }

    fn first_after(&self, state: &State, cursor: Offset) -> Option<Offset> {
        state.log.first_after(self.view, cursor)
    }

    /// An end that does not wait for what is left.
    pub(crate) fn ended_at_once(&self, state: &State) -> Option<EndReason> {
        state.readers.ending(self.reader).filter(|reason| !matches!(reason, EndReason::Shutdown | EndReason::Finished))
    }

    /// An end that comes when everything was read. A finished channel is complete, also where the hub shuts down.
    fn ended(&self, state: &State) -> Option<EndReason> {
        match state.readers.ending(self.reader) {
            None | Some(EndReason::Shutdown) if state.log.is_finished() => Some(EndReason::Finished),
            ending => ending,
        }
    }

    /// Parks under the lock under which there was nothing to read. Gives back a waker to be dropped after it.
    fn park(&self, state: &mut State, cx: &mut Context<'_>) -> Option<Waker> {
        state.readers.park(self.reader, cx.waker())
    }

    pub(crate) fn leave(self, hub: &Hub) {
        let (waker, idle) = {
            let mut state = self.channel.look();
            let waker = state.readers.remove(self.reader);
            if let Some(lane) = self.view.client {
                state.log.leave(lane);
            }
            (waker, state.is_idle())
        };
        drop(waker);
        if idle {
            hub.drop_if_idle(&self.channel);
        }
    }
}

/// A reader that wants what is held goes on right before the first of it. What is on its way, and may come before that, comes
/// after `whole`.
pub(crate) fn go_on_before(first: Option<Offset>, whole: Offset) -> Offset {
    first.map_or(whole, |first| first.before().min(whole))
}

#[cfg(all(test, loom))]
#[path = "position/loom_tests.rs"]
mod loom_tests;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{
        log::{Log, Retention, Tombstone},
        wire::name::ChannelName,
    };

    #[test]
    fn the_only_place_takes_no_memory_of_its_own() {
        let log = Log::new(Retention::new(), Tombstone::default(), std::time::Instant::now());
        let channel = Arc::new(Shared::new(ChannelName::from_static("a"), log, None));
        let view = View { client: None };
        let place = || Position::new(channel.clone(), channel.look().readers.insert(None), view);
        let mut positions = Positions::none();
        positions.add(place());
        assert!(matches!(positions, Positions::One(_)));
        (2..5).for_each(|_| positions.add(place()));
        assert_eq!(positions.as_slice().len(), 4);
    }
}
