//! The custom ids of a lane's events.

use std::collections::VecDeque;

use crate::{
    footprint::{Elastic as _, Table},
    wire::{cursor::Offset, name::CustomId},
};

#[derive(Default)]
pub(super) struct CustomIds {
    by_id: Table<CustomId, Offset>,
    /// In the order of the events.
    held: VecDeque<(Offset, CustomId)>,
    /// The bytes that the texts take from the allocator.
    texts: usize,
}

impl CustomIds {
    pub(super) fn insert(&mut self, id: CustomId, offset: Offset) {
        self.texts += id.heap();
        self.by_id.insert(id.clone(), offset);
        self.held.make_room();
        self.held.push_back((offset, id));
    }

    pub(super) fn get(&self, id: &CustomId) -> Option<Offset> {
        self.by_id.get(id).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Forgets the oldest id if its event had this offset. Returns the id, unless a later event has the same one.
    pub(super) fn forget(&mut self, evicted: Offset) -> Option<CustomId> {
        self.held.front().filter(|(offset, _)| *offset <= evicted)?;
        let forgotten = self.forget_oldest();
        self.held.give_back();
        forgotten
    }

    fn forget_oldest(&mut self) -> Option<CustomId> {
        let (offset, id) = self.held.pop_front()?;
        self.texts -= id.heap();
        // A later event may have the same id.
        self.by_id.get(&id).filter(|last| **last == offset)?;
        self.by_id.remove(&id);
        Some(id)
    }

    /// Frees at most `most` ids, and counts `most` down. Returns whether none are left.
    pub(super) fn free_some(&mut self, most: &mut usize) -> bool {
        while *most > 0 && !self.is_empty() {
            drop(self.forget_oldest());
            *most -= 1;
        }
        self.is_empty()
    }

    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.by_id.footprint() + self.held.footprint() + self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> CustomId {
        CustomId::try_from(format!("id.{n}")).unwrap()
    }

    #[test]
    fn ids_go_with_their_events_and_leave_no_memory() {
        let mut ids = CustomIds::default();
        (1..=1_000).for_each(|n| ids.insert(id(n), Offset::new(2 * n)));
        let full = ids.footprint();
        assert_eq!((ids.get(&id(7)), ids.texts), (Some(Offset::new(14)), 1_000 * 24));
        // An id that is used again after its first event was hidden.
        ids.insert(id(1), Offset::new(3_000));
        let forgotten: Vec<_> = (1..=2_000).filter_map(|evicted| ids.forget(Offset::new(evicted))).collect();
        assert_eq!((forgotten.len(), &forgotten[0]), (999, &id(2)), "the first is that of a later event");
        assert_eq!((ids.get(&id(1)), ids.get(&id(2))), (Some(Offset::new(3_000)), None));
        assert!(!ids.is_empty() && ids.footprint() < full / 50);
        assert_eq!(ids.forget(Offset::new(3_000)), Some(id(1)));
        assert!(ids.is_empty() && ids.get(&id(1)).is_none() && ids.texts == 0);
    }

    #[test]
    fn ids_are_freed_a_few_at_a_time() {
        let mut ids = CustomIds::default();
        (1..=10).for_each(|n| ids.insert(id(n), Offset::new(n)));
        let mut free_some = |mut most| (ids.free_some(&mut most), most);
        assert_eq!([free_some(4), free_some(4), free_some(4)], [(false, 0), (false, 0), (true, 2)]);
    }
}
