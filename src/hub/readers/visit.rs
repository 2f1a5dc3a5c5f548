//! What is kept of each reader for whoever inspects the hub: since when it reads, and how many events it has taken.

use tokio::time::Instant;

use super::{ReaderId, Readers, SLICE};
use crate::{
    log::LaneId,
    wire::{name::ConnectionId, notice::EndReason},
};

/// A reader's visit to a channel.
pub(super) struct Visit {
    since: std::time::Instant,
    events: u64,
}

impl Visit {
    pub(super) const IS_KEPT: bool = true;

    pub(super) fn new() -> Self {
        Self { since: Instant::now().into_std(), events: 0 }
    }

    /// Notes that the reader has taken events.
    pub(super) fn took(&mut self, events: usize) {
        // Lossless: no target has a wider `usize`.
        self.events += events as u64;
    }

    /// Notes that the reader has not taken these events after all.
    pub(super) fn gave_back(&mut self, events: usize) {
        self.events -= events as u64;
    }
}

/// A live reader, as the channel knows it.
pub(crate) struct Visitor<'a> {
    pub(crate) lane: Option<LaneId>,
    pub(crate) since: std::time::Instant,
    /// How many events of the channel it has taken.
    pub(crate) events: u64,
    pub(crate) connection: Option<&'a ConnectionId>,
    pub(crate) of_several: bool,
}

impl Readers {
    /// Returns up to `most` live readers whose numbers are in the slice that begins at `from`, and the number to continue
    /// with, if there are more. A caller that continues misses no reader that stays.
    pub(crate) fn visitors(&self, from: u32, most: usize) -> (Vec<Visitor<'_>>, Option<u32>) {
        let (mut visitors, mut next) = (Vec::new(), from);
        let end = from.saturating_add(SLICE as u32).min(self.numbers);
        while next < end && visitors.len() < most {
            visitors.extend(self.visitor(ReaderId::of(next)));
            next += 1;
        }
        (visitors, (next < self.numbers).then_some(next))
    }

    fn visitor(&self, id: ReaderId) -> Option<Visitor<'_>> {
        let ending: Option<EndReason> = self.ending(id);
        let reader = self.all.get(id.key()).filter(|_| ending.is_none())?;
        Some(Visitor {
            lane: reader.lane,
            since: reader.visit.since,
            events: reader.visit.events,
            connection: reader.seat.connection(),
            of_several: reader.seat.is_of_several(),
        })
    }
}
