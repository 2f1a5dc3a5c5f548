//! The place of a reader in one channel, and the questions that it asks the channel under its lock.

mod place;

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{
    readers::{ReaderId, Readers},
    state::{Shared, State},
};
use crate::{
    log::{self, BROADCAST, Batch, Head, LaneId, Limit, Log, View},
    meter::Seen,
    wire::{
        cursor::{Cursor, Offset},
        encode::Sealed,
        name::ClientId,
        notice::EndReason,
    },
};

/// What a reader found in its channels.
pub(crate) enum Found {
    Batch(Batch),
    /// Events after the cursor are gone.
    Lagged,
    /// The log was lost. The cursor is the place where the reader continues in the log of the new epoch.
    Lost(Cursor),
    End(EndReason),
}

/// Why one of several channels yields no events.
pub(crate) enum Instead {
    /// The reader ends without reading the remaining events.
    End(EndReason),
    /// The log is not the one that the cursor belongs to.
    Another,
    /// Events after the cursor are gone.
    Lagged,
}

/// The place of a reader in one channel.
pub(crate) struct Position {
    pub(crate) channel: Arc<Shared>,
    pub(crate) reader: ReaderId,
    /// The lane of the reader's client, or the broadcast lane if the reader has no client. This takes less room than
    /// an `Option`.
    lane: LaneId,
    /// Everything missing up to this offset has been reported to the reader, or was already missing when the reader
    /// arrived. It is above the cursor only while other channels hold earlier events.
    pub(super) told: Offset,
    /// The reader gets nothing up to this offset, even if its cursor is lower: the events there were no longer history
    /// when the reader arrived, or they exclude it.
    from: Offset,
    /// The number of the next ephemeral event that the reader may get.
    ephemeral: u32,
    /// The channel's version at the last look, if that look found nothing and parked the reader, or, with several
    /// channels, if it found an event. 0 if the reader has to look.
    seen_at: u64,
    /// Whether the channel was finished at the last look.
    finished: bool,
    /// Whether something was known to be missing at the end of the log at the last look, as a reader of several channels.
    behind: bool,
    /// How many times events had arrived late in the channel, as of the last look.
    pub(super) late: u16,
}

/// What was taken from one of several channels.
pub(crate) struct Taken {
    pub(crate) batch: Option<Batch>,
    /// The head of what comes next. If there is none, the reader is parked.
    pub(crate) next: Option<Head>,
    /// The offset beyond which there may be events that are not here yet, if that is known.
    pub(crate) limit: Option<Offset>,
}

impl Position {
    /// Polls for what comes next after `cursor`, for a reader of this channel alone. Takes the lock once, and parks
    /// the reader under it if there is nothing. A reader that takes the last event also parks under that lock: a
    /// server polls once more after each delivery, and that poll then takes no lock.
    #[inline]
    pub(crate) fn poll(&mut self, cursor: Cursor, cx: &mut Context<'_>, limit: Limit) -> Poll<Found> {
        if self.is_unchanged() {
            return Poll::Pending;
        }
        let mut state = self.channel.look();
        let (ending, mut ephemeral) = (state.readers.ending(self.reader), self.ephemeral);
        let found = self.find(&mut state, cursor, limit, ending, &mut ephemeral);
        let level = match &found {
            None => true,
            Some(Found::Batch(batch)) => {
                !self.has_more(&state, batch.last(), ephemeral) && ended(&state, ending).is_none()
            }
            Some(Found::Lagged | Found::Lost(_) | Found::End(_)) => false,
        };
        self.ephemeral = ephemeral;
        let mut replaced = None;
        if found.is_none() {
            self.from = from_now_on(&state, self.lane()).max(self.from);
        }
        if let Some(Found::Batch(batch)) = &found {
            state.readers.took(self.reader, batch.count());
        }
        if level {
            replaced = self.park(&mut state, cx);
            // Read under the lock, so that it is the version of the state seen here.
            self.seen_at = self.channel.version();
        } else if let Some(Found::Batch(batch)) = &found {
            state.readers.saw(self.reader, batch.last());
        }
        drop(state);
        drop(replaced);
        found.map_or(Poll::Pending, Poll::Ready)
    }

