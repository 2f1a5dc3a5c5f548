//! What a channel's publishers and readers share: its log and its readers, under one lock.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    coverage::Coverage,
    ledger::{Ledger, Rank, Turn},
    readers::Readers,
    slices::in_slices,
    vigil::{Tidings, Vigil},
};
use crate::{
    backend::{Connected, Progress},
    footprint::Footprint,
    log::{Log, Remains, Tombstone, View},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock},
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::{ChannelName, ClientId},
    },
};

/// A channel, as its publishers and its readers share it.
pub(crate) struct Shared {
    pub(crate) name: ChannelName,
    state: Mutex<State>,
    /// Grows with each change, under the lock and before anything else: who finds it as it was has nothing new to see.
    version: AtomicU64,
    ledger: Arc<Ledger>,
}

pub(crate) struct State {
    pub(crate) log: Log,
    pub(crate) readers: Readers,
    /// It is no longer in the registry: who finds it like this looks there again.
    pub(crate) dropped: bool,
    /// Nothing was published to it for a while, as far as is known.
    pub(crate) is_quiet: bool,
    /// How much of the log is here, where it lives elsewhere.
    pub(crate) coverage: Option<Box<Coverage>>,
    /// If somebody waits for it to be unread.
    pub(super) vigil: Option<Box<Vigil>>,
    /// What the hub knows of the memory that it takes.
    counted: Footprint,
    /// Its turn among the channels that hold events.
    turn: Option<Turn>,
}

/// A channel's state under its lock. When that is released after a change, the hub knows what the channel takes.
pub(crate) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    shared: &'a Shared,
    changed: bool,
    /// Told to those who wait for it to be unread, once it is no longer locked: fields are dropped in their order.
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
            let State { vigil, readers, dropped, .. } = &mut *self.state;
            self.tidings = vigil.as_mut().and_then(|vigil| vigil.see(readers.live(), *dropped));
        }
    }
}

impl Shared {
    pub(crate) fn new(name: ChannelName, log: Log, coverage: Option<Coverage>, ledger: Arc<Ledger>) -> Self {
        let (readers, counted, coverage) = (Readers::default(), Footprint::default(), coverage.map(Box::new));
        let (dropped, is_quiet, vigil, turn) = (false, false, None, None);
        let state = State { log, readers, dropped, is_quiet, coverage, vigil, counted, turn };
        Self { name, state: Mutex::new(state), version: AtomicU64::new(1), ledger }
    }

    /// Says what has changed of the memory that it takes, and of its oldest event.
    fn settle(&self, state: &mut State) {
        self.find_turn(state);
        let (before, mut now) = (state.counted, self.footprint(state));
        if now == before {
            return;
        }
        let tally = &self.ledger.tally;
        if now.marks > before.marks && tally.has_too_many_marks() && now.marks > tally.share_of_marks() {
            // Of its own: those of others are no concern of what is remembered here. Two for each that came.
            state.log.forget_marks(2);
            now = self.footprint(state);
        }
        tally.change(before, now);
        state.counted = now;
    }

