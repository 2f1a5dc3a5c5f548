//! Tells what a reader has missed of a log, and which events it must not see.

use super::{Log, behind, lane::Lane, lane_id::LaneId, read::View};
use crate::wire::{cursor::Offset, except::Except, name::CustomId};

impl Log {
    /// Notes that the next event, which goes into this lane and gets this offset, excludes some readers of the lane.
    pub(crate) fn exclude(&mut self, lane: LaneId, offset: Offset, except: Box<Except>) {
        let previous = self.lane(lane).map_or(Offset::START, Lane::evicted_with_all);
        self.rare.get_or_insert_default().exceptions.get_or_insert_default().insert(offset, previous, except);
    }

    /// Returns whether any known event excludes some readers of its lane.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.exceptions().is_some()
    }

    /// Returns the highest offset in `view` that is no longer held.
    pub(crate) fn missed(&self, view: View<'_>) -> Offset {
        let missed = |mut missed| {
            while let Some(previous) = self.before_excluded(missed, view) {
                missed = previous;
            }
            missed
        };
        let own = self.own(view).map_or_else(|| self.mark_of(view), Lane::evicted);
        missed(self.broadcast.evicted()).max(missed(own))
    }

    /// Returns the highest offset that is no longer held of a client that has no lane.
    fn mark_of(&self, view: View<'_>) -> Offset {
        let known = view.name.zip(self.clients.as_ref());
        known.map_or(Offset::START, |(name, clients)| clients.marks.of_client(name))
    }

    /// Returns the highest offset in `view` that is no longer history. The event may still be held for connected
    /// readers.
    pub(crate) fn missed_by_newcomers(&self, view: View<'_>) -> Offset {
        let before = self.before_history();
        if before == Offset::START {
            return self.missed(view);
        }
        let held = |lane: &Lane| {
            let mut last = lane.newest_before(behind(before)).next().map(|held| held.offset);
            while let Some(previous) = last.and_then(|last| self.before_excluded(last, view)) {
                last = Some(previous);
            }
            last.unwrap_or_default()
        };
        held(&self.broadcast).max(self.own(view).map_or(Offset::START, held)).max(self.missed(view))
    }

    /// Returns an offset that no offset exceeds that is no longer held, whoever the event was for.
    pub(crate) fn missed_by_anyone(&self, lane: Option<LaneId>) -> Offset {
        let own = lane.and_then(|lane| self.lane(lane)).map_or(Offset::START, Lane::evicted);
        self.broadcast.evicted().max(own)
    }

    /// If the event with this offset is in the lanes of `view` but excludes its reader, returns the offset of the event
    /// before it in its lane.
    pub(super) fn before_excluded(&self, offset: Offset, view: View<'_>) -> Option<Offset> {
        self.exceptions()?.before(offset, self.who(view))
    }

    /// Returns the offsets of the held events in `view` with this custom id: at most one in each lane.
    pub(crate) fn find(&self, view: View<'_>, id: &CustomId) -> impl Iterator<Item = Offset> {
        self.find_all(view.client, id).filter(move |found| self.before_excluded(*found, view).is_none())
    }

    /// Like [`find`](Self::find), but includes events that exclude the reader.
    pub(super) fn find_all(&self, client: Option<LaneId>, id: &CustomId) -> impl Iterator<Item = Offset> + use<> {
        let own = client.and_then(|lane| self.lane(lane)).and_then(|lane| lane.find(id));
        self.broadcast.find(id).into_iter().chain(own)
    }
}
