//! The readers of one channel: who they are, where they are parked, and what ends them.

use std::collections::HashMap;

use super::{
    slab::Slab,
    wait::{Ticket, Waiters, Wakeups},
};
use crate::{log::LaneId, notice::EndReason};

/// A reader's number in its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReaderId(u32);

#[derive(Default)]
pub(crate) struct Readers {
    all: Slab<Reader>,
    /// The readers of each client, by its lane.
    by_lane: HashMap<LaneId, Vec<ReaderId>>,
    /// How many are to end, and have not looked since.
    ending: usize,
    pub(crate) waiters: Waiters,
}

struct Reader {
    lane: Option<LaneId>,
    /// Grows from one subscription of the hub to the next: who is newer is the same in all of their channels. None as long
    /// as it may still be refused.
    number: Option<u64>,
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
        let is_live = |id: &&ReaderId| self.all.get(id.0).is_some_and(|reader| reader.ending.is_none());
        self.by_lane.get(&lane).map_or(0, |ids| ids.iter().filter(is_live).count())
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = (LaneId, usize)> {
        self.by_lane.keys().map(|lane| (*lane, self.of(*lane))).filter(|(_, live)| *live > 0)
    }

    pub(crate) fn insert(&mut self, lane: Option<LaneId>) -> ReaderId {
        let id = ReaderId(self.all.insert(Reader { lane, number: None, ticket: Ticket::default(), ending: None }));
        if let Some(lane) = lane {
            self.by_lane.entry(lane).or_default().push(id);
        }
        id
    }

    /// Forgets a reader. What it had parked comes back as a waker that is to be dropped, not woken, outside the lock.
    pub(crate) fn remove(&mut self, id: ReaderId) -> Option<std::task::Waker> {
        let mut reader = self.all.remove(id.0)?;
        let waker = self.waiters.take(&mut reader.ticket);
        if self.all.len() == 0 {
            // The set may have room for all who were there.
            self.waiters = Waiters::default();
        }
        self.ending -= usize::from(reader.ending.is_some());
        if let Some(lane) = reader.lane
            && let Some(ids) = self.by_lane.get_mut(&lane)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_lane.remove(&lane);
            }
            if self.by_lane.is_empty() {
                self.by_lane = HashMap::new();
            }
        }
        waker
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
        for id in self.by_lane.get(&lane).into_iter().flatten() {
            if let Some(reader) = self.all.get_mut(id.0) {
                wakeups.add(self.waiters.take(&mut reader.ticket));
            }
        }
        wakeups
    }

    /// Ends all readers that nothing has ended yet. Says how many.
    pub(crate) fn end_all(&mut self, reason: EndReason) -> (usize, Wakeups) {
        let mut ended = 0;
        for (_, reader) in self.all.iter_mut().filter(|(_, reader)| reader.ending.is_none()) {
            reader.ending = Some(reason);
            ended += 1;
        }
        self.ending += ended;
        (ended, self.wake_all())
    }

    /// Gives a reader its number, now that nothing refuses it any more. If it replaces others it ends its client's older
    /// ones, or itself if a newer one was faster. One without a number is not in yet, and will look for itself.
    pub(crate) fn settle(&mut self, id: ReaderId, number: u64, replace: bool) -> Wakeups {
        let Some(reader) = self.all.get_mut(id.0) else { return Wakeups::default() };
        reader.number = Some(number);
        let Some(lane) = reader.lane.filter(|_| replace) else { return Wakeups::default() };
        let newest = self.by_lane.get(&lane).into_iter().flatten().filter_map(|id| self.all.get(id.0)?.number).max();
        self.end_lane(lane, newest, EndReason::Replaced).1
    }

    /// Ends the readers of one client that nothing has ended yet; only those that have a number below `before`, if there
    /// is one. Says how many.
    pub(crate) fn end_lane(&mut self, lane: LaneId, before: Option<u64>, reason: EndReason) -> (usize, Wakeups) {
        let mut ended = 0;
        let mut wakeups = Wakeups::default();
        for id in self.by_lane.get(&lane).into_iter().flatten() {
            let Some(reader) = self.all.get_mut(id.0) else { continue };
            let concerned = before.is_none_or(|before| reader.number.is_some_and(|number| number < before));
            if concerned && reader.ending.is_none() {
                reader.ending = Some(reason);
                wakeups.add(self.waiters.take(&mut reader.ticket));
                ended += 1;
            }
        }
        self.ending += ended;
        (ended, wakeups)
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
            let mut settle = |id, number| drop(readers.settle(id, number, true));
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
}
