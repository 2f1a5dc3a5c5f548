//! What only some readers have, in a box of its own. The hub counts what it takes from the allocator as it changes.

use super::{Life, Subscription, expiry::Expiry};
use crate::wire::notice::Gap;

#[derive(Default)]
pub(super) struct Aside {
    /// A gap to deliver before anything else.
    pub(super) gap: Option<Gap>,
    pub(super) expires: Expiry,
    /// The record for those who watch. `None` if nobody does.
    pub(super) life: Option<Box<Life>>,
}

impl Aside {
    fn has_something(&self) -> bool {
        self.gap.is_some() || self.life.is_some() || !matches!(self.expires, Expiry::Never)
    }

    /// Returns how many bytes it takes from the allocator.
    fn footprint(&self) -> usize {
        let gap = self.gap.as_ref().and_then(|gap| gap.requested.as_ref()).map_or(0, String::capacity);
        let life = self.life.as_ref().map_or(0, |life| life.footprint());
        size_of::<Self>() + gap + self.expires.footprint() + life
    }
}

impl Subscription {
    /// Changes what the reader has in its box. The box exists only as long as there is something in it.
    pub(super) fn change_aside<T>(&mut self, change: impl FnOnce(&mut Aside) -> T) -> T {
        let before = self.footprint_of_aside();
        let changed = change(self.aside.get_or_insert_default());
        self.aside.take_if(|aside| !aside.has_something());
        self.hub.ledger.tally.change_pinned(before, self.footprint_of_aside());
        changed
    }

    fn footprint_of_aside(&self) -> usize {
        self.aside.as_ref().map_or(0, |aside| aside.footprint())
    }
}
