//! The readers of one channel: their clients, where they are parked, and what ends them.

mod connections;
mod id;
mod slowest;
#[cfg(not(feature = "inspect"))]
#[path = "readers/no_visit.rs"]
mod visit;
#[cfg(feature = "inspect")]
mod visit;
mod waking;

use std::{sync::Arc, task::Waker};

pub(crate) use self::id::ReaderId;
use self::{
    connections::Connections,
    visit::Visit,
    waking::{CROWD, Crowds},
};
use super::{
    seats::Seat,
    wait::{Ticket, Waiters, Wakeups},
};
use crate::{
    footprint::{ByNumber, Slab},
    log::LaneId,
    meter::Seen,
    wire::notice::EndReason,
};

#[derive(Default)]
pub(crate) struct Readers {
    all: Slab<Reader>,
    /// All reader numbers given out since the channel last had no reader are below this.
    numbers: u32,
    /// The number of readers that have not been ended.
    live: u32,
    /// `None` if no reader belongs to a client.
    clients: Option<Box<Clients>>,
    /// `None` if no reader has announced a connection id.
    connections: Option<Box<Connections>>,
    /// Grows each time all readers are ended. A reader of an earlier generation is ended.
    generation: u32,
    /// Whether a reader of several channels has come since the channel last had no reader.
    any_of_several: bool,
    /// How many slices were searched for readers that ended on another channel. The count wraps.
    looked: u16,
    /// Why all readers were ended, the last time.
    all_ended: Option<EndReason>,
    /// The parked readers, without those of crowds.
    waiters: Waiters,
}

/// The clients that have readers.
#[derive(Default)]
struct Clients {
    /// How many live readers the clients have.
    live: u32,
    by_lane: ByNumber<LaneId, Client>,
    /// The numbers of these lanes are below this.
    numbers: u32,
    /// How many of the clients are crowds.
    many: u32,
    /// `None` if no crowd has parked yet.
    crowds: Option<Box<Crowds>>,
}

struct Client {
    /// The newest live reader of the client. Each reader links to the next.
    first: Option<ReaderId>,
    live: u32,
    /// How many readers are ended but not gone yet.
    ended: u32,
}

struct Reader {
    lane: Option<LaneId>,
    /// The live readers of the same client before and after this one. They are linked because any number of them may
    /// leave at once.
    before: Option<ReaderId>,
    next: Option<ReaderId>,
    seat: Arc<Seat>,
    ticket: Ticket,
    generation: u32,
    /// Why the reader is to end, if it was ended individually.
    ending: Option<EndReason>,
    /// How far it has come.
    seen: Seen,
    /// What is kept of it for whoever inspects the hub.
    visit: Visit,
}

/// How much is done at once with a channel locked: the number of readers that are ended, or of clients that are looked
/// at.
pub(crate) const SLICE: usize = 256;

/// About how many bytes the allocator gives for each channel of a reader of several, for the reader's place in it and
/// the place's share of the seat.
const OF_SEVERAL: usize = 80;

