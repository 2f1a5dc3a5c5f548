//! The seats of a hub: how many subscriptions it has, and which of them are over.
//!
//! A subscription takes a seat when it is opened and gives it back as soon as it ends, whether it reads its end or
//! something else ends it. A client that does not read therefore keeps no other client out. Until it is dropped, an
//! ended subscription *lingers*: it takes memory but no seat. All subscriptions together, lingering ones included, may
//! be no more than twice the number of seats.

use std::sync::Arc;

use tokio::sync::Notify;

use super::allowance::Allowed;
use crate::{
    sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock},
    wire::{name::ConnectionId, notice::EndReason},
};

/// All seats of a hub.
pub(crate) struct Seats {
    max: u32,
    /// The number of subscriptions and, in the upper half, the number of those that are over.
    counts: AtomicU64,
    /// The number that was given out last. Locked until the seat has stored its number, so that a seat with a higher
    /// number sees it.
    last_number: Mutex<u64>,
    /// Set before the readers are told. A caller that publishes or opens under a channel's lock and finds it unset is
    /// told later.
    shutting_down: AtomicBool,
    /// Notified when the last subscription of a hub that shuts down is gone.
    emptied: Notify,
}

const ONE: u64 = 1;
const ONE_OVER: u64 = 1 << 32;

/// The seat of one subscription, shared by its readers in all channels.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    /// Boxed, because few seats have any of it.
    beside: Option<Box<Beside>>,
    /// From the lowest bits on: why the subscription is over, once it is, of which the first reason counts; whether its
    /// access can be decided anew, and whether it has to be; and a number that grows from one subscription of the hub to
    /// the next, and is 0 as long as this subscription may still be refused. They share a word because each reader has
    /// one.
    word: AtomicU64,
}

/// What few seats have.
#[derive(Default)]
pub(crate) struct Beside {
    /// The id that the connection announced.
    pub(crate) connection: Option<ConnectionId>,
    /// The place under an allowance.
    pub(crate) allowed: Option<Allowed>,
}

impl Beside {
    /// Returns it in a box, unless there is nothing.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self.connection.is_some() || self.allowed.is_some()).then(|| Box::new(self))
    }
}

/// The bits of the reason: 0 as long as there is none.
const ENDED: u64 = 0xff;
/// Set if the access can be decided anew.
const OPEN: u64 = 0x100;
/// Set if the access has to be decided anew.
const CALLED: u64 = 0x200;
/// Set if the subscription reads several channels.
const SEVERAL: u64 = 0x400;
/// Where the number begins. The bits above suffice for a million subscriptions each second, for years.
const NUMBER: u32 = 16;

const REASONS: [EndReason; 8] = [
    EndReason::Finished,
    EndReason::Disconnected,
    EndReason::Replaced,
    EndReason::Closed,
    EndReason::Shutdown,
    EndReason::Expired,
    EndReason::Revoked,
    EndReason::Reauthorize,
];

/// Returns the bits that stand for a reason.
fn code_of(reason: EndReason) -> u64 {
    reason as u64 + 1
}

impl Seats {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            // More subscriptions would not fit in memory.
            max: u32::try_from(max).unwrap_or(u32::MAX / 2).min(u32::MAX / 2),
            counts: AtomicU64::new(0),
            last_number: Mutex::new(0),
            shutting_down: AtomicBool::new(false),
            emptied: Notify::new(),
        }
    }

    /// Takes a seat for one more subscription. Returns `None` if there is none left, or if too many subscriptions
    /// linger.
    #[cfg(test)]
    pub(crate) fn take(self: &Arc<Self>) -> Option<Arc<Seat>> {
        self.take_for(None)
    }

    /// Takes a seat for a subscription that may have something beside it.
    pub(crate) fn take_for(self: &Arc<Self>, beside: Option<Box<Beside>>) -> Option<Arc<Seat>> {
        let one_more = |counts| {
            let (taken, lingering) = split(counts);
            (taken < self.max && taken + lingering < 2 * self.max).then_some(counts + ONE)
        };
        self.counts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Arc::new(Seat { seats: self.clone(), beside, word: AtomicU64::new(0) }))
    }

    /// Returns how many subscriptions are not over, and how many are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let (taken, lingering) = split(self.counts.load(Ordering::SeqCst));
        (taken as usize, lingering as usize)
    }

    pub(crate) fn taken(&self) -> usize {
        self.counts().0
    }

    pub(crate) fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::SeqCst)
    }

    /// Waits until every subscription of a hub that shuts down was dropped.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.emptied.notified();
            if self.counts() == (0, 0) {
                return;
            }
            notified.await;
        }
    }
}

/// Returns how many subscriptions are not over, and how many are.
fn split(counts: u64) -> (u32, u32) {
    // Lossless, because these are the halves of the number.
    let (all, over) = (counts as u32, (counts >> 32) as u32);
    (all - over, over)
}

impl Seat {
    /// What a seat takes from the allocator, with its reference counts.
    pub(crate) const FOOTPRINT: usize = size_of::<Self>() + 2 * size_of::<usize>();