    /// Takes its turn among the channels that hold events.
    fn find_turn(&self, state: &mut State) {
        let has_rank = state.turn.is_some_and(|turn| turn.rank == state.rank());
        // In process events only get newer, and its turn may be that of an older one.
        if has_rank && !state.log.is_empty() && !state.dropped && state.coverage.is_none() {
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

    /// If too much is remembered of clients in the hub, and more than its share here: forgets some of it, at most so many marks.
    /// Says whether it did.
    pub(crate) fn forget_marks(&self, state: &mut Locked<'_>, most: usize) -> bool {
        let tally = &self.ledger.tally;
        let too_many = tally.has_too_many_marks() && state.log.footprint_of_marks() > tally.share_of_marks();
        if too_many {
            state.log.forget_marks(most);
        }
        too_many
    }

    /// Takes its turn anew, by the oldest event that it has now.
    pub(crate) fn renew_turn(&self, state: &mut Locked<'_>) {
        let oldest = state.log.oldest();
        self.move_to(state, oldest);
    }

    fn footprint(&self, state: &State) -> Footprint {
        // With the counts of those who share it.
        let mut own = size_of::<Self>() + 2 * size_of::<usize>() + self.name.heap();
        own += state.vigil.as_ref().map_or(0, |_| Vigil::FOOTPRINT);
        own += state.turn.map_or(0, |_| Ledger::TURN);
        let mut early = 0;
        if let Some(coverage) = &state.coverage {
            (own, early) = (own + size_of::<Coverage>(), coverage.footprint_of_early());
        }
        let (readers, log) = (state.readers.footprint(), state.log.footprint());
        let pinned = if state.readers.len() == 0 { 0 } else { own + readers + log.pinned };
        Footprint { all: own + readers + log.all + early, pinned, ..log }
    }

    /// Locks it for a change that its readers may have to know of: events come or go, a reader is to end.
    pub(crate) fn change(&self) -> Locked<'_> {
        let state = lock(&self.state);
        self.version.fetch_add(1, Ordering::AcqRel);
        Locked { state, shared: self, changed: true, tidings: None }
    }

    /// Locks it for a look, and for what is a reader's own, such as that it parks. What memory that takes the hub knows with the
    /// next change: most looks change nothing.
    pub(crate) fn look(&self) -> Locked<'_> {
        #[cfg(test)]
        work::LOOKS.with(|looks| looks.set(looks.get() + 1));
        Locked { state: lock(&self.state), shared: self, changed: false, tidings: None }
    }

    /// Locks it for a reader that leaves, of which the others need not know.
    pub(crate) fn leave(&self) -> Locked<'_> {
        let mut state = self.look();
        state.changed = true;
        state
    }

    /// A read of its log from elsewhere begins.
    pub(crate) fn is_loading(&self, progress: Progress) {
        if let Some(coverage) = &mut self.look().coverage {
            (coverage.progress, coverage.early) = (Some(progress), Some(Box::default()));
        }
    }

    /// So many ephemeral events were dropped for a reader that was behind.
    pub(crate) fn count_dropped(&self, events: u64) {
        self.ledger.dropped.add(events);
    }

    /// After all of its readers were ended for good: gives back their seats, in slices.
    pub(crate) fn give_seats_back(self: &Arc<Self>) {
        let (shared, mut from) = (self.clone(), Some(0));
        in_slices(move || {
            from = from.and_then(|number| shared.look().readers.end_seats(number));
            from.is_some()
        });
    }

    /// The clients that are connected, and how often; and how many connections are no client's. It is looked up in slices: a
    /// client that comes or goes meanwhile may be counted or not.
    pub(crate) fn clients(&self) -> (HashMap<ClientId, usize>, usize) {
        let mut present = Present::default();
        while self.look_for_more(&mut present) {}
        (present.clients, present.nameless)
    }

    /// Who is connected: each client, and `None` for those without one, and how often.
    pub(crate) fn present(&self) -> Connected {
        let mut present = Present::default();
        while self.look_for_more(&mut present) {}
        present.into_connected()
    }

    /// Looks up another slice of who is connected. Returns whether there is more.
    pub(crate) fn look_for_more(&self, present: &mut Present) -> bool {
        let state = self.look();
        let (from, slice) = state.readers.clients_before(present.end.unwrap_or(usize::MAX));
        present.clients.extend(slice.filter_map(|(lane, live)| Some((state.log.client_of(lane)?.clone(), live))));
        (present.end, present.nameless) = (Some(from), state.readers.nameless());
        from > 0
    }

    /// Never 0.
    pub(crate) fn version(&self) -> u64 {
        #[cfg(test)]
        work::VERSIONS.with(|versions| versions.set(versions.get() + 1));
        self.version.load(Ordering::Acquire)
    }
}

/// Who is connected to a channel, as far as that was looked up.
#[derive(Default)]
pub(crate) struct Present {
    clients: HashMap<ClientId, usize>,
    nameless: usize,
    /// The end of the next slice of clients. `None` if none was looked up yet.
    end: Option<usize>,
}

impl Present {
    /// Each client, and `None` for connections without one, and how often.
    pub(crate) fn into_connected(self) -> Connected {
        let named = self.clients.into_iter().map(|(client, connections)| (Some(client), connections));
        named.chain((self.nameless > 0).then_some((None, self.nameless))).collect()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let counted = lock(&self.state).counted;
        self.ledger.tally.change(counted, Footprint::default());
    }
}

