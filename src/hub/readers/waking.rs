//! Parks the readers of a channel, and wakes all of them, or those of one client.
//!
//! The readers of a client that has many are a *crowd*: they park in a set of their own, so that an event for the client
//! takes all of them out at once, however many they are. All other readers park in one set, and an event for a client
//! looks for the client's few readers there.

use std::task::Waker;

use super::{Clients, ReaderId, Readers};
use crate::{
    footprint::ByNumber,
    hub::wait::{Waiters, Wakeups},
    log::LaneId,
    wire::cursor::Offset,
};

/// The readers of a client with more live readers than this are a crowd.
pub(super) const CROWD: u32 = 64;

/// The sets of crowds have generations from here on, so that a ticket says what kind of set it belongs to.
const OF_CROWDS: u64 = 1 << 63;

/// The sets of crowds that have parked. If a client has a set, all parked readers of the client are in it.
#[derive(Default)]
pub(super) struct Crowds {
    by_lane: ByNumber<LaneId, Waiters>,
    /// The number of sets that there ever were, so that each has a generation of its own.
    made: u64,
    /// The bytes that the sets own.
    footprint: usize,
}

impl Crowds {
    /// Returns how many bytes the sets take from the allocator.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.by_lane.footprint() + self.footprint
    }

    fn has(&self, lane: LaneId) -> bool {
        self.by_lane.get(&lane).is_some()
    }

    fn make(&mut self, lane: LaneId) {
        self.made += 1;
        self.by_lane.insert(lane, Waiters::of(OF_CROWDS + self.made));
    }

    /// Changes the set of a client, if it has one.
    fn change<T>(&mut self, lane: LaneId, work: impl FnOnce(&mut Waiters) -> T) -> Option<T> {
        let crowd = self.by_lane.get_mut(&lane)?;
        let before = crowd.footprint();
        let done = work(crowd);
        self.footprint = self.footprint - before + crowd.footprint();
        Some(done)
    }

    /// Removes the set of a client, if it has one.
    pub(super) fn remove(&mut self, lane: LaneId) -> Option<Waiters> {
        let crowd = self.by_lane.remove(&lane)?;
        self.footprint -= crowd.footprint();
        Some(crowd)
    }

    fn remove_all(&mut self) -> ByNumber<LaneId, Waiters> {
        self.footprint = 0;
        std::mem::take(&mut self.by_lane)
    }
}

impl Clients {
    /// Returns the sets of crowds, if the reader of the client with this lane parks in one of them.
    fn crowds_for(&mut self, lane: LaneId) -> Option<&mut Crowds> {
        if self.by_lane.get(&lane).is_some_and(|client| client.live > CROWD) {
            let crowds = self.crowds.get_or_insert_default();
            if !crowds.has(lane) {
                crowds.make(lane);
            }
            return Some(crowds);
        }
        self.crowds.as_deref_mut().filter(|crowds| crowds.has(lane))
    }
}

impl Readers {
    /// Parks a reader, which has seen everything up to an offset. Returns a waker to drop after the lock is released.
    #[inline]
    pub(crate) fn park(&mut self, id: ReaderId, waker: &Waker, seen: Offset) -> Option<Waker> {
        let reader = self.all.get_mut(id.key())?;
        reader.seen.set(seen);
        if let Some(clients) = &mut self.clients
            && (clients.many > 0 || clients.crowds.is_some())
            && reader.generation == self.generation
            && let Some(lane) = reader.lane
            && let Some(crowds) = clients.crowds_for(lane)
        {
            return crowds.change(lane, |crowd| crowd.park(&mut reader.ticket, waker))?;
        }
        self.waiters.park(&mut reader.ticket, waker)
    }

    /// Takes out the waker of a reader, if the reader is parked.
    pub(super) fn unpark(&mut self, id: ReaderId) -> Option<Waker> {
        let reader = self.all.get_mut(id.key())?;
        if reader.ticket.generation() < OF_CROWDS {
            return self.waiters.take(&mut reader.ticket);
        }
        // The crowds of readers that were ended together with all others have been woken.
        let lane = reader.lane.filter(|_| reader.generation == self.generation)?;
        let crowds = self.clients.as_mut()?.crowds.as_mut()?;
        crowds.change(lane, |crowd| crowd.take(&mut reader.ticket))?
    }

