//! What a log held before it was emptied: memory that is freed a few pieces at a time.

use std::collections::hash_map;

use super::{
    clients::{ClientLane, Clients, IdLanes},
    exceptions::Exceptions,
    lane::Lane,
    lane_id::LaneId,
    marks::Marks,
    written::Written,
};
use crate::{footprint::Values, wire::name::CustomId};

/// The former contents of a log, to be freed where nobody waits for it. If you drop it, everything that is left is
/// freed at once.
#[derive(Default)]
pub(crate) struct Remains {
    /// The number of events.
    pub(crate) events: u64,
    lanes: Vec<Lane>,
    of_clients: Option<Values<ClientLane>>,
    ids: Vec<hash_map::IntoIter<CustomId, LaneId>>,
    marks: Vec<Marks>,
    exceptions: Option<Box<Exceptions>>,
    written: Vec<Written>,
}

impl Remains {
    pub(super) fn new(events: usize, broadcasts: Lane) -> Self {
        let mut remains = Self { events: u64::try_from(events).unwrap_or(u64::MAX), ..Self::default() };
        remains.add_lane(broadcasts);
        remains
    }

    pub(super) fn add_lane(&mut self, lane: Lane) {
        if !lane.is_empty() {
            self.lanes.push(lane);
        }
    }

    /// Takes what is to be freed of a log's clients. Returns what to remember of them.
    pub(super) fn take(&mut self, mut clients: Clients) -> Option<Box<Marks>> {
        self.add_ids(clients.take_ids());
        let (marks, lanes) = clients.bury();
        self.of_clients = Some(lanes.into_values());
        if marks.says_something() {
            return Some(Box::new(marks));
        }
        self.add(marks);
        None
    }

    pub(super) fn add_ids(&mut self, ids: Option<Box<IdLanes>>) {
        self.ids.extend(ids.map(|ids| ids.into_entries()));
    }

    /// Adds the log's exceptions.
    pub(super) fn add_exceptions(&mut self, exceptions: Option<Box<Exceptions>>) {
        self.exceptions = exceptions;
    }

    /// Adds the events' idempotency keys.
    pub(super) fn add_written(&mut self, written: Written) {
        if written.holds_keys() {
            self.written.push(written);
        }
    }

    /// Adds what was remembered of clients.
    pub(crate) fn add(&mut self, marks: Marks) {
        self.marks.push(marks);
    }

    /// Returns `None` if there is nothing to free, as with most logs that are dropped.
    pub(crate) fn into_box(self) -> Option<Box<Self>> {
        let is_nothing =
            self.lanes.is_empty() && self.of_clients.is_none() && self.ids.is_empty() && self.marks.is_empty();
        let is_nothing = is_nothing && self.exceptions.is_none() && self.written.is_empty();
        (!is_nothing).then(|| Box::new(self))
    }

    /// Frees about `most` pieces of memory. Returns whether there is more.
    pub(crate) fn free_some(&mut self, mut most: usize) -> bool {
        while most > 0 {
            // This counts the lane, or the marks, themselves.
            most -= 1;
            if let Some(mut lane) = self.next_lane() {
                if !lane.free_some(&mut most) {
                    self.lanes.push(lane);
                }
            } else if let Some(ids) = self.ids.last_mut() {
                if ids.next().is_none() {
                    self.ids.pop();
                }
            } else if let Some(mut marks) = self.marks.pop() {
                if !marks.free_some(&mut most) {
                    self.marks.push(marks);
                }
            } else if let Some(exceptions) = &mut self.exceptions {
                if exceptions.free_some(&mut most) {
                    self.exceptions = None;
                }
            } else if let Some(mut written) = self.written.pop() {
                if !written.free_some(&mut most) {
                    self.written.push(written);
                }
            } else {
                return false;
            }
        }
        true
    }

    fn next_lane(&mut self) -> Option<Lane> {
        let of_clients = &mut self.of_clients;
        self.lanes.pop().or_else(|| of_clients.as_mut()?.next().map(ClientLane::into_lane))
    }
}
