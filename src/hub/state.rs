//! The state that a channel's publishers and readers share: its log and its readers, under one lock.

mod beside;

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use self::beside::Beside;
use super::{
    coverage::Coverage,
    ledger::{Ledger, Rank, Turn},
    readers::Readers,
    slices::in_slices,
    vigil::Tidings,
};
use crate::{
    backend::{Connected, Progress},
    footprint::{Footprint, Parts},
    log::{Log, Remains, Tombstone},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock},
    wire::{
        cursor::Offset,
        name::{ChannelName, ClientId},
    },
};

/// A channel, shared by its publishers and its readers.
pub(crate) struct Shared {
    pub(crate) name: ChannelName,
    state: Mutex<State>,
    /// Grows with each change, under the lock and before anything else. A reader that finds it unchanged has nothing
    /// new to see.
    version: AtomicU64,
    ledger: Arc<Ledger>,
}

pub(crate) struct State {
    pub(crate) log: Log,
    pub(crate) readers: Readers,
    /// The channel is no longer in the registry. A caller that finds it in this state looks it up there again.
    pub(crate) dropped: bool,
    /// Nothing was published to the channel for a while, as far as is known.
    pub(crate) is_quiet: bool,
    /// `None` if the log lives here and nobody waits for the channel to be unread, as for most channels in process.
    beside: Option<Box<Beside>>,
    /// How much memory of this channel the hub has counted, and which parts it consists of.
    counted: usize,
    counted_parts: Parts,
    /// The channel's turn among the channels that hold events.
    turn: Option<Turn>,
}

/// A channel's state under its lock. When the lock is released after a change, the hub learns how much memory the
/// channel takes.
pub(crate) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    shared: &'a Shared,
    changed: bool,
    /// Tells those that wait for the channel to be unread. Dropped after the lock is released, since fields are
    /// dropped in order.
    tidings: Option<Tidings>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.changed {
            self.shared.settle(&mut self.state);
            self.tidings = self.state.see();
        }
    }
}

impl Shared {
    pub(crate) fn new(name: ChannelName, log: Log, coverage: Option<Coverage>, ledger: Arc<Ledger>) -> Self {
        let beside = coverage.map(Beside::of);
        let state = State {
            log,
            readers: Readers::default(),
            dropped: false,
            is_quiet: false,
            beside,
            counted: 0,
            counted_parts: Parts::default(),
            turn: None,
        };
        Self { name, state: Mutex::new(state), version: AtomicU64::new(1), ledger }
    }

    /// Identifies the channel as long as it exists.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Reports to the hub what has changed in the memory that the channel takes, and in its oldest event.
    fn settle(&self, state: &mut State) {
        self.find_turn(state);
        let (before, mut now) = (state.counted(), self.footprint(state));
        if now == before {
            return;
        }
        let tally = &self.ledger.tally;
        if now.marks > before.marks && tally.has_too_many_marks() && now.marks > tally.share_of_marks() {
            // A channel forgets only its own marks: those of others do not affect what is remembered here. It forgets
            // two for each new one.
            state.log.forget_marks(2);
            now = self.footprint(state);
        }
        tally.change(before, now);
        (state.counted, state.counted_parts) = (now.all, Parts::of(now));
    }

    /// Updates the channel's turn among the channels that hold events.
    fn find_turn(&self, state: &mut State) {
        let has_rank = state.turn.is_some_and(|turn| turn.rank == state.rank());
        // In process events only get newer, and the turn may be that of an older event.
        if has_rank && !state.log.is_empty() && !state.dropped && state.coverage().is_none() {
            return;
        }
        let oldest = state.log.oldest().filter(|_| !state.dropped);
        let may_stay = match (state.turn, oldest) {
            (None, None) => true,
            (Some(turn), Some(oldest)) => has_rank && turn.oldest <= oldest,
            _ => false,
        };
        if !may_stay {
            self.move_to(state, oldest);
        }
    }

    fn move_to(&self, state: &mut State, oldest: Option<Offset>) {
        state.turn.take().into_iter().for_each(|turn| self.ledger.leave(turn));
        let rank = state.rank();
        state.turn = oldest.map(|oldest| self.ledger.enter(rank, oldest, &self.name));
    }

    /// Forgets at most `most` marks, if the hub remembers too much of clients and this channel has more than its
    /// share. Returns whether it forgot any.
    pub(crate) fn forget_marks(&self, state: &mut Locked<'_>, most: usize) -> bool {
        let tally = &self.ledger.tally;
        let too_many = tally.has_too_many_marks() && state.log.footprint_of_marks() > tally.share_of_marks();
        if too_many {
            state.log.forget_marks(most);
        }
        too_many
    }

    /// Renews the channel's turn, by the oldest event that it has now.
    pub(crate) fn renew_turn(&self, state: &mut Locked<'_>) {
        let oldest = state.log.oldest();
        self.move_to(state, oldest);
    }

    fn footprint(&self, state: &State) -> Footprint {
        // Includes the reference counts.
        let mut own = size_of::<Self>() + 2 * size_of::<usize>() + self.name.heap();
        own += state.turn.map_or(0, |_| Ledger::TURN);
        let mut early = 0;
        if let Some(beside) = &state.beside {
            (own, early) = (own + beside.own_footprint(), beside.footprint_of_early());
        }
        let (readers, log) = (state.readers.footprint(), state.log.footprint());
        let pinned = if state.readers.len() == 0 { 0 } else { own + readers + log.pinned };
        let all = own + readers + log.all + early;
        Parts::of(Footprint { all, pinned, ..log }).in_all(all)
    }