    /// Moves the parked readers of a client into a set of their own, as the client now has just enough of them to be a
    /// crowd.
    pub(super) fn gather(&mut self, lane: LaneId) {
        let Some(clients) = &mut self.clients else { return };
        let mut next = clients.by_lane.get(&lane).and_then(|client| client.first);
        let Some(crowds) = clients.crowds_for(lane) else { return };
        while let Some(reader) = next.and_then(|id| self.all.get_mut(id.key())) {
            next = reader.next;
            let parked =
                if reader.ticket.generation() < OF_CROWDS { self.waiters.take(&mut reader.ticket) } else { None };
            if let Some(waker) = parked {
                crowds.change(lane, |crowd| crowd.put(&mut reader.ticket, waker));
            }
        }
    }

    pub(crate) fn wake_all(&mut self) -> Wakeups {
        let mut wakeups = Wakeups::of_all(self.waiters.take_all());
        if let Some(crowds) = self.clients.as_mut().and_then(|clients| clients.crowds.as_mut()) {
            wakeups.add_crowds(crowds.remove_all());
        }
        wakeups
    }

    /// Takes out the parked readers of a client. Looks at no more than a few readers.
    pub(crate) fn wake_lane(&mut self, lane: LaneId) -> Wakeups {
        let mut wakeups = Wakeups::default();
        let Some(clients) = &mut self.clients else { return wakeups };
        if let Some(mut crowd) = clients.crowds.as_mut().and_then(|crowds| crowds.remove(lane)) {
            return Wakeups::of_all(crowd.take_all());
        }
        // A crowd without a set has not parked since it was woken.
        let few = clients.by_lane.get(&lane).filter(|client| client.live <= CROWD);
        let mut next = few.and_then(|client| client.first);
        while let Some(reader) = next.and_then(|id| self.all.get_mut(id.key())) {
            #[cfg(all(test, not(loom)))]
            tests::LOOKED_AT.with(|looked_at| looked_at.set(looked_at.get() + 1));
            wakeups.add(self.waiters.take(&mut reader.ticket));
            next = reader.next;
        }
        wakeups
    }

