//! The state that a channel has beside its log and its readers, if its log lives elsewhere or if a task waits for it
//! to be unread.

use tokio::time::Instant;

use super::State;
use crate::{
    backend::Progress,
    hub::{
        coverage::Coverage,
        vigil::{Tidings, Vigil},
    },
    log::View,
    wire::cursor::{Cursor, Epoch, Offset},
};

/// The state that only some channels have.
#[derive(Default)]
pub(crate) struct Beside {
    /// How much of the log is here, if it lives elsewhere.
    coverage: Option<Coverage>,
    /// Set if a task waits for the channel to be unread.
    vigil: Option<Box<Vigil>>,
}

impl Beside {
    pub(super) fn of(coverage: Coverage) -> Box<Self> {
        Box::new(Self { coverage: Some(coverage), vigil: None })
    }

    /// Returns how many bytes this takes from the allocator, not counting events that arrived early.
    pub(super) fn own_footprint(&self) -> usize {
        size_of::<Self>() + self.vigil.as_ref().map_or(0, |_| Vigil::FOOTPRINT)
    }

    pub(super) fn footprint_of_early(&self) -> usize {
        self.coverage.as_ref().map_or(0, Coverage::footprint_of_early)
    }
}

impl State {
    /// Returns how much of the log is here, if it lives elsewhere.
    #[inline]
    pub(crate) fn coverage(&self) -> Option<&Coverage> {
        self.beside.as_ref()?.coverage.as_ref()
    }

    #[inline]
    pub(crate) fn coverage_mut(&mut self) -> Option<&mut Coverage> {
        self.beside.as_mut()?.coverage.as_mut()
    }

    /// Makes the log a copy of one that lives elsewhere.
    #[cfg(test)]
    pub(crate) fn cover(&mut self, coverage: Coverage) {
        self.beside.get_or_insert_default().coverage = Some(coverage);
    }

    /// Returns the vigil, if a task waits for the channel to be unread.
    pub(in crate::hub) fn vigil(&self) -> Option<&Vigil> {
        self.beside.as_ref()?.vigil.as_deref()
    }

    /// Registers one more task that waits for the channel to be unread.
    pub(in crate::hub) fn keep_vigil(&mut self) -> &Vigil {
        let live = self.readers.live();
        let vigil = self.beside.get_or_insert_default().vigil.get_or_insert_with(|| Box::new(Vigil::new(live)));
        vigil.waiting += 1;
        vigil
    }

    /// Unregisters one of the tasks.
    pub(in crate::hub) fn end_vigil(&mut self) {
        let Some(beside) = &mut self.beside else { return };
        beside.vigil.iter_mut().for_each(|vigil| vigil.waiting -= 1);
        beside.vigil.take_if(|vigil| vigil.waiting == 0);
        self.beside.take_if(|beside| beside.coverage.is_none() && beside.vigil.is_none());
    }

    /// Returns what notifies the tasks that wait for the channel to be unread, if a change concerns them.
    pub(super) fn see(&mut self) -> Option<Tidings> {
        let (live, dropped) = (self.readers.live(), self.dropped);
        self.beside.as_mut()?.vigil.as_mut()?.see(live, dropped)
    }

    /// Returns whether the side that brings the events keeps the channel. That side then drops it in its own time.
    pub(crate) fn is_wanted(&self) -> bool {
        self.coverage().is_some_and(|coverage| coverage.wanted)
    }

    /// Returns whether the log lives here, or is loaded and of this epoch.
    pub(crate) fn is_of(&self, epoch: Epoch) -> bool {
        self.coverage().is_none_or(|coverage| coverage.loaded && coverage.epoch == epoch)
    }

    /// Returns whether the log is of another epoch than a reader's cursor.
    pub(crate) fn is_of_another(&self, epoch: Epoch) -> bool {
        self.coverage().is_some_and(|coverage| coverage.epoch != epoch)
    }

    /// Returns the place where a reader with a cursor of another epoch continues, once the log is loaded. This is
    /// after what the reader has, if the offsets of that epoch continue in the log, and otherwise the start.
    pub(crate) fn place_of(&self, cursor: Cursor) -> Option<Cursor> {
        let coverage = self.coverage().filter(|coverage| coverage.loaded)?;
        let offset = coverage.translate(cursor).unwrap_or(Offset::START);
        Some(Cursor { epoch: coverage.epoch, offset })
    }

    /// Returns the epoch of a log that was loaded from elsewhere, or `None` as long as it is not loaded.
    pub(crate) fn loaded(&self) -> Option<Epoch> {
        self.coverage().filter(|coverage| coverage.loaded).map(|coverage| coverage.epoch)
    }

    /// Returns when something last arrived for a log that is not loaded yet.
    pub(crate) fn last_progress(&self) -> Option<Instant> {
        let coverage = self.coverage().filter(|coverage| !coverage.loaded)?;
        coverage.progress.as_ref().map(Progress::last)
    }

    /// Returns the offset up to which everything is in the log, or was, no matter what was lost on the way here.
    pub(crate) fn whole_up_to(&self) -> Offset {
        self.coverage().map_or(Offset::START, |coverage| coverage.whole_up_to())
    }

    /// Returns the offset up to which readers of several channels may go, if something is known to be missing at the end of
    /// the log. See [`Coverage::limit`].
    pub(crate) fn limit(&self) -> Option<Offset> {
        self.coverage()?.limit()
    }

    /// Returns whether the channel takes no more events. The last one may still be on its way here.
    pub(crate) fn is_finishing(&self) -> bool {
        self.log.is_finished() || self.coverage().is_some_and(|coverage| coverage.is_finishing())
    }

    /// Returns how many times events arrived late.
    pub(crate) fn times_late(&self) -> u16 {
        self.coverage().map_or(0, |coverage| coverage.times_late())
    }

    /// Returns whether a reader has passed events that arrived late. See [`Coverage::has_passed_late`].
    pub(crate) fn has_passed_late(&self, view: View<'_>, seen: u16, told: Offset, cursor: Offset) -> bool {
        let coverage = self.coverage();
        coverage.is_some_and(|coverage| coverage.has_passed_late(&self.log, view, seen, told, cursor))
    }
}
