//! The connection ids that the readers of a channel have announced, and which readers an event excludes by them.

use super::{ReaderId, Readers};
use crate::{
    footprint::Table,
    hub::seats::Seat,
    log::{LaneId, Log},
    wire::{except::Except, name::ConnectionId},
};

/// The connection ids that readers have announced.
#[derive(Default)]
pub(super) struct Connections {
    /// How many live readers have announced each id.
    live: Table<ConnectionId, u32>,
    /// How many readers have announced an id, and what these ids take from the allocator.
    readers: usize,
    footprint: usize,
}

impl Connections {
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.live.footprint() + self.footprint
    }

    pub(super) fn enter(&mut self, seat: &Seat) {
        let Some(connection) = seat.connection() else { return };
        match self.live.get_mut(connection) {
            Some(live) => *live += 1,
            None => _ = self.live.insert(connection.clone(), 1),
        }
        self.readers += 1;
        self.footprint += seat.footprint_of_connection();
    }

    pub(super) fn not_live(&mut self, seat: &Seat) {
        let Some(connection) = seat.connection() else { return };
        let Some(live) = self.live.get_mut(connection) else { return };
        *live -= 1;
        if *live == 0 {
            self.live.remove(connection);
        }
    }

    /// Removes a reader that has announced an id. Returns whether it was the last one.
    pub(super) fn leave(&mut self, seat: &Seat) -> bool {
        self.readers -= 1;
        self.footprint -= seat.footprint_of_connection();
        self.readers == 0
    }

    /// Counts no reader as live any more, because all were ended at once.
    pub(super) fn none_live(&mut self) {
        self.live = Table::default();
    }
}

impl Readers {
    /// Returns the id that a reader's connection has announced.
    pub(crate) fn connection(&self, id: ReaderId) -> Option<&ConnectionId> {
        self.all.get(id.key())?.seat.connection()
    }

    /// Returns how many live readers get an event that excludes some. The event is for all readers, or for those of
    /// the client with the lane `target`.
    pub(crate) fn not_excluded(&self, log: &Log, target: Option<LaneId>, except: &Except) -> usize {
        let client = except.client.as_ref().and_then(|client| log.lane_of(client));
        let under_id = |lane| self.of_under(lane, except.connection.as_ref());
        match target {
            Some(target) if client == Some(target) => 0,
            Some(target) => self.of(target) - under_id(target),
            None => {
                let connections = self.connections.as_ref();
                let under = except.connection.as_ref().and_then(|id| connections?.live.get(id).copied()).unwrap_or(0);
                let of_client = client.map_or(0, |lane| self.of(lane) - under_id(lane));
                self.live() - under as usize - of_client
            }
        }
    }

    /// Returns how many live readers of a client have announced this id.
    fn of_under(&self, lane: LaneId, connection: Option<&ConnectionId>) -> usize {
        let Some(connection) = connection else { return 0 };
        let first = self.client(lane).and_then(|client| self.all.get(client.first?.key()));
        let all = std::iter::successors(first, |reader| self.all.get(reader.next?.key()));
        all.filter(|reader| reader.seat.connection() == Some(connection)).count()
    }
}
