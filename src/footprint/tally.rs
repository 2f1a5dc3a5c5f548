//! Counts how much a hub takes from the allocator, as that changes.

// Nothing that loom explores depends on these counts.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a part of a hub takes from the allocator, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Footprint {
    pub(crate) all: usize,
    /// The part that stays as long as its readers do, whatever is evicted.
    pub(crate) pinned: usize,
    /// The part that remembers clients whose events were evicted.
    pub(crate) marks: usize,
    /// The part that holds ephemeral events.
    pub(crate) ephemeral: usize,
}

/// The parts of a [`Footprint`] in little room, of a channel: they are bounded far below 4 GiB, and more than that is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    pinned: u32,
    marks: u32,
    ephemeral: u32,
}

impl Parts {
    pub(crate) fn of(footprint: Footprint) -> Self {
        let part = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { pinned: part(footprint.pinned), marks: part(footprint.marks), ephemeral: part(footprint.ephemeral) }
    }

    /// With what all of it comes to.
    pub(crate) fn in_all(self, all: usize) -> Footprint {
        let part = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Footprint { all, pinned: part(self.pinned), marks: part(self.marks), ephemeral: part(self.ephemeral) }
    }
}

/// The sums over all parts of a hub. Each part reports what it took before and takes now.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    all: AtomicUsize,
    pinned: AtomicUsize,
    marks: AtomicUsize,
    ephemeral: AtomicUsize,
    /// The number of channels.
    pub(crate) channels: AtomicUsize,
    /// The number of other parts that have marks.
    holders: AtomicUsize,
    /// The most bytes that all marks together may take.
    max_marks: usize,
}

impl Tally {
    pub(crate) fn new(max_marks: usize) -> Self {
        Self { max_marks, ..Self::default() }
    }

    pub(crate) fn change(&self, before: Footprint, after: Footprint) {
        add(&self.all, before.all, after.all);
        add(&self.pinned, before.pinned, after.pinned);
        add(&self.marks, before.marks, after.marks);
        add(&self.ephemeral, before.ephemeral, after.ephemeral);
    }

    /// Changes only the sum of everything.
    pub(crate) fn change_all(&self, before: usize, after: usize) {
        add(&self.all, before, after);
    }

    /// Changes what readers take, which stays as long as they do.
    pub(crate) fn change_pinned(&self, before: usize, after: usize) {
        add(&self.all, before, after);
        add(&self.pinned, before, after);
    }

    /// Counts one more part that has marks.
    pub(crate) fn add_holder(&self) {
        self.holders.fetch_add(1, Relaxed);
    }

    pub(crate) fn remove_holder(&self) {
        self.holders.fetch_sub(1, Relaxed);
    }

    pub(crate) fn all(&self) -> usize {
        self.all.load(Relaxed)
    }

    pub(crate) fn pinned(&self) -> usize {
        self.pinned.load(Relaxed)
    }

    pub(crate) fn ephemeral(&self) -> usize {
        self.ephemeral.load(Relaxed)
    }

    /// Returns whether all marks together take more than they may.
    pub(crate) fn has_too_many_marks(&self) -> bool {
        self.marks.load(Relaxed) > self.max_marks
    }

    /// Returns the share that a part's marks may take while there are too many. So a part can make another one forget
    /// only what that has beyond its share.
    pub(crate) fn share_of_marks(&self) -> usize {
        self.max_marks / (self.channels.load(Relaxed) + self.holders.load(Relaxed)).max(1)
    }
}

fn add(sum: &AtomicUsize, before: usize, after: usize) {
    if before != after {
        // The sum wraps as the difference does.
        sum.fetch_add(after.wrapping_sub(before), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_change_and_go() {
        let tally = Tally::new(100);
        let part = |all, pinned, marks| Footprint { all, pinned, marks, ephemeral: 0 };
        tally.change(Footprint::default(), part(70, 20, 30));
        tally.change(Footprint::default(), part(500, 0, 80));
        tally.channels.fetch_add(1, Relaxed);
        tally.add_holder();
        assert_eq!(
            (tally.all(), tally.pinned(), tally.has_too_many_marks(), tally.share_of_marks()),
            (570, 20, true, 50)
        );
        tally.change(part(500, 0, 80), part(400, 7, 50));
        tally.change_all(10, 5);
        assert_eq!((tally.all(), tally.pinned(), tally.has_too_many_marks()), (465, 27, false));
        tally.change(part(400, 7, 50), Footprint::default());
        tally.remove_holder();
        assert_eq!((tally.all(), tally.pinned(), tally.share_of_marks()), (65, 20, 100));
    }
}
