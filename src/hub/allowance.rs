//! How many streams each of those has open who may have only so many.

use std::sync::Arc;

use crate::{
    footprint::{Table, Tally},
    sync::{AtomicBool, Mutex, Ordering, lock},
};

/// How many streams somebody may have open, on all channels together.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    /// Who: the same text wherever it is counted.
    pub(crate) holder: Arc<str>,
    pub(crate) max: usize,
}

/// The streams that are open here under an allowance.
pub(crate) struct Allowances {
    open: Mutex<Table<Arc<str>, usize>>,
    tally: Arc<Tally>,
    elsewhere: Option<Arc<dyn CountedElsewhere>>,
}

/// A place where streams are counted too.
pub(crate) trait CountedElsewhere: Send + Sync {
    /// Called when a stream has given back its place here.
    fn gave_back(&self, all: &Arc<Allowances>, holder: &Arc<str>);
}

/// A stream that is open under an allowance. Dropping it gives the place back.
pub(crate) struct Allowed {
    all: Arc<Allowances>,
    holder: Arc<str>,
    given_back: AtomicBool,
}

impl Allowances {
    pub(crate) fn new(tally: Arc<Tally>, elsewhere: Option<Arc<dyn CountedElsewhere>>) -> Self {
        Self { open: Mutex::new(Table::default()), tally, elsewhere }
    }

    /// Takes a place for one more stream. Returns `None` if there is none left here.
    pub(crate) fn take(self: &Arc<Self>, Allowance { holder, max }: &Allowance) -> Option<Allowed> {
        let mut open = lock(&self.open);
        let before = open.footprint();
        match open.get_mut(holder) {
            Some(count) if *count >= *max => return None,
            Some(count) => *count += 1,
            None if *max == 0 => return None,
            None => _ = open.insert(holder.clone(), 1),
        }
        self.tally.change_pinned(before, open.footprint() + footprint(holder));
        Some(Allowed { all: self.clone(), holder: holder.clone(), given_back: AtomicBool::new(false) })
    }

    /// Returns how many streams a holder has open here.
    pub(crate) fn open_of(&self, holder: &str) -> usize {
        lock(&self.open).get(holder).copied().unwrap_or(0)
    }

    /// Returns how many streams each holder has open here.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, usize)> {
        lock(&self.open).iter().map(|(holder, count)| (holder.clone(), *count)).collect()
    }

    fn give_back(self: &Arc<Self>, holder: &Arc<str>) {
        let mut open = lock(&self.open);
        let before = open.footprint() + footprint(holder);
        if let Some(count) = open.get_mut(&**holder) {
            *count -= 1;
            if *count == 0 {
                open.remove(&**holder);
            }
        }
        self.tally.change_pinned(before, open.footprint());
        drop(open);
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.gave_back(self, holder);
        }
    }
}

/// What a stream under an allowance takes from the allocator.
fn footprint(holder: &str) -> usize {
    size_of::<Allowed>() + 2 * size_of::<usize>() + holder.len()
}

impl Allowed {
    /// Gives the place back. Only the first call counts.
    pub(crate) fn give_back(&self) {
        if !self.given_back.swap(true, Ordering::AcqRel) {
            self.all.give_back(&self.holder);
        }
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_holder_has_as_many_places_as_it_may_and_gets_each_back_once() {
        let tally = Arc::new(Tally::default());
        let all = Arc::new(Allowances::new(tally.clone(), None));
        let of = |holder: &str, max| Allowance { holder: holder.into(), max };
        let [one, two] = [(); 2].map(|()| all.take(&of("ana", 2)).unwrap());
        assert!(all.take(&of("ana", 2)).is_none() && all.take(&of("bob", 0)).is_none());
        let other = all.take(&of("bob", 1)).unwrap();
        assert_eq!((all.open_of("ana"), all.open_of("bob"), all.open_of("cyd")), (2, 1, 0));
        assert!(tally.pinned() > 3 * size_of::<Allowed>());
        one.give_back();
        one.give_back();
        assert_eq!(all.open_of("ana"), 1);
        let three = all.take(&of("ana", 2)).unwrap();
        drop((one, two, three, other));
        assert_eq!((all.all(), tally.pinned(), tally.all()), (Vec::new(), 0, 0));
    }
}
