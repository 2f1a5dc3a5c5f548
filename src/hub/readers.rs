//! The readers of one channel: who they are, where they are parked, and what ends them.

mod connections;
mod id;

use std::sync::Arc;

use self::connections::Connections;
pub(crate) use self::id::ReaderId;
use super::{
    seats::Seat,
    wait::{Ticket, Waiters, Wakeups},
};
use crate::{
    footprint::{ByNumber, Elastic, Slab},
    log::LaneId,
    wire::notice::EndReason,
};

#[derive(Default)]
pub(crate) struct Readers {
    all: Slab<Reader>,
    /// All numbers that were given out since there was no reader are below this.
    numbers: u32,
    /// How many nothing has ended yet.
    live: u32,
    /// `None` if no reader is a client's.
    clients: Option<Box<Clients>>,
    /// `None` if no reader has announced an id of its connection.
    connections: Option<Box<Connections>>,
    /// Grows each time all readers are ended: those that came before are.
    generation: u32,
    /// How many slices were looked at for readers that have ended on another channel. The count wraps.
    looked: u16,
    /// Why they were, the last time.
    all_ended: Option<EndReason>,
    pub(crate) waiters: Waiters,
}

/// The clients that have readers.
#[derive(Default)]
struct Clients {
    /// How many live readers they have.
    live: u32,
    by_lane: ByNumber<LaneId, Client>,
    /// Each of them once, so that they can be gone through a slice at a time.
    listed: Vec<LaneId>,
}

struct Client {
    /// The newest of its live readers. Each knows the next.
    first: Option<ReaderId>,
    live: u32,
    /// How many are ended and not gone yet.
    ended: u32,
    /// Its place in the list.
    place: usize,
}

struct Reader {
    lane: Option<LaneId>,
    /// The live readers of the same client before and behind this one: any number of them may leave at once.
    before: Option<ReaderId>,
    next: Option<ReaderId>,
    seat: Arc<Seat>,
    ticket: Ticket,
    generation: u32,
    /// Why it is to end, if it was ended by itself.
    ending: Option<EndReason>,
}

/// So much is done at once with a channel locked: so many readers are ended, so many clients are looked at.
pub(crate) const SLICE: usize = 256;