impl Readers {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns how many bytes the readers take from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let clients = self.clients.as_ref().map_or(0, |clients| clients.footprint());
        let connections = self.connections.as_ref().map_or(0, |connections| connections.footprint());
        let each = if self.any_of_several { OF_SEVERAL } else { Seat::FOOTPRINT };
        self.all.footprint() + self.all.len() * each + clients + connections + self.waiters.footprint()
    }

    /// Returns how many readers have not been ended.
    pub(crate) fn live(&self) -> usize {
        self.live as usize
    }

    /// Returns how many live readers belong to no client.
    pub(crate) fn nameless(&self) -> usize {
        let named = self.clients.as_ref().map_or(0, |clients| clients.live);
        (self.live - named) as usize
    }

    /// Returns how many live readers a client has.
    pub(crate) fn of(&self, lane: LaneId) -> usize {
        self.client(lane).map_or(0, |client| client.live as usize)
    }

    /// Returns how many readers of a client are ended but not gone yet. Readers that were ended together with all
    /// others don't count.
    pub(crate) fn ended_of(&self, lane: LaneId) -> usize {
        self.client(lane).map_or(0, |client| client.ended as usize)
    }

    /// Returns a slice of the clients, the one before `end`: where it begins, and the lane and number of live readers
    /// of each client. A caller that visits all slices, from the end on, misses no client that stays. A client that
    /// comes or goes in the meantime may or may not appear.
    pub(crate) fn clients_before(&self, end: u32) -> (u32, impl Iterator<Item = (LaneId, usize)>) {
        let end = end.min(self.clients.as_ref().map_or(0, |clients| clients.numbers));
        let from = end.saturating_sub(SLICE as u32);
        let lanes = (from..end).map(LaneId::numbered).map(|lane| (lane, self.of(lane)));
        (from, lanes.filter(|(_, live)| *live > 0))
    }

    fn client(&self, lane: LaneId) -> Option<&Client> {
        self.clients.as_ref()?.by_lane.get(&lane)
    }

    pub(crate) fn insert(&mut self, lane: Option<LaneId>, seat: Arc<Seat>) -> ReaderId {
        let (ticket, generation) = (Ticket::default(), self.generation);
        if seat.connection().is_some() {
            self.connections.get_or_insert_default().enter(&seat, lane);
        }
        self.any_of_several |= seat.is_of_several();
        let (before, next, ending, seen) = (None, None, None, Seen::default());
        let reader = Reader { lane, before, next, seat, ticket, generation, ending, seen, visit: Visit::new() };
        let id = ReaderId::of(self.all.insert(reader));
        self.numbers = self.numbers.max(id.key().saturating_add(1));
        self.live += 1;
        if let Some(lane) = lane {
            self.link(id, lane);
        }
        id
    }

    /// Puts a reader in front of the other readers of its client.
    fn link(&mut self, id: ReaderId, lane: LaneId) {
        let clients = self.clients.get_or_insert_default();
        clients.live += 1;
        let client = clients.client_mut(lane);
        client.live += 1;
        let (next, is_new_crowd) = (client.first.replace(id), client.live == CROWD + 1);
        clients.many += u32::from(is_new_crowd);
        if let Some(reader) = self.all.get_mut(id.key()) {
            reader.next = next;
        }
        if let Some(next) = next.and_then(|next| self.all.get_mut(next.key())) {
            next.before = Some(id);
        }
        if is_new_crowd {
            self.gather(lane);
        }
    }

    /// Removes a reader from the live readers of its client.
    fn unlink(&mut self, id: ReaderId, lane: LaneId) {
        let Some(reader) = self.all.get_mut(id.key()) else { return };
        let (before, next) = (reader.before.take(), reader.next.take());
        if let Some(next) = next.and_then(|next| self.all.get_mut(next.key())) {
            next.before = before;
        }
        if let Some(before) = before.and_then(|before| self.all.get_mut(before.key())) {
            before.next = next;
        }
        let Some(clients) = &mut self.clients else { return };
        clients.live -= 1;
        let Some(client) = clients.by_lane.get_mut(&lane) else { return };
        client.live -= 1;
        if before.is_none() {
            client.first = next;
        }
        clients.many -= u32::from(client.live == CROWD);
    }

    /// Removes a reader. Returns the waker that it had parked, which must be dropped, not woken, after the lock is
    /// released.
    pub(crate) fn remove(&mut self, id: ReaderId) -> Option<Waker> {
        let waker = self.unpark(id);
        let reader = self.all.get(id.key())?;
        let (lane, ended) = (reader.lane, reader.ending.is_some());
        // Readers that were ended together with all others are no longer counted anywhere.
        if reader.generation == self.generation {
            if !ended {
                self.not_live(id, lane);
            }
            if let Some(lane) = lane {
                self.gone(lane, ended);
            }
        }
        let reader = self.all.remove(id.key())?;
        if let Some(connections) = &mut self.connections
            && reader.seat.connection().is_some()
            && connections.leave(&reader.seat)
        {
            self.connections = None;
        }
        if self.all.len() == 0 {
            (self.numbers, self.any_of_several) = (0, false);
        }
        // The set may have room for all readers that were ever there.
        self.waiters.give_back(self.all.len());
        waker
    }

    fn not_live(&mut self, id: ReaderId, lane: Option<LaneId>) {
        self.live -= 1;
        if let (Some(connections), Some(reader)) = (&mut self.connections, self.all.get(id.key())) {
            connections.not_live(&reader.seat, lane);
        }
        if let Some(lane) = lane {
            self.unlink(id, lane);
        }
    }

    /// Counts a reader of a client as gone. `ended` says whether it had been ended.
    fn gone(&mut self, lane: LaneId, ended: bool) {
        let Some(clients) = &mut self.clients else { return };
        clients.gone(lane, ended);
        if clients.by_lane.is_empty() {
            self.clients = None;
        }
    }

    /// Returns why a reader is to end, if it is.
    #[inline]
    pub(crate) fn ending(&self, id: ReaderId) -> Option<EndReason> {
        let reader = self.all.get(id.key())?;
        let with_all = || self.all_ended.filter(|_| reader.generation != self.generation);
        reader.ending.or_else(with_all)
    }

    /// Ends all readers at once, no matter how many there are. Returns how many of them had not been ended before.
    /// Unless the hub shuts down, in which case the readers read on, the caller then has to [give
    /// back](Self::end_seats) their seats.
    pub(crate) fn end_all(&mut self, reason: EndReason) -> (usize, Wakeups) {
        let (ended, wakeups) = (std::mem::take(&mut self.live) as usize, self.wake_all());
        self.clients = None;
        if let Some(connections) = &mut self.connections {
            connections.none_live();
        }
        self.generation = self.generation.wrapping_add(1);
        self.all_ended = Some(reason);
        (ended, wakeups)
    }

    /// Gives back the seats of a slice of the readers that were ended together with all others, starting at the number
    /// `from`. Returns the number to continue with, if there are more.
    pub(crate) fn end_seats(&self, from: u32) -> Option<u32> {
        let to = from.saturating_add(SLICE as u32).min(self.numbers);
        for id in (from..to).map(ReaderId::of) {
            if let (Some(reason), Some(reader)) = (self.ending(id), self.all.get(id.key())) {
                reader.seat.end(reason);
            }
        }
        (to < self.numbers).then_some(to)
    }

    /// Looks at a slice of the live readers of a reader's client, starting at `from`, and ends those that are
    /// [older](Seat::is_older_than) than the reader. Sets `from` to the place to continue at, if there are more.
    pub(crate) fn replace(&mut self, id: ReaderId, from: &mut Option<ReaderId>) -> Wakeups {
        let start = from.take();
        let Some(reader) = self.all.get(id.key()) else { return Wakeups::default() };
        let (Some(lane), seat) = (reader.lane, reader.seat.clone()) else { return Wakeups::default() };
        *from = start;
        self.end_lane(lane, from, EndReason::Replaced, |other| other.is_older_than(&seat)).1
    }

    /// Looks at a slice of the live readers of a client, starting at `from`, and ends those for which `concerns`
    /// returns `true`. Returns how many it has ended. Sets `from` to the place to continue at, if there are more.
    pub(crate) fn end_lane(
        &mut self,
        lane: LaneId,
        from: &mut Option<ReaderId>,
        reason: EndReason,
        concerns: impl Fn(&Seat) -> bool,
    ) -> (usize, Wakeups) {
        let (mut ended, mut wakeups) = (0, Wakeups::default());
        for id in self.slice_of(lane, from) {
            let Some(reader) = self.all.get(id.key()).filter(|reader| concerns(&reader.seat)) else { continue };
            reader.seat.end(reason);
            wakeups.add(self.unpark(id));
            self.end_one(id, reason);
            ended += 1;
        }
        (ended, wakeups)
    }

    /// Returns a slice of the live readers of a client, newest first, starting at `from`. Sets `from` to the place to
    /// continue at, if there are more.
    fn slice_of(&self, lane: LaneId, from: &mut Option<ReaderId>) -> Vec<ReaderId> {
        // The reader at that place may have left. In that case start again.
        let start = from.take().filter(|id| self.is_live_in(*id, lane));
        let first = start.or_else(|| self.client(lane)?.first);
        let mut all = std::iter::successors(first, |id| self.all.get(id.key())?.next);
        let slice = all.by_ref().take(SLICE).collect();
        *from = all.next();
        slice
    }

    /// Returns whether a reader is live and belongs to the client of `lane`.
    fn is_live_in(&self, id: ReaderId, lane: LaneId) -> bool {
        let is_live = |reader: &Reader| reader.generation == self.generation && reader.ending.is_none();
        self.all.get(id.key()).is_some_and(|reader| reader.lane == Some(lane) && is_live(reader))
    }

    /// Ends a live reader, so that it no longer counts as live.
    fn end_one(&mut self, id: ReaderId, reason: EndReason) {
        let Some(reader) = self.all.get_mut(id.key()) else { return };
        reader.ending = Some(reason);
        let lane = reader.lane;
        self.not_live(id, lane);
        let clients = self.clients.as_mut();
        if let Some(client) = lane.and_then(|lane| clients?.by_lane.get_mut(&lane)) {
            client.ended += 1;
        }
    }

    /// Searches a slice of the readers for those that were ended on another channel, and no longer counts these as
    /// live. Returns whether it found one. The next call searches the next slice.
    pub(crate) fn find_ended(&mut self) -> bool {
        // With more than sixteen million readers, the readers beyond those are not searched.
        let (from, count) = (u32::from(self.looked) * SLICE as u32, self.numbers.min(SLICE as u32));
        self.looked = self.looked.wrapping_add(1);
        let mut found = false;
        for n in 0..count {
            // A slice that reaches the end continues at the beginning.
            let id = ReaderId::of((from + n) % self.numbers);
            let reader = self.all.get(id.key()).filter(|reader| reader.generation == self.generation);
            let reader = reader.filter(|reader| reader.ending.is_none());
            if let Some(reason) = reader.and_then(|reader| reader.seat.ended()) {
                self.end_one(id, reason);
                found = true;
            }
        }
        found
    }
}

