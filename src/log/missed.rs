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
        let own = self.own(view).map_or_else(|| self.mark_of(view), Lane::evicted);
        let broadcast = self.last_shown(self.broadcast.evicted(), Offset::START, view);
        broadcast.max(self.last_shown(own, self.mark_of_others(), view))
    }

    /// Returns the offset of the last event of a lane of `view`, up to the one at `last`, that does not exclude the
    /// reader. An event that is not above `others` may be one of another lane.
    fn last_shown(&self, last: Offset, others: Offset, view: View<'_>) -> Offset {
        self.exceptions().map_or(last, |exceptions| exceptions.last_shown(last, others, self.who(view)))
    }

    /// Returns the mark that stands for all clients without one of their own. The event there may be any client's.
    fn mark_of_others(&self) -> Offset {
        self.clients.as_ref().map_or(Offset::START, |clients| clients.marks.others())
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
        let held = |lane: &Lane, others| {
            let last = lane.newest_before(behind(before)).next().map(|held| held.offset);
            self.last_shown(last.unwrap_or_default(), others, view)
        };
        let own = self.own(view).map_or(Offset::START, |lane| held(lane, self.mark_of_others()));
        held(&self.broadcast, Offset::START).max(own).max(self.missed(view))
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        log::{Retention, Tombstone},
        wire::{
            cursor::{Cursor, Epoch},
            encode::Draft,
            event::Event,
            name::ClientId,
        },
    };

    const ANA: ClientId = ClientId::from_static("ana");
    const BOB: ClientId = ClientId::from_static("bob");

    fn append(log: &mut Log, lane: LaneId, offset: u64, now: Instant) {
        let cursor = Cursor { epoch: Epoch::from_bits(1), offset: Offset::new(offset) };
        let (event, _) = Draft::new(Event::text("x"), cursor.offset).seal(cursor);
        log.append(lane, &event, None, now);
    }

    #[test]
    fn a_mark_of_all_others_hides_no_loss_of_a_reader_that_its_event_excludes() {
        let now = Instant::now();
        let mut log = Log::new(Retention::new(), Tombstone::default(), now);
        let [bob, ana] = [BOB, ANA].map(|client| log.lane_for(&client, usize::MAX).unwrap());
        append(&mut log, bob, 1, now);
        log.exclude(ana, Offset::new(2), Except { client: Some(BOB), ..Except::default() }.into());
        append(&mut log, ana, 2, now);
        while log.evict() {}
        // Both clients are forgotten, and the higher of their marks is that of Ana's event.
        while log.clients.as_mut().is_some_and(|clients| clients.forget_mark()) {}
        assert_eq!(log.missed(log.view_for(Some(&BOB))), Offset::new(2), "an event for Bob is gone");
        let lane = log.lane_for(&BOB, usize::MAX).ok();
        assert_eq!(log.missed(View::of(lane)), Offset::new(2));
        // His own events that exclude him are no loss.
        let own = Except { client: Some(BOB), ..Except::default() };
        log.exclude(lane.unwrap(), Offset::new(3), own.into());
        append(&mut log, lane.unwrap(), 3, now);
        while log.evict() {}
        assert_eq!(log.missed(log.view_for(Some(&BOB))), Offset::new(2));
        assert_eq!(log.missed(View::EVERYBODY), Offset::START);
        let (tombstone, _) = log.bury();
        assert_eq!(tombstone.read(Some(&BOB)).missed, Offset::new(2));
    }
}
