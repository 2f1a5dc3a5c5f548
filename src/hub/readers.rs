//! The readers of one channel: who they are, where they are parked, and what ends them.

use std::num::NonZeroU64;

use super::wait::{Ticket, Waiters, Wakeups};
use crate::{
    footprint::{ByNumber, Slab},
    log::LaneId,
    wire::notice::EndReason,
};

/// A reader's number in its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReaderId(u32);

#[derive(Default)]
pub(crate) struct Readers {
    all: Slab<Reader>,
    /// By lane, the first of the client's readers; each of them knows the next. `None` if no reader is a client's.
    by_lane: Option<Box<ByNumber<LaneId, ReaderId>>>,
    /// How many are to end, and have not looked since.
    ending: usize,
    pub(crate) waiters: Waiters,
}

struct Reader {
    lane: Option<LaneId>,
    /// The readers of the same client before and behind this one: any number of them may leave at once.
    before: Option<ReaderId>,
    next: Option<ReaderId>,
    /// Grows from one subscription of the hub to the next: who is newer is the same in all of their channels. None as long
    /// as it may still be refused.
    number: Option<NonZeroU64>,
    ticket: Ticket,
    /// Why it is to end, once it is.
    ending: Option<EndReason>,
}

impl Readers {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many there are that nothing has ended yet.
    pub(crate) fn live(&self) -> usize {
        self.all.len() - self.ending
    }

    /// The readers of a client that nothing has ended yet.
    pub(crate) fn of(&self, lane: LaneId) -> usize {
        let is_live = |id: &ReaderId| self.all.get(id.0).is_some_and(|reader| reader.ending.is_none());
        self.ids(lane).filter(is_live).count()
    }