    /// Finds what comes next. `ending` is the reason why the reader has to end, if there is one.
    #[inline]
    fn find(
        &self,
        state: &mut State,
        Cursor { epoch, offset: cursor }: Cursor,
        limit: Limit,
        ending: Option<EndReason>,
        ephemeral: &mut u32,
    ) -> Option<Found> {
        if let Some(reason) = ending.filter(is_at_once) {
            return Some(Found::End(reason));
        }
        if state.is_of_another(epoch) {
            // Nothing can be reported until the log is loaded.
            let place = state.place_of(Cursor { epoch, offset: cursor });
            return place.map(Found::Lost).or(ending.map(Found::End));
        }
        if self.has_lagged(state, cursor) {
            return Some(Found::Lagged);
        }
        let batch = self.read(state, cursor, Offset::new(u64::MAX), limit, ephemeral).map(Found::Batch);
        batch.or_else(|| ended(state, ending).map(Found::End))
    }

    /// Reads the next events after `cursor` and before `end`.
    #[inline]
    fn read(&self, state: &mut State, cursor: Offset, end: Offset, limit: Limit, ephemeral: &mut u32) -> Option<Batch> {
        let after = cursor.max(self.from);
        if state.log.is_plain_from(*ephemeral) {
            return state.log.read_all_before(self.lane(), after, end, limit);
        }
        if let Some(bytes) = state.log.only_ephemeral(self.lane(), after, end, *ephemeral) {
            *ephemeral = ephemeral.wrapping_add(1);
            return Some(Batch::One(Sealed::new(cursor, bytes.clone())));
        }
        self.read_mixed(state, cursor, end, limit, ephemeral)
    }

    /// Reads log events and ephemeral events, some of which may exclude the reader.
    fn read_mixed(
        &self,
        state: &mut State,
        cursor: Offset,
        end: Offset,
        limit: Limit,
        ephemeral: &mut u32,
    ) -> Option<Batch> {
        let after = cursor.max(self.from);
        let dropped = state.log.dropped(*ephemeral);
        if dropped > 0 {
            *ephemeral = ephemeral.wrapping_add(dropped);
            self.channel.count_dropped(dropped.into());
        }
        let State { log, readers, .. } = state;
        let batch = log.read_next(self.view(log, readers), after, end, limit, ephemeral);
        batch.map(|batch| batch.leaving_at(cursor, after))
    }

    /// Returns whether there is anything to read after `cursor`, or from the ephemeral event with this number on.
    #[inline]
    fn has_more(&self, state: &State, cursor: Offset, ephemeral: u32) -> bool {
        if state.log.is_plain_from(ephemeral) {
            return state.log.first_of_all_after(self.lane(), cursor.max(self.from)).is_some();
        }
        self.head(state, cursor, ephemeral).is_some()
    }

    /// Returns the head of what comes next after `cursor`, and from the ephemeral event with this number on.
    fn head(&self, state: &State, cursor: Offset, ephemeral: u32) -> Option<Head> {
        state.log.head(self.view_of(state), cursor.max(self.from), ephemeral)
    }