    /// Marks the subscription as accepted: nothing refuses it any more.
    pub(crate) fn settle(&self) {
        let mut last = lock(&self.seats.last_number);
        *last += 1;
        let number = *last << NUMBER;
        let numbered = |word| Some(word & !(u64::MAX << NUMBER) | number);
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, numbered);
    }

    /// Returns whether the subscription was accepted before that of `other`.
    pub(crate) fn is_older_than(&self, other: &Seat) -> bool {
        let number = self.word() >> NUMBER;
        number > 0 && number < other.word() >> NUMBER
    }

    fn word(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// Returns the id that the connection announced.
    pub(crate) fn connection(&self) -> Option<&ConnectionId> {
        self.beside.as_ref()?.connection.as_ref()
    }

    /// Returns what the connection id takes from the allocator.
    pub(crate) fn footprint_of_connection(&self) -> usize {
        self.connection().map_or(0, |connection| size_of::<Beside>() + connection.heap())
    }

    /// Notes that the subscription reads several channels.
    pub(crate) fn reads_several(&self) {
        self.word.fetch_or(SEVERAL, Ordering::AcqRel);
    }

    pub(crate) fn is_of_several(&self) -> bool {
        self.word() & SEVERAL > 0
    }

    /// Lets the subscription's access be decided anew from now on.
    pub(crate) fn open_access(&self) {
        self.word.fetch_or(OPEN, Ordering::AcqRel);
    }

    /// Asks the subscription to have its access decided anew. Returns `false` if that can't be done.
    pub(crate) fn call(&self) -> bool {
        self.has_open_access() && self.word.fetch_or(CALLED, Ordering::AcqRel) & OPEN > 0
    }

    pub(crate) fn has_open_access(&self) -> bool {
        self.word() & OPEN > 0
    }

    /// Returns whether the subscription was asked to have its access decided anew.
    pub(crate) fn is_called(&self) -> bool {
        self.word() & CALLED > 0
    }

    /// Answers the call for a new decision. Returns whether there was one.
    pub(crate) fn answer_call(&self) -> bool {
        self.is_called() && self.word.fetch_and(!CALLED, Ordering::AcqRel) & CALLED > 0
    }

    /// Returns why the subscription is over, if it is.
    pub(crate) fn ended(&self) -> Option<EndReason> {
        let code = self.word() & ENDED;
        if code == 0 { None } else { REASONS.into_iter().find(|reason| code_of(*reason) == code) }
    }

    /// Ends the subscription and gives the seat back.
    pub(crate) fn end(&self, reason: EndReason) {
        let end = |word| (word & ENDED == 0).then_some(word | code_of(reason));
        if self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, end).is_ok() {
            self.seats.counts.fetch_add(ONE_OVER, Ordering::SeqCst);
            if let Some(allowed) = self.beside.as_ref().and_then(|beside| beside.allowed.as_ref()) {
                allowed.give_back();
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let gone = if self.ended().is_some() { ONE + ONE_OVER } else { ONE };
        let before = self.seats.counts.fetch_sub(gone, Ordering::SeqCst);
        // Either this sees the shutdown, or the shutdown sees this, since both write one number and then read the
        // other.
        if before == gone && self.seats.is_shutting_down() {
            self.seats.emptied.notify_waiters();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_that_is_over_gives_its_seat_back_and_lingers_until_it_is_dropped() {
        let seats = Arc::new(Seats::new(2));
        let [one, two] = [(); 2].map(|()| seats.take().unwrap());
        assert!(seats.take().is_none());
        one.end(EndReason::Replaced);
        one.end(EndReason::Closed);
        assert_eq!((one.ended(), two.ended()), (Some(EndReason::Replaced), None));
        assert_eq!(seats.counts(), (1, 1));
        let three = seats.take().unwrap();
        drop(two);
        assert_eq!(seats.counts(), (1, 1));
        drop((one, three));
        assert_eq!(seats.counts(), (0, 0));
    }

    #[test]
    fn a_seat_is_over_for_the_first_reason_whatever_else_is_known_of_it() {
        for reason in REASONS {
            let seat = Arc::new(Seats::new(9)).take().unwrap();
            assert!(!seat.call() && !seat.answer_call() && seat.ended().is_none());
            seat.open_access();
            seat.settle();
            assert!(seat.call());
            seat.end(reason);
            seat.end(EndReason::Finished);
            assert_eq!(seat.ended(), Some(reason));
            assert!(seat.is_called() && seat.answer_call() && !seat.is_called() && seat.has_open_access());
        }
    }

    #[test]
    fn no_more_linger_than_there_are_seats() {
        let seats = Arc::new(Seats::new(2));
        let mut over = Vec::new();
        while let Some(seat) = seats.take() {
            seat.end(EndReason::Disconnected);
            over.push(seat);
            assert!(over.len() <= 4);
        }
        assert_eq!(seats.counts(), (0, 4));
        // No matter which of them goes, another may come.
        for last in [true, false] {
            drop(over.remove(if last { over.len() - 1 } else { 0 }));
            over.extend(seats.take());
            assert_eq!(over.len(), 4);
        }
        over.clear();
        assert_eq!(seats.counts(), (0, 0));
    }

    #[test]
    fn a_seat_that_is_not_settled_is_neither_older_nor_newer() {
        let seats = Arc::new(Seats::new(9));
        let [one, two] = [(); 2].map(|()| seats.take().unwrap());
        two.settle();
        assert!(!one.is_older_than(&two) && !two.is_older_than(&one));
        one.settle();
        assert!(two.is_older_than(&one) && !one.is_older_than(&two) && !one.is_older_than(&one));
    }
}
