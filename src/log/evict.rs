//! Evicts what a log's retention no longer allows: the oldest event first, whatever its lane, and a slice at a time.

use std::time::Instant;

use super::{Log, lane_id::BROADCAST, read::View};
use crate::wire::cursor::Offset;

/// The number of events that are evicted at once, besides those that an append evicts to make room.
pub(crate) const SLICE: usize = 64;

impl Log {
    /// Hides events that are too old from `view`, without looking at each of them. Call it before you ask what is held.
    /// Hidden events count as evicted, and [`enforce`](Self::enforce) evicts them a slice at a time.
    pub(crate) fn expire(&mut self, view: View<'_>, now: Instant) {
        let Some(time) = self.too_old(self.millis(now)) else { return };
        self.broadcast.hide_before(time);
        if let Some(own) = view.client {
            self.change(own, |lane| lane.hide_before(time));
        }
    }

    /// Returns the time before which events are too old, or `None` if there are no such events.
    pub(super) fn too_old(&self, now: u64) -> Option<u64> {
        let time = match self.rare.as_ref().and_then(|rare| rare.after_finish_millis) {
            None => now.checked_sub(self.max_age_millis),
            // All events become too old at once, some time after the end.
            Some(age) => (self.finished && now >= self.newest_at.saturating_add(age)).then_some(u64::MAX),
        };
        time.filter(|time| self.oldest_at < *time)
    }

    /// Evicts at most `most` events that the retention no longer allows. Returns how many.
    pub(crate) fn enforce(&mut self, now: Instant, most: usize) -> u64 {
        self.enforce_at(self.millis(now), most)
    }

    pub(super) fn enforce_at(&mut self, now: u64, most: usize) -> u64 {
        let (events, bytes) = (self.max_events(), self.max_bytes);
        let mut evicted = 0;
        while evicted < most
            && let Some(time) = self.too_old(now)
        {
            // The event with this time may be gone already.
            self.oldest_at = self.oldest_lane().oldest_at().unwrap_or(time);
            if self.oldest_at < time {
                if !self.evict() {
                    break;
                }
                evicted += 1;
            }
        }
        // The newest event is always held, unless no event may be.
        let too_many = |log: &Self| log.events > events || (log.events > 1 && log.bytes > bytes);
        while evicted < most && too_many(self) && self.evict() {
            evicted += 1;
        }
        u64::try_from(evicted).unwrap_or(u64::MAX)
    }

    /// Evicts the oldest event. Returns whether there was one.
    pub(crate) fn evict(&mut self) -> bool {
        let oldest = self.clients.as_mut().and_then(|clients| clients.order.pop()).unwrap_or(BROADCAST);
        let gone = match &mut self.clients {
            Some(clients) if oldest != BROADCAST => clients.evict(oldest),
            _ => self.broadcast.evict().map(|(gone, _)| gone),
        };
        let Some(gone) = gone else { return false };
        self.events -= 1;
        self.bytes -= gone.cost;
        if !self.is_simple() {
            self.forget(gone.offset);
        }
        true
    }

    /// Forgets what is known of the event at `gone`, which was evicted.
    fn forget(&mut self, gone: Offset) {
        if let Some(rare) = &mut self.rare {
            rare.evict(gone);
            self.rare.take_if(|rare| rare.is_void());
        }
        self.drop_void();
    }
}