impl Readers {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many bytes they take from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let clients = self.clients.as_ref().map_or(0, |clients| clients.footprint());
        let connections = self.connections.as_ref().map_or(0, |connections| connections.footprint());
        self.all.footprint() + self.all.len() * Seat::FOOTPRINT + clients + connections + self.waiters.footprint()
    }

    /// How many there are that nothing has ended yet.
    pub(crate) fn live(&self) -> usize {
        self.live as usize
    }

    /// How many of them are no client's.
    pub(crate) fn nameless(&self) -> usize {
        let named = self.clients.as_ref().map_or(0, |clients| clients.live);
        (self.live - named) as usize
    }

    /// The readers of a client that nothing has ended yet.
    pub(crate) fn of(&self, lane: LaneId) -> usize {
        self.client(lane).map_or(0, |client| client.live as usize)
    }

    /// The readers of a client that are ended and not gone yet. Where all readers were ended at once they don't count.
    pub(crate) fn ended_of(&self, lane: LaneId) -> usize {
        self.client(lane).map_or(0, |client| client.ended as usize)
    }

    /// A slice of the clients, before that of the last call: their lanes, and how many live readers each has. Whoever goes
    /// through all of them, from the end on, misses none that stays; one that comes or goes meanwhile may show up twice.
    pub(crate) fn clients_before(&self, end: usize) -> (usize, impl Iterator<Item = (LaneId, usize)>) {
        let listed = self.clients.as_ref().map_or(&[][..], |clients| &clients.listed);
        let end = end.min(listed.len());
        let from = end.saturating_sub(SLICE);
        let lanes = listed[from..end].iter().map(|lane| (*lane, self.of(*lane)));
        (from, lanes.filter(|(_, live)| *live > 0))
    }

    fn client(&self, lane: LaneId) -> Option<&Client> {
        self.clients.as_ref()?.by_lane.get(&lane)
    }

    pub(crate) fn insert(&mut self, lane: Option<LaneId>, seat: Arc<Seat>) -> ReaderId {
        let (ticket, generation) = (Ticket::default(), self.generation);
        if seat.connection().is_some() {
            self.connections.get_or_insert_default().enter(&seat);
        }
        let reader = Reader { lane, before: None, next: None, seat, ticket, generation, ending: None };
        let id = ReaderId::of(self.all.insert(reader));
        self.numbers = self.numbers.max(id.key().saturating_add(1));
        self.live += 1;
        if let Some(lane) = lane {
            self.link(id, lane);
        }
        id
    }

    /// Puts a reader in front of its client's others.
    fn link(&mut self, id: ReaderId, lane: LaneId) {
        let clients = self.clients.get_or_insert_default();
        clients.live += 1;
        let client = clients.client_mut(lane);
        client.live += 1;
        let next = client.first.replace(id);
        if let Some(reader) = self.all.get_mut(id.key()) {
            reader.next = next;
        }
        if let Some(next) = next.and_then(|next| self.all.get_mut(next.key())) {
            next.before = Some(id);
        }
    }

    /// Takes a reader out of its client's live ones.
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
    }

    /// Forgets a reader. What it had parked comes back as a waker that is to be dropped, not woken, outside the lock.
    pub(crate) fn remove(&mut self, id: ReaderId) -> Option<std::task::Waker> {
        let reader = self.all.get(id.key())?;
        let (lane, ended) = (reader.lane, reader.ending.is_some());
        // Nothing counts those that were ended with all others.
        if reader.generation == self.generation {
            if !ended {
                self.not_live(id, lane);
            }
            if let Some(lane) = lane {
                self.gone(lane, ended);
            }
        }
        let mut reader = self.all.remove(id.key())?;
        if let Some(connections) = &mut self.connections
            && reader.seat.connection().is_some()
            && connections.leave(&reader.seat)
        {
            self.connections = None;
        }
        if self.all.len() == 0 {
            self.numbers = 0;
        }
        let waker = self.waiters.take(&mut reader.ticket);
        // It may have room for all who were there once.
        self.waiters.give_back(self.all.len());
        waker
    }

    fn not_live(&mut self, id: ReaderId, lane: Option<LaneId>) {
        self.live -= 1;
        if let (Some(connections), Some(reader)) = (&mut self.connections, self.all.get(id.key())) {
            connections.not_live(&reader.seat);
        }
        if let Some(lane) = lane {
            self.unlink(id, lane);
        }
    }

    /// A reader of a client is gone, an ended one or not.
    fn gone(&mut self, lane: LaneId, ended: bool) {
        let Some(clients) = &mut self.clients else { return };
        clients.gone(lane, ended);
        if clients.listed.is_empty() {
            self.clients = None;
        }
    }

    /// Why a reader is to end, if it is.
    pub(crate) fn ending(&self, id: ReaderId) -> Option<EndReason> {
        let reader = self.all.get(id.key())?;
        let with_all = || self.all_ended.filter(|_| reader.generation != self.generation);
        reader.ending.or_else(with_all)
    }

    pub(crate) fn park(&mut self, id: ReaderId, waker: &std::task::Waker) -> Option<std::task::Waker> {
        self.waiters.park(&mut self.all.get_mut(id.key())?.ticket, waker)
    }

    pub(crate) fn wake_all(&mut self) -> Wakeups {
        Wakeups::of_all(self.waiters.take_all())
    }

    pub(crate) fn wake_lane(&mut self, lane: LaneId) -> Wakeups {
        let mut wakeups = Wakeups::default();
        let mut next = self.client(lane).and_then(|client| client.first);
        while let Some(reader) = next.and_then(|id| self.all.get_mut(id.key())) {
            wakeups.add(self.waiters.take(&mut reader.ticket));
            next = reader.next;
        }
        wakeups
    }

    /// Ends all readers that there are, however many. Says how many nothing had ended yet. Unless the hub shuts down, where they
    /// read on, their seats have to be [given back](Self::end_seats).
    pub(crate) fn end_all(&mut self, reason: EndReason) -> (usize, Wakeups) {
        let ended = std::mem::take(&mut self.live) as usize;
        self.clients = None;
        if let Some(connections) = &mut self.connections {
            connections.none_live();
        }
        self.generation = self.generation.wrapping_add(1);
        self.all_ended = Some(reason);
        (ended, self.wake_all())
    }

    /// Gives back the seats of a slice of the readers that were ended with all others, from a number on. Gives the number
    /// to go on with, if there are more.
    pub(crate) fn end_seats(&self, from: u32) -> Option<u32> {
        let to = from.saturating_add(SLICE as u32).min(self.numbers);
        for id in (from..to).map(ReaderId::of) {
            if let (Some(reason), Some(reader)) = (self.ending(id), self.all.get(id.key())) {
                reader.seat.end(reason);
            }
        }
        (to < self.numbers).then_some(to)
    }

    /// Looks at a slice of the live readers of a reader's client, from the place `from` on, and ends those that are
    /// [older](Seat::is_older_than) than it. `from` is then where to go on, if there are more.
    pub(crate) fn replace(&mut self, id: ReaderId, from: &mut Option<ReaderId>) -> Wakeups {
        let start = from.take();
        let Some(reader) = self.all.get(id.key()) else { return Wakeups::default() };
        let (Some(lane), seat) = (reader.lane, reader.seat.clone()) else { return Wakeups::default() };
        *from = start;
        self.end_lane(lane, from, EndReason::Replaced, |other| other.is_older_than(&seat)).1
    }

    /// Asks the live readers of a client whose access can be decided anew to have it decided. Says how many there are.
    pub(crate) fn call(&mut self, lane: LaneId) -> (usize, Wakeups) {
        let (mut called, mut wakeups) = (0, Wakeups::default());
        let mut next = self.client(lane).and_then(|client| client.first);
        while let Some(reader) = next.and_then(|id| self.all.get_mut(id.key())) {
            next = reader.next;
            if reader.seat.call() {
                called += 1;
                wakeups.add(self.waiters.take(&mut reader.ticket));
            }
        }
        (called, wakeups)
    }

    /// Looks at a slice of the live readers of a client, from the place `from` on, and ends those that `concerns`. Returns how
    /// many; `from` is then where to go on, if there are more.
    pub(crate) fn end_lane(
        &mut self,
        lane: LaneId,
        from: &mut Option<ReaderId>,
        reason: EndReason,
        concerns: impl Fn(&Seat) -> bool,
    ) -> (usize, Wakeups) {
        let (mut ended, mut wakeups) = (0, Wakeups::default());
        // The reader at that place may have left since. Then it begins again.
        let start = from.take().filter(|id| self.is_live_in(*id, lane));
        let mut next = start.or_else(|| self.client(lane)?.first);
        for _ in 0..SLICE {
            let Some((id, reader)) = next.and_then(|id| Some((id, self.all.get_mut(id.key())?))) else { break };
            next = reader.next;
            if concerns(&reader.seat) {
                reader.seat.end(reason);
                wakeups.add(self.waiters.take(&mut reader.ticket));
                self.end_one(id, reason);
                ended += 1;
            }
        }
        *from = next;
        (ended, wakeups)
    }

    /// Nothing has ended this reader, and it is of this client.
    fn is_live_in(&self, id: ReaderId, lane: LaneId) -> bool {
        let is_live = |reader: &Reader| reader.generation == self.generation && reader.ending.is_none();
        self.all.get(id.key()).is_some_and(|reader| reader.lane == Some(lane) && is_live(reader))
    }

    /// No longer counts a live reader as live.
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

    /// Looks at a slice of the readers for some that were ended on another channel, and no longer counts these as live. Returns
    /// whether there was one. The next call looks at the next slice.
    pub(crate) fn find_ended(&mut self) -> bool {
        // Of more than sixteen million readers, the others are not looked at.
        let (from, count) = (u32::from(self.looked) * SLICE as u32, self.numbers.min(SLICE as u32));
        self.looked = self.looked.wrapping_add(1);
        let mut found = false;
        for n in 0..count {
            // A slice that reaches the end begins again.
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
        size_of::<Self>() + self.by_lane.footprint() + self.listed.footprint()
    }

    fn client_mut(&mut self, lane: LaneId) -> &mut Client {
        if self.by_lane.get(&lane).is_none() {
            self.listed.make_room();
            self.by_lane.insert(lane, Client { first: None, live: 0, ended: 0, place: self.listed.len() });
            self.listed.push(lane);
        }
        self.by_lane.get_mut(&lane).expect("it was inserted right above")
    }

    /// A reader of a client is gone, an ended one or not; with the last of them the client is.
    fn gone(&mut self, lane: LaneId, ended: bool) {
        let Some(client) = self.by_lane.get_mut(&lane) else { return };
        client.ended -= u32::from(ended);
        if client.live > 0 || client.ended > 0 {
            return;
        }
        let place = client.place;
        self.by_lane.remove(&lane);
        self.listed.swap_remove(place);
        self.listed.give_back();
        if let Some(moved) = self.listed.get(place).and_then(|moved| self.by_lane.get_mut(moved)) {
            moved.place = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::seats::Seats, *};
    use crate::log::BROADCAST;

    /// Readers of a client, that are in, oldest first.
    fn of_client(readers: &mut Readers, seats: &Arc<Seats>, count: usize) -> Vec<ReaderId> {
        let enter = |_| {
            let seat = seats.take().unwrap();
            seat.settle();
            readers.insert(Some(BROADCAST), seat)
        };
        (0..count).map(enter).collect()
    }

    fn listed(readers: &Readers) -> Vec<(LaneId, usize)> {
        readers.clients_before(usize::MAX).1.collect()
    }

    /// Replaces the older readers of a reader's client. Returns in how many slices.
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
        // All but one are newer.
        assert_eq!(slices_of_replace(&mut readers, all[1]), 3);
        assert_eq!((readers.live(), readers.ending(all[0])), (3 * SLICE - 1, Some(EndReason::Replaced)));
        let mut from = None;
        drop(readers.replace(all[1], &mut from));
        // One that has left meanwhile, to whose place another may have come, is no place to go on from.
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
