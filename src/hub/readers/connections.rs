//! The connection ids that the readers of a channel have announced, and which readers an event excludes by them.

use std::hash::Hash;

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
    /// How many of them belong to each client, by its lane.
    of_clients: Table<(LaneId, ConnectionId), u32>,
    /// How many readers have announced an id, and what these ids take from the allocator.
    readers: usize,
    footprint: usize,
}

impl Connections {
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.live.footprint() + self.of_clients.footprint() + self.footprint
    }

    pub(super) fn enter(&mut self, seat: &Seat, lane: Option<LaneId>) {
        let Some(connection) = seat.connection() else { return };
        count(&mut self.live, connection.clone());
        if let Some(lane) = lane {
            count(&mut self.of_clients, (lane, connection.clone()));
        }
        self.readers += 1;
        self.footprint += seat.footprint_of_connection();
    }

    pub(super) fn not_live(&mut self, seat: &Seat, lane: Option<LaneId>) {
        let Some(connection) = seat.connection() else { return };
        discount(&mut self.live, connection);
        if let Some(lane) = lane {
            discount(&mut self.of_clients, &(lane, connection.clone()));
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
        (self.live, self.of_clients) = Default::default();
    }
}

fn count<K: Eq + Hash>(readers: &mut Table<K, u32>, key: K) {
    match readers.get_mut(&key) {
        Some(count) => *count += 1,
        None => _ = readers.insert(key, 1),
    }
}

fn discount<K: Eq + Hash>(readers: &mut Table<K, u32>, key: &K) {
    let Some(count) = readers.get_mut(key) else { return };
    *count -= 1;
    if *count == 0 {
        readers.remove(key);
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
        let connections = self.connections.as_ref().zip(connection);
        let live = connections.and_then(|(all, connection)| all.of_clients.get(&(lane, connection.clone())));
        live.map_or(0, |live| *live as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{sync::Arc, time::Instant};

    use super::*;
    use crate::{
        hub::seats::{Beside, Seats},
        log::{Retention, Tombstone},
        wire::{name::ClientId, notice::EndReason},
    };

    const TAB: ConnectionId = ConnectionId::from_static("tab");

    #[test]
    fn readers_of_a_client_under_an_id_are_counted_as_they_come_end_and_go() {
        let mut log = Log::new(Retention::new(), Tombstone::default(), Instant::now());
        let [ana, bob] = ["ana", "bob"].map(|client| log.lane_for(&ClientId::from_static(client), 9).unwrap());
        let (mut readers, seats) = (Readers::default(), Arc::new(Seats::new(99)));
        let enter = |readers: &mut Readers, lane, connection: Option<&ConnectionId>| {
            let beside = Beside { connection: connection.cloned(), ..Beside::default() };
            readers.insert(lane, seats.take_for(beside.boxed()).unwrap())
        };
        let except = Except { connection: Some(TAB), ..Except::default() };
        let reached =
            |readers: &Readers| [Some(ana), Some(bob), None].map(|to| readers.not_excluded(&log, to, &except));

        let under = [Some(ana), Some(ana), Some(bob), None].map(|lane| enter(&mut readers, lane, Some(&TAB)));
        let other = ConnectionId::from_static("other");
        let others = [None, Some(&other)].map(|id| enter(&mut readers, Some(ana), id));
        assert_eq!(reached(&readers), [2, 0, 2]);
        drop(readers.remove(under[0]));
        drop(readers.remove(others[0]));
        assert_eq!(reached(&readers), [1, 0, 1]);
        drop(readers.end_lane(bob, &mut None, EndReason::Disconnected, |_| true).1);
        enter(&mut readers, Some(bob), None);
        assert_eq!(reached(&readers), [1, 1, 2]);
        drop(readers.end_all(EndReason::Closed).1);
        assert_eq!(reached(&readers), [0, 0, 0]);
        enter(&mut readers, Some(ana), Some(&TAB));
        under[1..].iter().for_each(|id| drop(readers.remove(*id)));
        drop(readers.remove(others[1]));
        assert_eq!(reached(&readers), [0, 0, 0]);
        enter(&mut readers, Some(ana), None);
        assert_eq!(reached(&readers), [1, 0, 1]);
    }
}