impl State {
    /// Whether it is in progress, which matters to a hub that is full.
    fn rank(&self) -> Rank {
        match self.log.is_finished() {
            true => Rank::Finished,
            false if self.is_quiet && self.readers.len() == 0 => Rank::Idle,
            false => Rank::InProgress,
        }
    }

    /// What the hub knows of the memory that it takes, and what it has come to since.
    pub(crate) fn released(&self, shared: &Shared) -> usize {
        self.counted.all.saturating_sub(shared.footprint(self).all)
    }

    /// Nobody reads it or waits for that, and nothing is held but elsewhere: there is nothing to keep it for but its tombstone.
    pub(crate) fn is_idle(&self) -> bool {
        self.readers.len() == 0 && self.vigil.is_none() && (self.coverage.is_some() || self.log.is_empty())
    }

    /// Whoever brings its events keeps it up, and drops it in its own time.
    pub(crate) fn is_wanted(&self) -> bool {
        self.coverage.as_ref().is_some_and(|coverage| coverage.wanted)
    }

    /// The log is here, or is loaded and of this epoch.
    pub(crate) fn is_of(&self, epoch: Epoch) -> bool {
        self.coverage.as_ref().is_none_or(|coverage| coverage.loaded && coverage.epoch == epoch)
    }

    /// The log is of another epoch than a reader's cursor.
    pub(crate) fn is_of_another(&self, epoch: Epoch) -> bool {
        self.coverage.as_ref().is_some_and(|coverage| coverage.epoch != epoch)
    }

    /// Where a reader with a cursor of another epoch goes on, once the log is loaded: after what it has, if the offsets go on from
    /// that epoch, and otherwise at the start.
    pub(crate) fn place_of(&self, cursor: Cursor) -> Option<Cursor> {
        let coverage = self.coverage.as_ref().filter(|coverage| coverage.loaded)?;
        let offset = coverage.translate(cursor).unwrap_or(Offset::START);
        Some(Cursor { epoch: coverage.epoch, offset })
    }

    /// The epoch of a log that is loaded from elsewhere; `None` as long as it is not.
    pub(crate) fn loaded(&self) -> Option<Epoch> {
        self.coverage.as_ref().filter(|coverage| coverage.loaded).map(|coverage| coverage.epoch)
    }

    /// When something came last of a log that is not loaded yet.
    pub(crate) fn last_progress(&self) -> Option<Instant> {
        let coverage = self.coverage.as_ref().filter(|coverage| !coverage.loaded)?;
        coverage.progress.as_ref().map(Progress::last)
    }

    /// Everything up to here is in the log, or was, whatever got lost on the way here.
    pub(crate) fn whole_up_to(&self) -> Offset {
        self.coverage.as_ref().map_or(Offset::START, |coverage| coverage.whole_up_to())
    }

    /// It takes no more events, though the last may be on its way here.
    pub(crate) fn is_finishing(&self) -> bool {
        self.log.is_finished() || self.coverage.as_ref().is_some_and(|coverage| coverage.is_finishing())
    }

    /// How often events came late.
    pub(crate) fn times_late(&self) -> u16 {
        self.coverage.as_ref().map_or(0, |coverage| coverage.times_late())
    }

    /// Whether a reader has passed what came late: see [`Coverage::has_passed_late`].
    pub(crate) fn has_passed_late(&self, view: View<'_>, seen: u16, told: Offset, cursor: Offset) -> bool {
        let coverage = self.coverage.as_ref();
        coverage.is_some_and(|coverage| coverage.has_passed_late(&self.log, view, seen, told, cursor))
    }

    /// Marks it as dropped and says what is to be remembered of it.
    pub(crate) fn bury(&mut self) -> (Tombstone, Option<Box<Remains>>) {
        self.dropped = true;
        self.log.bury()
    }
}

/// How much the readers of this thread have done so far: what reading costs is tested by this, and not by time.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    std::thread_local! {
        /// Locks that were taken for a look.
        pub(crate) static LOOKS: Cell<usize> = const { Cell::new(0) };
        /// Versions that were read.
        pub(crate) static VERSIONS: Cell<usize> = const { Cell::new(0) };
    }
}