    /// Returns `true` if the channel has not changed since the last look. A reader of one channel is then still parked.
    /// No lock is needed, because a change that comes later finds the reader's waker.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.seen_at == self.channel.version()
    }

    /// Returns whether the channel was finished at the last look.
    pub(crate) fn was_finished(&self) -> bool {
        self.finished
    }

    /// Returns `true` if the last look found nothing and did not park the reader, or if the reader was told to [look
    /// again](Self::look_again).
    pub(crate) fn has_to_look(&self) -> bool {
        self.seen_at == 0
    }

    /// Makes the reader look at the channel next time, whatever its version.
    pub(crate) fn look_again(&mut self) {
        self.seen_at = 0;
    }

    /// Returns what the reader has passed beside its cursor: ephemeral events, and events that exclude it.
    pub(crate) fn passed(&self) -> (u32, Offset) {
        (self.ephemeral, self.from)
    }

    /// Moves back to what the reader had [passed](Self::passed) before it took this many events, which are not delivered.
    pub(crate) fn go_back_to(&mut self, (ephemeral, from): (u32, Offset), events: usize) {
        (self.ephemeral, self.from) = (ephemeral, from);
        if Readers::COUNTS_EVENTS && events > 0 {
            self.channel.look().readers.gave_back(self.reader, events);
        }
    }

    /// Returns whether something was known to be missing at the end of the log at the last look.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Looks for what comes after `cursor` in one of several channels, and takes nothing. Parks the reader if there is
    /// nothing.
    pub(crate) fn look(&mut self, cursor: Cursor, cx: &Context<'_>) -> Result<Taken, Instead> {
        self.take(cursor, Offset::START, cx, Limit::ONE)
    }

    /// Takes the events after `cursor` and before `end` from one of several channels, within `limit`. If there is nothing
    /// after them, parks the reader under the same lock.
    pub(crate) fn take(
        &mut self,
        cursor: Cursor,
        end: Offset,
        cx: &Context<'_>,
        limit: Limit,
    ) -> Result<Taken, Instead> {
        let mut state = self.channel.look();
        self.finished = state.log.is_finished();
        if let Some(instead) = self.instead(&state, cursor) {
            drop(state);
            self.look_again();
            return Err(instead);
        }
        self.late = state.times_late();
        let behind = state.limit();
        self.behind = behind.is_some();
        let (mut batch, mut ephemeral) = (None, self.ephemeral);
        let mut first = self.head(&state, cursor.offset, ephemeral);
        if first.is_some_and(|first| first.offset < end) {
            batch = self.read(&mut state, cursor.offset, end, limit, &mut ephemeral);
            let last = batch.as_ref().map_or(cursor.offset, Batch::last);
            first = self.head(&state, last, ephemeral);
        }
        self.ephemeral = ephemeral;
        let (mut seen, mut replaced) = (first.is_some(), None);
        if first.is_none() {
            self.from = from_now_on(&state, self.lane()).max(self.from);
        }
        if first.is_none() && state.readers.ending(self.reader).is_none() {
            replaced = self.park(&mut state, cx);
            seen = true;
        }
        // Read under the lock, so that it is the version of the state seen here.
        self.seen_at = if seen { self.channel.version() } else { 0 };
        if let (Some(batch), Some(_)) = (&batch, first) {
            state.readers.saw(self.reader, batch.last());
        }
        state.readers.took(self.reader, batch.as_ref().map_or(0, Batch::count));
        drop(state);
        drop(replaced);
        Ok(Taken { batch, next: first, limit: behind })
    }

    /// Returns what has to be handled before any event, if anything does.
    fn instead(&self, state: &State, cursor: Cursor) -> Option<Instead> {
        if let Some(reason) = self.ended_at_once(state) {
            return Some(Instead::End(reason));
        }
        if state.is_of_another(cursor.epoch) {
            return Some(Instead::Another);
        }
        let late = state.has_passed_late(self.view_of(state), self.late, self.told, cursor.offset);
        (late || self.has_lagged(state, cursor.offset)).then_some(Instead::Lagged)
    }

    /// Returns the offsets of the newest `n` events. Reads one slice per lock.
    pub(super) fn newest(&self, n: usize) -> Vec<Offset> {
        let mut newest: Vec<Offset> = Vec::new();
        loop {
            let end = newest.last().copied().unwrap_or(Offset::new(u64::MAX));
            let most = (n - newest.len()).min(log::SLICE);
            let state = self.channel.look();
            let more = state.log.newest_offsets_before(self.view_of(&state), end, most);
            drop(state);
            let is_all = more.len() < most;
            newest.extend(more);
            if is_all || newest.len() == n {
                return newest;
            }
        }
    }

    #[inline]
    fn lane(&self) -> Option<LaneId> {
        Some(self.lane).filter(|lane| *lane != BROADCAST)
    }

    /// Returns the client that the place belongs to.
    pub(super) fn client<'a>(&self, state: &'a State) -> Option<&'a ClientId> {
        state.log.client_of(self.lane()?)
    }

    /// Returns the reader's view of the log. The id of its connection matters only if the log holds something that may
    /// exclude that connection.
    fn view<'a>(&self, log: &Log, readers: &'a Readers) -> View<'a> {
        let connection = if log.asks_for_connection() { readers.connection(self.reader) } else { None };
        View::of(self.lane()).under(connection)
    }

    pub(super) fn view_of<'a>(&self, state: &'a State) -> View<'a> {
        self.view(&state.log, &state.readers)
    }

    pub(super) fn missed(&self, state: &State) -> Offset {
        state.log.missed(self.view_of(state))
    }

    /// Returns `true` if an event after `cursor` was evicted before the reader got it and the reader has not been
    /// told.
    #[inline]
    pub(super) fn has_lagged(&self, state: &State, cursor: Offset) -> bool {
        let known = cursor.max(self.told).max(self.from);
        state.log.missed_by_anyone(self.lane()) > known && self.missed(state) > known
    }

    pub(super) fn first_after(&self, state: &State, cursor: Offset) -> Option<Offset> {
        state.log.first_after(self.view_of(state), cursor.max(self.from))
    }

    /// Returns how many events are held after `cursor`. It may count some that exclude the reader.
    pub(super) fn count_after(&self, state: &State, cursor: Offset) -> usize {
        state.log.count_after(self.lane(), cursor.max(self.from))
    }

    /// Returns why the reader has to end without reading the remaining events, if it has to.
    pub(crate) fn ended_at_once(&self, state: &State) -> Option<EndReason> {
        state.readers.ending(self.reader).filter(is_at_once)
    }

    /// Parks the reader, even if there is something to read.
    pub(crate) fn park_anyway(&self, cx: &Context<'_>) {
        let mut state = self.channel.look();
        let replaced = self.park(&mut state, cx);
        drop(state);
        drop(replaced);
    }

    /// Parks the reader. Called under the lock under which it found nothing to read. Returns a waker to drop after the
    /// lock is released.
    pub(super) fn park(&self, state: &mut State, cx: &Context<'_>) -> Option<Waker> {
        let seen = if Seen::IS_KEPT { state.log.last(None) } else { Offset::default() };
        state.readers.park(self.reader, cx.waker(), seen)
    }
}

/// Returns whether an end takes effect without waiting until the remaining events are read.
fn is_at_once(reason: &EndReason) -> bool {
    !matches!(reason, EndReason::Shutdown | EndReason::Finished)
}

/// Returns why a reader ends that has read everything, if it does. `ending` is the reason set for the reader. A
/// finished channel is complete, even while the hub shuts down.
fn ended(state: &State, ending: Option<EndReason>) -> Option<EndReason> {
    match ending {
        None | Some(EndReason::Shutdown) if state.log.is_finished() => Some(EndReason::Finished),
        ending => ending,
    }
}

/// Returns the offset from which a reader that has read everything continues, so that it does not look again at the
/// events that exclude it.
fn from_now_on(state: &State, lane: Option<LaneId>) -> Offset {
    if state.log.has_exceptions() { state.log.last(lane) } else { Offset::START }
}

#[cfg(all(test, loom))]
#[path = "position/loom_tests.rs"]
mod loom_tests;
