//! The events of a channel that arrive while the channel is being read from elsewhere. They follow what the read
//! brings.
//!
//! Without them, a channel that gets an event during each read would have to be read again each time.

use std::collections::VecDeque;

use crate::{
    backend::{Entry, Held},
    footprint::Elastic,
    wire::{
        cursor::Offset,
        name::{ClientId, CustomId},
    },
};

/// The number of events that are kept. The next read brings the others.
const MOST: usize = 1_024;

/// The first events that have arrived since a read began.
#[derive(Default)]
pub(crate) struct Early {
    entries: VecDeque<Entry>,
    /// What the entries take from the allocator, apart from their places here.
    owned: usize,
}

impl Early {
    /// Keeps an event, unless `room` bytes are taken already or there are too many events.
    pub(crate) fn keep(&mut self, entry: Entry, room: usize) {
        if self.entries.len() >= MOST || self.footprint() >= room {
            return;
        }
        self.owned += entry.bytes.len();
        self.owned += entry.client.as_ref().map_or(0, ClientId::heap) + entry.id.as_ref().map_or(0, CustomId::heap);
        self.entries.make_room();
        self.entries.push_back(entry);
    }

    /// Appends to a read the events that follow it, up to the first one that is missing. The log had everything up to
    /// `tail` before. Returns the channel's last event after that.
    pub(crate) fn follow(self, held: &mut Held, tail: Offset) -> Offset {
        let mut last = held.entries.last().map_or(held.head, |entry| held.head.max(entry.offset)).max(tail);
        // The read covers everything up to its level.
        for entry in self.entries.into_iter().filter(|entry| entry.offset > held.level) {
            if entry.previous > last {
                break;
            }
            if entry.offset > last {
                last = entry.offset;
                held.entries.push(entry);
            }
        }
        last
    }

    /// Returns how many bytes the events take from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>() + self.entries.footprint() + self.owned
    }
}
