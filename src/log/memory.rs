//! What a log takes of memory, and what an event of it costs.

use super::{Log, retention::EVENT_OVERHEAD};
use crate::wire::encode::Sealed;

impl Log {
    /// About what a lane takes of which only its reader is left: its place, and its client's, with the name.
    pub(crate) const READ_LANE: usize = 256;

    /// How many bytes it takes from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let exceptions = self.exceptions.as_ref().map_or(0, |exceptions| exceptions.footprint());
        let clients = self.clients.as_ref().map_or(0, |clients| clients.footprint());
        let history = self.history.as_ref().map_or(0, |history| history.footprint());
        let written = self.written.as_ref().map_or(0, |written| written.footprint());
        self.broadcast.footprint() + clients + exceptions + history + written + self.footprint_of_ephemeral()
    }

    /// About how many of these are for what is remembered of clients that have no lane.
    pub(crate) fn footprint_of_marks(&self) -> usize {
        self.clients.as_ref().map_or(0, |clients| clients.footprint_of_idle())
    }

    /// How many of these are for ephemeral events.
    pub(crate) fn footprint_of_ephemeral(&self) -> usize {
        self.ephemeral.as_ref().map_or(0, |ephemeral| ephemeral.footprint())
    }

    /// How many lanes have a reader.
    pub(crate) fn lanes_read(&self) -> usize {
        self.clients.as_ref().map_or(0, |clients| clients.read())
    }

    /// Forgets some of what it remembers of clients: at most so many marks, which raise the one that stands for all others.
    pub(crate) fn forget_marks(&mut self, most: usize) {
        if let Some(clients) = &mut self.clients {
            (0..most).for_each(|_| _ = clients.forget_mark());
        }
    }
}

/// What the counts of shared bytes take from the allocator.
pub(super) const SHARED: usize = 3 * size_of::<usize>();

/// An event takes more than twice as many bytes: those of the shortest on the wire, and its place in a run. Half of them are given
/// back with another event, at the latest.
pub(crate) const LEAST: usize = 20;

/// What an event counts against limits in bytes.
pub(crate) fn cost(event: &Sealed) -> usize {
    event.as_bytes().len() + EVENT_OVERHEAD
}