impl Clients {
    fn footprint(&self) -> usize {
        let crowds = self.crowds.as_ref().map_or(0, |crowds| crowds.footprint());
        size_of::<Self>() + self.by_lane.footprint() + crowds
    }

    fn client_mut(&mut self, lane: LaneId) -> &mut Client {
        if self.by_lane.get(&lane).is_none() {
            self.by_lane.insert(lane, Client { first: None, live: 0, ended: 0 });
            self.numbers = self.numbers.max(lane.number().saturating_add(1));
        }
        self.by_lane.get_mut(&lane).expect("it was inserted right above")
    }

    /// Counts a reader of a client as gone. `ended` says whether it had been ended. Removes the client with its last
    /// reader.
    fn gone(&mut self, lane: LaneId, ended: bool) {
        let Some(client) = self.by_lane.get_mut(&lane) else { return };
        client.ended -= u32::from(ended);
        if client.live > 0 || client.ended > 0 {
            return;
        }
        self.by_lane.remove(&lane);
        // Its readers are gone, so nobody is parked in its set.
        self.crowds.as_mut().and_then(|crowds| crowds.remove(lane));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::seats::Seats, *};
    use crate::log::BROADCAST;

    /// Adds settled readers of one client. Returns them oldest first.
    fn of_client(readers: &mut Readers, seats: &Arc<Seats>, count: usize) -> Vec<ReaderId> {
        let enter = |_| {
            let seat = seats.take().unwrap();
            seat.settle();
            readers.insert(Some(BROADCAST), seat)
        };
        (0..count).map(enter).collect()
    }

