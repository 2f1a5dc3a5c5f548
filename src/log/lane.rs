//! One lane of a channel's log: the broadcasts, or the events of one client.

use std::collections::{HashMap, VecDeque};

use crate::{
    cursor::Offset,
    encode::EncodedEvent,
    name::{ClientId, CustomId},
};

/// The events of a lane that are held, and what is known of those that are not.
#[derive(Default)]
pub(super) struct Lane {
    /// By offset, ascending.
    held: VecDeque<Held>,
    /// The highest offset that was evicted: below it a reader may have missed something.
    evicted: Offset,
    /// The custom ids among the held events, if there are any: few channels have one.
    custom: Option<Box<CustomIds>>,
    /// Whose it is; nobody's is the broadcast lane, or a free place.
    pub(super) client: Option<ClientId>,
    /// How many readers have it open. A lane with a reader keeps its place.
    pub(super) readers: u32,
}

struct Held {
    event: EncodedEvent,
    /// In the log's milliseconds.
    at: u64,
}

#[derive(Default)]
struct CustomIds {
    by_id: HashMap<CustomId, Offset>,
    /// In the order of their events.
    held: VecDeque<(Offset, CustomId)>,
}

impl CustomIds {
    /// Forgets the id of the oldest event, if that is the one that had this offset.
    fn forget(&mut self, evicted: Offset) {
        if self.held.front().is_some_and(|(offset, _)| *offset == evicted)
            && let Some((_, id)) = self.held.pop_front()
        {
            self.by_id.remove(&id);
        }
    }
}

impl Lane {
    pub(super) fn new(client: Option<ClientId>, evicted: Offset) -> Self {
        Self { client, evicted, ..Self::default() }
    }

    pub(super) fn push(&mut self, event: EncodedEvent, custom: Option<CustomId>, at: u64) {
        if let Some(id) = custom {
            let custom = self.custom.get_or_insert_default();
            custom.by_id.insert(id.clone(), event.offset());
            custom.held.push_back((event.offset(), id));
        }
        self.held.push_back(Held { event, at });
    }

    /// Forgets the oldest event, and remembers that it did.
    pub(super) fn evict(&mut self) -> Option<EncodedEvent> {
        let event = self.held.pop_front()?.event;
        self.evicted = event.offset();
        if let Some(custom) = &mut self.custom {
            custom.forget(self.evicted);
            if custom.held.is_empty() {
                self.custom = None;
            }
        }
        if self.held.is_empty() {
            // An idle lane costs no more than a new one.
            self.held = VecDeque::new();
        }
        Some(event)
    }

    pub(super) fn evicted(&self) -> Offset {
        self.evicted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.held.front().map(|held| held.at)
    }

    pub(super) fn find(&self, id: &CustomId) -> Option<Offset> {
        self.custom.as_ref()?.by_id.get(id).copied()
    }

    /// The held events after `offset`, oldest first.
    pub(super) fn after(&self, offset: Offset) -> impl Iterator<Item = &EncodedEvent> {
        self.held.range(self.first_after(offset)..).map(|held| &held.event)
    }

    /// All held events, newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &EncodedEvent> {
        self.held.iter().rev().map(|held| &held.event)
    }

    /// The index of the first event after `offset`. Most readers are level or miss one: they need no search.
    fn first_after(&self, offset: Offset) -> usize {
        let len = self.held.len();
        let is_read = |index: usize| self.held[index].event.offset() <= offset;
        if len == 0 || is_read(len - 1) {
            len
        } else if len == 1 || is_read(len - 2) {
            len - 1
        } else {
            self.held.partition_point(|held| held.event.offset() <= offset)
        }
    }
}