    /// The lanes that have a reader which nothing has ended yet, and how many of them.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (LaneId, usize)> {
        let lanes = self.by_lane.iter().flat_map(|by_lane| by_lane.iter().map(|(lane, _)| *lane));
        lanes.map(|lane| (lane, self.of(lane))).filter(|(_, live)| *live > 0)
    }

    /// All readers of a client.
    fn ids(&self, lane: LaneId) -> impl Iterator<Item = ReaderId> {
        std::iter::successors(self.first(lane), |id| self.all.get(id.0)?.next)
    }

    fn first(&self, lane: LaneId) -> Option<ReaderId> {
        self.by_lane.as_ref()?.get(&lane).copied()
    }

    pub(crate) fn insert(&mut self, lane: Option<LaneId>) -> ReaderId {
        let reader = Reader { lane, before: None, next: None, number: None, ticket: Ticket::default(), ending: None };
        let id = ReaderId(self.all.insert(reader));
        if let Some(lane) = lane {
            // In front of its client's others.
            let next = self.by_lane.get_or_insert_default().insert(lane, id);
            if let Some(reader) = self.all.get_mut(id.0) {
                reader.next = next;
            }
            if let Some(next) = next.and_then(|next| self.all.get_mut(next.0)) {
                next.before = Some(id);
            }
        }
        id
    }

    /// Forgets a reader. What it had parked comes back as a waker that is to be dropped, not woken, outside the lock.
    pub(crate) fn remove(&mut self, id: ReaderId) -> Option<std::task::Waker> {
        if let Some(lane) = self.all.get(id.0)?.lane {
            self.unlink(id, lane);
        }
        let mut reader = self.all.remove(id.0)?;
        let waker = self.waiters.take(&mut reader.ticket);
        // It may have room for all who were there once.
        self.waiters.give_back(self.all.len());
        self.ending -= usize::from(reader.ending.is_some());
        waker
    }

    fn unlink(&mut self, id: ReaderId, lane: LaneId) {
        let Some(&Reader { before, next, .. }) = self.all.get(id.0) else { return };
        if let Some(next) = next.and_then(|next| self.all.get_mut(next.0)) {
            next.before = before;
        }
        if let Some(before) = before.and_then(|before| self.all.get_mut(before.0)) {
            before.next = next;
            return;
        }
        let Some(by_lane) = &mut self.by_lane else { return };
        match next {
            Some(next) => _ = by_lane.insert(lane, next),
            None => _ = by_lane.remove(&lane),
        }
        if by_lane.is_empty() {
            self.by_lane = None;
        }
    }

    pub(crate) fn ending(&self, id: ReaderId) -> Option<EndReason> {
        self.all.get(id.0)?.ending
    }

    pub(crate) fn park(&mut self, id: ReaderId, waker: &std::task::Waker) -> Option<std::task::Waker> {
        self.waiters.park(&mut self.all.get_mut(id.0)?.ticket, waker)
    }

    pub(crate) fn wake_all(&mut self) -> Wakeups {
        Wakeups::of_all(self.waiters.take_all())
    }

    pub(crate) fn wake_lane(&mut self, lane: LaneId) -> Wakeups {
        let mut wakeups = Wakeups::default();
        self.each(lane, |reader, waiters| wakeups.add(waiters.take(&mut reader.ticket)));
        wakeups
    }

    /// Ends all readers that nothing has ended yet. Says how many.
    pub(crate) fn end_all(&mut self, reason: EndReason) -> (usize, Wakeups) {
        let mut ended = 0;
        for reader in self.all.iter_mut().filter(|reader| reader.ending.is_none()) {
            reader.ending = Some(reason);
            ended += 1;
        }
        self.ending += ended;
        (ended, self.wake_all())
    }

    /// Gives a reader its number, now that nothing refuses it any more. If it replaces others it ends its client's older
    /// ones, or itself if a newer one was faster. One without a number is not in yet, and will look for itself.
    pub(crate) fn settle(&mut self, id: ReaderId, number: NonZeroU64, replace: bool) -> Wakeups {
        let Some(reader) = self.all.get_mut(id.0) else { return Wakeups::default() };
        reader.number = Some(number);
        let Some(lane) = reader.lane.filter(|_| replace) else { return Wakeups::default() };
        let newest = self.ids(lane).filter_map(|id| self.all.get(id.0)?.number).max();
        self.end_lane(lane, newest, EndReason::Replaced).1
    }

    /// Ends the readers of one client that nothing has ended yet; only those that have a number below `before`, if there
    /// is one. Says how many.
    pub(crate) fn end_lane(&mut self, lane: LaneId, before: Option<NonZeroU64>, reason: EndReason) -> (usize, Wakeups) {
        let mut ended = 0;
        let mut wakeups = Wakeups::default();
        self.each(lane, |reader, waiters| {
            let concerned = before.is_none_or(|before| reader.number.is_some_and(|number| number < before));
            if concerned && reader.ending.is_none() {
                reader.ending = Some(reason);
                wakeups.add(waiters.take(&mut reader.ticket));
                ended += 1;
            }
        });
        self.ending += ended;
        (ended, wakeups)
    }

    /// Does `work` with each reader of a client.
    fn each(&mut self, lane: LaneId, mut work: impl FnMut(&mut Reader, &mut Waiters)) {
        let mut next = self.first(lane);
        while let Some(reader) = next.and_then(|id| self.all.get_mut(id.0)) {
            work(reader, &mut self.waiters);
            next = reader.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::BROADCAST;

    #[test]
    fn of_two_that_replace_each_other_the_one_with_the_higher_number_stays() {
        for faster in [true, false] {
            let mut readers = Readers::default();
            let [older, newer] = [(); 2].map(|()| readers.insert(Some(BROADCAST)));
            let mut settle = |id, number| drop(readers.settle(id, NonZeroU64::new(number).unwrap(), true));
            if faster {
                settle(newer, 6);
                settle(older, 5);
            } else {
                settle(older, 5);
                settle(newer, 6);
            }
            assert_eq!((readers.ending(older), readers.ending(newer)), (Some(EndReason::Replaced), None));
            assert_eq!((readers.live(), readers.len()), (1, 2));
        }
    }

    #[test]
    fn a_client_keeps_its_other_readers_whichever_of_them_goes() {
        for gone in 0..3 {
            let mut readers = Readers::default();
            let all = [(); 3].map(|()| readers.insert(Some(BROADCAST)));
            readers.insert(None);
            readers.remove(all[gone]);
            assert_eq!(readers.lanes().collect::<Vec<_>>(), [(BROADCAST, 2)]);
            assert_eq!(readers.end_lane(BROADCAST, None, EndReason::Disconnected).0, 2);
            assert_eq!((readers.live(), readers.len()), (1, 3));
            all.into_iter().for_each(|id| drop(readers.remove(id)));
            assert!(readers.by_lane.is_none() && readers.len() == 1);
        }
    }
}