    fn listed(readers: &Readers) -> Vec<(LaneId, usize)> {
        readers.clients_before(u32::MAX).1.collect()
    }

    /// Replaces the older readers of a reader's client. Returns how many slices that took.
    fn slices_of_replace(readers: &mut Readers, id: ReaderId) -> usize {
        let (mut from, mut slices) = (None, 0);
        loop {
            drop(readers.replace(id, &mut from));
            slices += 1;
            if from.is_none() {
                return slices;
            }
        }
    }

    #[test]
    fn readers_that_stay_count_in_a_slice_too() {
        let (mut readers, seats) = (Readers::default(), Arc::new(Seats::new(10_000)));
        let all = of_client(&mut readers, &seats, 3 * SLICE);
        // All readers but one are newer.
        assert_eq!(slices_of_replace(&mut readers, all[1]), 3);
        assert_eq!((readers.live(), readers.ending(all[0])), (3 * SLICE - 1, Some(EndReason::Replaced)));
        let mut from = None;
        drop(readers.replace(all[1], &mut from));
        // The reader at that place has left, and another may have taken the place, so the search cannot continue
        // there.
        readers.remove(from.unwrap());
        readers.insert(None, seats.take().unwrap());
        drop(readers.replace(all[1], &mut from));
        assert_eq!(from, Some(all[2 * SLICE - 2]));
    }

