//! One channel of the file: what it holds, what is gone, and which appends it refuses.

use std::collections::VecDeque;

use tokio::time::Instant;
use tower_sse::{
    ClientId, Cursor, Epoch, Offset, Retention,
    backend::{Append, Appended, Entry, Expected, Marks, NewEvent},
};

/// The events of a channel, and what is known of those that are gone. A store that has to run for years would forget
/// channels that hold nothing any more, and answer for them with the highest offset that any of them had.
#[derive(Default)]
pub struct Channel {
    pub held: VecDeque<Kept>,
    pub bytes: usize,
    pub head: Offset,
    pub marks: Marks,
    pub finished: bool,
    /// When it was finished without an event.
    pub ended_at: Option<Instant>,
    pub closed: u64,
    /// The head when the channel was last closed.
    pub closed_at: Offset,
    /// The highest fence of an append.
    pub fence: Option<u64>,
}

pub struct Kept {
    pub entry: Entry,
    pub at: Instant,
    pub cost: usize,
}

impl Channel {
    /// Why the events can't be appended, if they can't.
    pub fn refuse(&self, append: &Append, epoch: Epoch) -> Option<Appended> {
        if let Some(seen) = self.fence.filter(|seen| append.fence.is_some_and(|fence| fence < *seen)) {
            return Some(Appended::Fenced(seen));
        }
        if self.finished {
            return Some(Appended::Finished);
        }
        let last = (self.head > self.closed_at).then_some(Cursor { epoch, offset: self.head });
        let is_expected = match append.expected {
            None => true,
            Some(Expected::Nothing) => last.is_none(),
            Some(Expected::At(cursor)) => last == Some(cursor),
            // A condition that this store does not know.
            Some(_) => false,
        };
        if !is_expected {
            return Some(Appended::Conflict(last));
        }
        // A reader gets the broadcasts, and the events for its client.
        let is_for_the_same =
            |one: &Option<ClientId>, other: &Option<ClientId>| one.is_none() || other.is_none() || one == other;
        for (n, event) in append.events.iter().enumerate().filter(|(_, event)| event.id.is_some()) {
            let is_held = |kept: &Kept| kept.entry.id == event.id && is_for_the_same(&kept.entry.client, &event.client);
            let is_before = |other: &NewEvent| other.id == event.id && is_for_the_same(&other.client, &event.client);
            if self.held.iter().any(is_held) || append.events[..n].iter().any(is_before) {
                return Some(Appended::DuplicateId);
            }
        }
        None
    }

    pub fn holds(&self, offset: Offset) -> bool {
        self.held.front().is_some_and(|oldest| oldest.entry.offset <= offset)
    }

    /// Evicts what the retention no longer allows. The newest event stays unless it is too old.
    pub fn evict(&mut self, retention: &Retention, now: Instant) {
        let age = |at: Instant| now.saturating_duration_since(at);
        while let (Some(oldest), Some(newest)) = (self.held.front(), self.held.back())
            && (retention.is_too_old(
                age(oldest.at),
                age(newest.at.max(self.ended_at.unwrap_or(newest.at))),
                self.finished,
            ) || self.held.len() > 1
                && (self.held.len() > retention.most_events() || self.bytes > retention.max_bytes()))
        {
            self.evict_oldest();
        }
    }

    fn evict_oldest(&mut self) {
        if let Some(Kept { entry, cost, .. }) = self.held.pop_front() {
            self.bytes -= cost;
            self.marks.evict(entry.client.as_ref(), entry.offset);
        }
    }

    pub fn close(&mut self) {
        while !self.held.is_empty() {
            self.evict_oldest();
        }
        (self.finished, self.ended_at) = (false, None);
        self.closed += 1;
        self.closed_at = self.head;
    }
}
