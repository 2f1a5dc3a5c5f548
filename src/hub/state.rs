//! What a channel's publishers and readers share: its log and its readers, under one lock.

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
    /// `None` if its log lives here and nobody waits for it to be unread, as for most channels in process.
    beside: Option<Box<Beside>>,
    /// What the hub knows of the memory that it takes, and which parts of that.
    counted: usize,
    counted_parts: Parts,
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

    /// Says what has changed of the memory that it takes, and of its oldest event.
    fn settle(&self, state: &mut State) {
        self.find_turn(state);
        let (before, mut now) = (state.counted(), self.footprint(state));
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
        (state.counted, state.counted_parts) = (now.all, Parts::of(now));
    }

    /// Takes its turn among the channels that hold events.
    fn find_turn(&self, state: &mut State) {
        let has_rank = state.turn.is_some_and(|turn| turn.rank == state.rank());
        // In process events only get newer, and its turn may be that of an older one.
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
        if let Some(coverage) = self.look().coverage_mut() {
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
        let counted = lock(&self.state).counted();
        self.ledger.tally.change(counted, Footprint::default());
    }
}

impl State {
    fn counted(&self) -> Footprint {
        self.counted_parts.in_all(self.counted)
    }

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
        self.counted.saturating_sub(shared.footprint(self).all)
    }

    /// Nobody reads it or waits for that, and nothing is held but elsewhere: there is nothing to keep it for but its tombstone.
    pub(crate) fn is_idle(&self) -> bool {
        self.readers.len() == 0 && self.vigil().is_none() && (self.coverage().is_some() || self.log.is_empty())
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