    #[test]
    fn readers_that_ended_on_another_channel_are_found_in_slices() {
        let (mut readers, seats) = (Readers::default(), Arc::new(Seats::new(10_000)));
        let all = of_client(&mut readers, &seats, 2 * SLICE);
        readers.all.get(all[2 * SLICE - 1].key()).unwrap().seat.end(EndReason::Disconnected);
        assert_eq!([0; 4].map(|_| readers.find_ended()), [false, true, false, false]);
        assert_eq!((readers.live(), readers.ended_of(BROADCAST)), (2 * SLICE - 1, 1));
        all.into_iter().for_each(|id| drop(readers.remove(id)));
        assert_eq!((readers.live(), readers.len(), seats.counts()), (0, 0, (0, 0)));
    }

    #[test]
    fn of_two_that_replace_each_other_the_newer_stays() {
        for faster in [true, false] {
            let (mut readers, seats) = (Readers::default(), Arc::new(Seats::new(9)));
            let both = of_client(&mut readers, &seats, 2);
            let [older, newer] = both[..] else { unreachable!() };
            for id in if faster { [newer, older] } else { [older, newer] } {
                assert_eq!(slices_of_replace(&mut readers, id), 1);
            }
            assert_eq!((readers.ending(older), readers.ending(newer)), (Some(EndReason::Replaced), None));
            assert_eq!((readers.live(), readers.len(), readers.ended_of(BROADCAST), seats.taken()), (1, 2, 1, 1));
        }
    }

    #[test]
    fn a_client_keeps_its_other_readers_whichever_of_them_goes() {
        for gone in 0..3 {
            let (mut readers, seats) = (Readers::default(), Arc::new(Seats::new(9)));
            let all = of_client(&mut readers, &seats, 3);
            readers.insert(None, seats.take().unwrap());
            readers.remove(all[gone]);
            assert_eq!((listed(&readers), readers.nameless()), (vec![(BROADCAST, 2)], 1));
            assert_eq!(readers.end_lane(BROADCAST, &mut None, EndReason::Disconnected, |_| true).0, 2);
            assert_eq!((readers.live(), readers.len(), listed(&readers)), (1, 3, vec![]));
            all.into_iter().for_each(|id| drop(readers.remove(id)));
            assert!(readers.clients.is_none() && readers.len() == 1);
            assert_eq!(seats.counts(), (1, 0));
        }
    }

    #[test]
    fn ended_readers_are_looked_at_no_more() {
        let (mut readers, seats) = (Readers::default(), Arc::new(Seats::new(10_000)));
        let all = of_client(&mut readers, &seats, 3 * SLICE);
        let newest = all[all.len() - 1];
        assert_eq!([0; 2].map(|_| slices_of_replace(&mut readers, newest)), [3, 1]);
        let of_lane: Vec<_> = std::iter::successors(readers.client(BROADCAST).unwrap().first, |id| {
            readers.all.get(id.key()).unwrap().next
        })
        .collect();
        assert_eq!((of_lane, readers.ended_of(BROADCAST)), (vec![newest], 3 * SLICE - 1));
    }

    #[test]
    fn all_readers_are_ended_at_once_and_give_their_seats_back_in_slices() {
        let (mut readers, seats) = (Readers::default(), Arc::new(Seats::new(10_000)));
        let before = of_client(&mut readers, &seats, 2 * SLICE + 1);
        assert_eq!(readers.end_lane(BROADCAST, &mut None, EndReason::Disconnected, |_| true).0, SLICE);
        assert_eq!(readers.end_all(EndReason::Closed).0, SLICE + 1);
        let after = of_client(&mut readers, &seats, 1);
        assert_eq!((readers.live(), readers.of(BROADCAST), readers.ended_of(BROADCAST)), (1, 1, 0));
        assert_eq!((readers.ending(before[0]), readers.ending(after[0])), (Some(EndReason::Closed), None));
        assert_eq!(readers.ending(before[2 * SLICE]), Some(EndReason::Disconnected));
        assert_eq!(seats.taken(), SLICE + 2);
        let slices = std::iter::successors(Some(0), |from| readers.end_seats(*from)).count();
        assert_eq!((slices, seats.counts()), (3, (1, 2 * SLICE + 1)));
        before.into_iter().for_each(|id| drop(readers.remove(id)));
        assert_eq!((listed(&readers), readers.len(), seats.counts()), (vec![(BROADCAST, 1)], 1, (1, 0)));
    }
}
