//! The memory that a log takes, and what an event costs.

use super::{Log, retention::EVENT_OVERHEAD};
use crate::{footprint::Footprint, wire::encode::Sealed};

impl Log {
    /// About how many bytes a lane takes that has only a reader: its place, its client's place and the client's name.
    const READ_LANE: usize = 128;

    /// Returns what the log takes from the allocator. Lanes that have a reader are pinned.
    #[inline]
    pub(crate) fn footprint(&self) -> Footprint {
        let all = self.broadcast.footprint();
        if self.is_simple() { Footprint { all, ..Footprint::default() } } else { self.footprint_with(all) }
    }

    /// Like [`footprint`](Self::footprint), if the broadcasts take so many bytes.
    fn footprint_with(&self, broadcasts: usize) -> Footprint {
        let clients = self.clients.as_ref().map_or(0, |clients| clients.footprint());
        let rare = self.rare.as_ref().map_or(0, |rare| rare.footprint());
        let ephemeral = self.footprint_of_ephemeral();
        Footprint {
            all: broadcasts + clients + rare + ephemeral,
            pinned: self.clients.as_ref().map_or(0, |clients| clients.read()) * Self::READ_LANE,
            marks: self.footprint_of_marks(),
            ephemeral,
        }
    }

    /// Returns about how many of these bytes are for clients without a lane.
    pub(crate) fn footprint_of_marks(&self) -> usize {
        self.clients.as_ref().map_or(0, |clients| clients.footprint_of_idle())
    }

    /// Returns how many of these bytes are for ephemeral events.
    pub(crate) fn footprint_of_ephemeral(&self) -> usize {
        self.ephemeral.as_ref().map_or(0, |ephemeral| ephemeral.footprint())
    }

    /// Forgets the marks of at most `most` clients, which raises the mark that stands for all others.
    pub(crate) fn forget_marks(&mut self, most: usize) {
        if let Some(clients) = &mut self.clients {
            (0..most).for_each(|_| _ = clients.forget_mark());
        }
    }
}

/// The bytes that the reference counts of shared memory take from the allocator.
pub(super) const SHARED: usize = 3 * size_of::<usize>();

/// A lower bound of the bytes that evicting an event gives back. An event takes more than twice as many: the shortest
/// event on the wire, and its place in a run. Up to half of them are given back only with a later event.
pub(crate) const LEAST: usize = 20;

/// Returns what an event counts against limits in bytes.
pub(crate) fn cost(event: &Sealed) -> usize {
    event.as_bytes().len() + EVENT_OVERHEAD
}
