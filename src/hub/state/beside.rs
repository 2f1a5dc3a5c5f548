//! What a channel has beside its log and its readers, if its log lives elsewhere or if somebody waits for it to be unread.

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
    /// How much of the log is here, where it lives elsewhere.
    coverage: Option<Coverage>,
    /// If somebody waits for the channel to be unread.
    vigil: Option<Box<Vigil>>,
}

impl Beside {
    pub(super) fn of(coverage: Coverage) -> Box<Self> {
        Box::new(Self { coverage: Some(coverage), vigil: None })
    }

    /// How many bytes it takes from the allocator, but for events that arrived early.
    pub(super) fn own_footprint(&self) -> usize {
        size_of::<Self>() + self.vigil.as_ref().map_or(0, |_| Vigil::FOOTPRINT)
    }

    pub(super) fn footprint_of_early(&self) -> usize {
        self.coverage.as_ref().map_or(0, Coverage::footprint_of_early)
    }
}

impl State {
    /// How much of the log is here, where it lives elsewhere.
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

    /// If somebody waits for it to be unread.
    pub(in crate::hub) fn vigil(&self) -> Option<&Vigil> {
        self.beside.as_ref()?.vigil.as_deref()
    }

    /// One more waits for it to be unread.
    pub(in crate::hub) fn keep_vigil(&mut self) -> &Vigil {
        let live = self.readers.live();
        let vigil = self.beside.get_or_insert_default().vigil.get_or_insert_with(|| Box::new(Vigil::new(live)));
        vigil.waiting += 1;
        vigil
    }

    /// One fewer does.
    pub(in crate::hub) fn end_vigil(&mut self) {
        let Some(beside) = &mut self.beside else { return };
        beside.vigil.iter_mut().for_each(|vigil| vigil.waiting -= 1);
        beside.vigil.take_if(|vigil| vigil.waiting == 0);
        self.beside.take_if(|beside| beside.coverage.is_none() && beside.vigil.is_none());
    }

    /// What those who wait for it to be unread are to be told after a change.
    pub(super) fn see(&mut self) -> Option<Tidings> {
        let (live, dropped) = (self.readers.live(), self.dropped);
        self.beside.as_mut()?.vigil.as_mut()?.see(live, dropped)
    }

    /// Whoever brings its events keeps it up, and drops it in its own time.
    pub(crate) fn is_wanted(&self) -> bool {
        self.coverage().is_some_and(|coverage| coverage.wanted)
    }

    /// The log is here, or is loaded and of this epoch.
    pub(crate) fn is_of(&self, epoch: Epoch) -> bool {
        self.coverage().is_none_or(|coverage| coverage.loaded && coverage.epoch == epoch)
    }

    /// The log is of another epoch than a reader's cursor.
    pub(crate) fn is_of_another(&self, epoch: Epoch) -> bool {
        self.coverage().is_some_and(|coverage| coverage.epoch != epoch)
    }

    /// Where a reader with a cursor of another epoch goes on, once the log is loaded: after what it has, if the offsets go on from
    /// that epoch, and otherwise at the start.
    pub(crate) fn place_of(&self, cursor: Cursor) -> Option<Cursor> {
        let coverage = self.coverage().filter(|coverage| coverage.loaded)?;
        let offset = coverage.translate(cursor).unwrap_or(Offset::START);
        Some(Cursor { epoch: coverage.epoch, offset })
    }

    /// The epoch of a log that is loaded from elsewhere; `None` as long as it is not.
    pub(crate) fn loaded(&self) -> Option<Epoch> {
        self.coverage().filter(|coverage| coverage.loaded).map(|coverage| coverage.epoch)
    }

    /// When something came last of a log that is not loaded yet.
    pub(crate) fn last_progress(&self) -> Option<Instant> {
        let coverage = self.coverage().filter(|coverage| !coverage.loaded)?;
        coverage.progress.as_ref().map(Progress::last)
    }

    /// Everything up to here is in the log, or was, whatever got lost on the way here.
    pub(crate) fn whole_up_to(&self) -> Offset {
        self.coverage().map_or(Offset::START, |coverage| coverage.whole_up_to())
    }

    /// It takes no more events, though the last may be on its way here.
    pub(crate) fn is_finishing(&self) -> bool {
        self.log.is_finished() || self.coverage().is_some_and(|coverage| coverage.is_finishing())
    }

    /// How often events came late.
    pub(crate) fn times_late(&self) -> u16 {
        self.coverage().map_or(0, |coverage| coverage.times_late())
    }

    /// Whether a reader has passed what came late: see [`Coverage::has_passed_late`].
    pub(crate) fn has_passed_late(&self, view: View<'_>, seen: u16, told: Offset, cursor: Offset) -> bool {
        let coverage = self.coverage();
        coverage.is_some_and(|coverage| coverage.has_passed_late(&self.log, view, seen, told, cursor))
    }
}