    /// Locks the channel for a change that its readers may have to know about: events come or go, or a reader is to
    /// end.
    pub(crate) fn change(&self) -> Locked<'_> {
        let state = lock(&self.state);
        self.version.fetch_add(1, Ordering::AcqRel);
        Locked { state, shared: self, changed: true, tidings: None }
    }

    /// Locks the channel for a look, or for a change that concerns only one reader, such as parking. The hub counts
    /// the memory that such a change takes with the next change, because most looks change nothing.
    #[inline]
    pub(crate) fn look(&self) -> Locked<'_> {
        #[cfg(test)]
        work::LOOKS.with(|looks| looks.set(looks.get() + 1));
        Locked { state: lock(&self.state), shared: self, changed: false, tidings: None }
    }

    /// Locks the channel for a reader that leaves. The other readers need not know about this.
    pub(crate) fn leave(&self) -> Locked<'_> {
        let mut state = self.look();
        state.changed = true;
        state
    }

    /// Records that a read of the log from elsewhere begins.
    pub(crate) fn is_loading(&self, progress: Progress) {
        if let Some(coverage) = self.look().coverage_mut() {
            (coverage.progress, coverage.early) = (Some(progress), Some(Box::default()));
        }
    }

    /// Counts ephemeral events that were dropped for a reader that was behind.
    pub(crate) fn count_dropped(&self, events: u64) {
        self.ledger.dropped.add(events);
    }

    /// Gives back the seats of all readers, in slices. Called after all of them were ended for good.
    pub(crate) fn give_seats_back(self: &Arc<Self>) {
        let (shared, mut from) = (self.clone(), Some(0));
        in_slices(move || {
            from = from.and_then(|number| shared.look().readers.end_seats(number));
            from.is_some()
        });
    }

    /// Returns the connected clients with the number of connections of each, and the number of connections without a
    /// client. The lookup runs in slices: a client that comes or goes in the meantime may or may not be counted.
    pub(crate) fn clients(&self) -> (HashMap<ClientId, usize>, usize) {
        let mut present = Present::default();
        while self.look_for_more(&mut present) {}
        (present.clients, present.nameless)
    }

    /// Returns the number of connections of each client, with `None` for connections without a client.
    pub(crate) fn present(&self) -> Connected {
        let mut present = Present::default();
        while self.look_for_more(&mut present) {}
        present.into_connected()
    }

    /// Looks up the next slice of the connected clients. Returns whether there is more.
    pub(crate) fn look_for_more(&self, present: &mut Present) -> bool {
        let state = self.look();
        let (from, slice) = state.readers.clients_before(present.end.unwrap_or(u32::MAX));
        present.clients.extend(slice.filter_map(|(lane, live)| Some((state.log.client_of(lane)?.clone(), live))));
        (present.end, present.nameless) = (Some(from), state.readers.nameless());
        from > 0
    }

    /// Returns the version of the channel. It is never 0.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        #[cfg(test)]
        work::VERSIONS.with(|versions| versions.set(versions.get() + 1));
        self.version.load(Ordering::Acquire)
    }
}

/// The connections to a channel, as far as they were looked up.
#[derive(Default)]
pub(crate) struct Present {
    clients: HashMap<ClientId, usize>,
    nameless: usize,
    /// The end of the next slice of clients. `None` if none was looked up yet.
    end: Option<u32>,
}

impl Present {
    /// Returns the number of connections of each client, with `None` for connections without a client.
    pub(crate) fn into_connected(self) -> Connected {
        let named = self.clients.into_iter().map(|(client, connections)| (Some(client), connections));
        named.chain((self.nameless > 0).then_some((None, self.nameless))).collect()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let counted = lock(&self.state).counted();
        self.ledger.tally.change(counted, Footprint::default());
    }
}

impl State {
    fn counted(&self) -> Footprint {
        self.counted_parts.in_all(self.counted)
    }

    /// Returns the rank of the channel: whether it is in progress, which matters to a full hub.
    fn rank(&self) -> Rank {
        match self.log.is_finished() {
            true => Rank::Finished,
            false if self.is_quiet && self.readers.len() == 0 => Rank::Idle,
            false => Rank::InProgress,
        }
    }

    /// Returns how much less memory the channel takes now than the hub has counted.
    pub(crate) fn released(&self, shared: &Shared) -> usize {
        self.counted.saturating_sub(shared.footprint(self).all)
    }

    /// Returns whether the channel is idle: nobody reads it or waits for it to be unread, and it holds no events, or
    /// its log lives elsewhere. An idle channel is worth no more than its tombstone.
    pub(crate) fn is_idle(&self) -> bool {
        self.readers.len() == 0 && self.vigil().is_none() && (self.coverage().is_some() || self.log.is_empty())
    }

    /// Marks the channel as dropped. Returns what is to be remembered of it, and what remains to be freed.
    pub(crate) fn bury(&mut self) -> (Tombstone, Option<Box<Remains>>) {
        self.dropped = true;
        self.log.bury()
    }
}

/// The work that the readers of this thread have done so far. Tests measure the cost of reading by this, and not by
/// time.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    std::thread_local! {
        /// The number of locks that were taken for a look.
        pub(crate) static LOOKS: Cell<usize> = const { Cell::new(0) };
        /// The number of versions that were read.
        pub(crate) static VERSIONS: Cell<usize> = const { Cell::new(0) };
    }
}