    /// Looks at a slice of the live readers of a client, starting at `from`, and calls those whose access can be decided
    /// anew, so that they have it decided. Returns how many it has called. Sets `from` to the place to continue at, if
    /// there are more.
    pub(crate) fn call(&mut self, lane: LaneId, from: &mut Option<ReaderId>) -> (usize, Wakeups) {
        let (mut called, mut wakeups) = (0, Wakeups::default());
        for id in self.slice_of(lane, from) {
            if self.all.get(id.key()).is_some_and(|reader| reader.seat.call()) {
                called += 1;
                wakeups.add(self.unpark(id));
            }
        }
        (called, wakeups)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        cell::Cell,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;
    use crate::{
        hub::{readers::SLICE, seats::Seats},
        log::BROADCAST,
        wire::notice::EndReason,
    };

    /// A client's readers, each with a counter of its wake-ups.
    struct Reading {
        readers: Readers,
        seats: Arc<Seats>,
        all: Vec<(ReaderId, Arc<Count>)>,
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Reading {
        fn new() -> Self {
            Self { readers: Readers::default(), seats: Arc::new(Seats::new(10_000)), all: Vec::new() }
        }

        fn enter(&mut self, lane: Option<LaneId>) -> ReaderId {
            let id = self.readers.insert(lane, self.seats.take().unwrap());
            self.all.push((id, Arc::default()));
            id
        }

        fn enter_many(&mut self, count: u32) {
            (0..count).for_each(|_| _ = self.enter(Some(BROADCAST)));
        }

        fn park(&mut self, place: usize) {
            let (id, count) = &self.all[place];
            drop(self.readers.park(*id, &count.clone().into(), Offset::START));
        }

        fn park_all(&mut self) {
            (0..self.all.len()).for_each(|place| self.park(place));
        }

        fn leave(&mut self, place: usize) -> bool {
            let (id, _) = self.all.remove(place);
            self.readers.remove(id).is_some()
        }

        /// Returns how many readers were woken since the last call.
        fn woken(&self) -> usize {
            self.all.iter().map(|(_, count)| count.0.swap(0, Ordering::SeqCst)).sum()
        }

        /// Returns how many readers park together with those of other clients.
        fn among_others(&self) -> usize {
            let place = |(id, _): &&(ReaderId, _)| self.readers.all.get(id.key()).unwrap().ticket.generation();
            self.all
                .iter()
                .map(|reader| place(&reader))
                .filter(|generation| (1..OF_CROWDS).contains(generation))
                .count()
        }
    }

    std::thread_local! {
        /// How many readers were looked at to wake those of a client.
        pub(super) static LOOKED_AT: Cell<u32> = const { Cell::new(0) };
    }

    const FEW: u32 = CROWD;

    #[test]
    fn an_event_for_a_client_looks_at_few_readers_however_many_the_client_has() {
        let mut reading = Reading::new();
        reading.enter_many(FEW);
        reading.park_all();
        assert_eq!(reading.among_others(), FEW as usize);
        // One more makes a crowd, and those that have parked move.
        reading.enter_many(1_000);
        assert_eq!(reading.among_others(), 0);
        for _ in 0..2 {
            reading.park_all();
            assert_eq!(reading.among_others(), 0);
            drop(reading.readers.wake_lane(BROADCAST));
            assert_eq!(reading.woken(), reading.all.len());
            drop(reading.readers.wake_lane(BROADCAST));
            assert_eq!(reading.woken(), 0);
            assert_eq!(LOOKED_AT.get(), 0);
        }
        // Few are left, and they park among the others again once they were woken.
        reading.park_all();
        (0..1_000).for_each(|_| assert!(reading.leave(0)));
        assert_eq!(reading.among_others(), 0);
        drop(reading.readers.wake_lane(BROADCAST));
        assert_eq!(reading.woken(), FEW as usize);
        reading.park_all();
        assert_eq!(reading.among_others(), FEW as usize);
        drop(reading.readers.wake_lane(BROADCAST));
        assert_eq!((reading.woken(), LOOKED_AT.get()), (FEW as usize, FEW));
    }

    #[test]
    fn an_event_for_everybody_wakes_crowds_too() {
        let mut reading = Reading::new();
        reading.enter_many(1_000);
        (0..10).for_each(|_| _ = reading.enter(None));
        for _ in 0..2 {
            reading.park_all();
            assert_eq!(reading.among_others(), 10);
            drop(reading.readers.wake_all());
            assert_eq!(reading.woken(), 1_010);
        }
        reading.park_all();
        drop(reading.readers.end_all(EndReason::Closed).1);
        assert_eq!(reading.woken(), 1_010);
        // A place of before is not one in the set of a crowd that comes later.
        let before = reading.all.len();
        reading.enter_many(1_000);
        (before..before + 1_000).for_each(|place| reading.park(place));
        (0..before).for_each(|_| assert!(!reading.leave(0)));
        drop(reading.readers.wake_lane(BROADCAST));
        assert_eq!(reading.woken(), 1_000);
    }

    #[test]
    fn readers_of_a_crowd_are_called_and_ended_in_slices() {
        let mut reading = Reading::new();
        reading.enter_many(2 * SLICE as u32 + 1);
        reading.park_all();
        reading.readers.all.iter_mut().for_each(|reader| reader.seat.open_access());
        let (mut from, mut called) = (None, Vec::new());
        loop {
            let (count, wakeups) = reading.readers.call(BROADCAST, &mut from);
            drop(wakeups);
            called.push((count, reading.woken()));
            if from.is_none() {
                break;
            }
        }
        assert_eq!(called, [(SLICE, SLICE), (SLICE, SLICE), (1, 1)]);
        reading.park_all();
        drop(reading.readers.end_lane(BROADCAST, &mut from, EndReason::Disconnected, |_| true).1);
        assert_eq!(reading.woken(), SLICE);
        assert_eq!(reading.readers.of(BROADCAST), SLICE + 1);
        drop(reading.readers.wake_lane(BROADCAST));
        assert_eq!(reading.woken(), SLICE + 1);
    }

    #[test]
    fn the_memory_of_a_crowd_counts_and_goes_with_it() {
        let mut reading = Reading::new();
        reading.enter_many(1_000);
        let before = reading.readers.footprint();
        reading.park_all();
        let parked = reading.readers.footprint() - before;
        assert!((1_000 * size_of::<Waker>()..100_000).contains(&parked), "{parked} bytes");
        drop(reading.readers.wake_lane(BROADCAST));
        assert!(reading.readers.footprint() < before + 500);
        reading.park_all();
        while !reading.all.is_empty() {
            assert!(reading.leave(0));
        }
        assert!(reading.readers.footprint() <= Readers::default().footprint() + 100);
    }
}
