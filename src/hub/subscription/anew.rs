//! A subscription whose log lives elsewhere: it waits until the log is loaded, and continues after the log was lost.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Found, Life, Subscription};
use crate::{
    hub::position::Position,
    trace::debug,
    wire::{
        cursor::{Cursor, Epoch},
        name::CustomId,
        notice::{Gap, GapReason},
    },
};

impl Subscription {
    /// Returns the epoch of each channel's log that is loaded, or `None` if one of the channels is gone. Parks in all
    /// channels, as a reader does, because all readers are woken when a log has been loaded.
    pub(crate) fn poll_loaded(&self, cx: &mut Context<'_>) -> Option<Vec<Option<Epoch>>> {
        self.positions.park(cx);
        let loaded = |position: &Position| {
            let state = position.channel.look();
            (!state.dropped).then(|| state.loaded())
        };
        self.positions.as_slice().iter().map(loaded).collect()
    }

    /// Returns when something last arrived for the logs that are not loaded yet.
    pub(crate) fn last_progress(&self) -> Option<Instant> {
        let last = |position: &Position| position.channel.look().last_progress();
        self.positions.as_slice().iter().filter_map(last).max()
    }

    /// Returns whether nothing is known to be missing in the logs of the channels.
    pub(crate) fn is_whole(&self) -> bool {
        self.positions
            .as_slice()
            .iter()
            .all(|position| position.channel.look().coverage().is_none_or(|coverage| coverage.is_whole()))
    }

    /// Returns whether one of the channels has never had an event.
    pub(crate) fn has_absent_channel(&self) -> bool {
        self.positions.any_absent()
    }

    /// Returns whether exactly one held event has this id.
    pub(crate) fn holds(&self, id: &CustomId) -> bool {
        self.positions.find(id).is_some()
    }

    /// Waits, after the log was lost, until all channels are loaded in the same new epoch.
    pub(super) fn poll_anew(&self, cx: &mut Context<'_>) -> Poll<Found> {
        self.positions.park(cx);
        let (mut ended, mut places) = (None, Vec::new());
        for position in self.positions.as_slice() {
            let state = position.channel.look();
            ended = ended.or(position.ended_at_once(&state)).or(state.readers.ending(position.reader));
            // Find the place and the epoch under one lock, because another epoch may begin at any moment.
            places.push(state.place_of(self.cursor()));
        }
        if let Some(reason) = ended {
            return Poll::Ready(Found::End(reason));
        }
        let places: Option<Vec<Cursor>> = places.into_iter().collect();
        let first = places.and_then(|places| {
            let first = *places.iter().min_by_key(|place| place.offset)?;
            places.iter().all(|place| place.epoch == first.epoch).then_some(first)
        });
        first.map_or(Poll::Pending, |first| Poll::Ready(Found::Lost(first)))
    }

    /// Continues at this place in a log of another epoch.
    pub(super) fn begin_anew(&mut self, place: Cursor) -> Gap {
        self.epoch = place.epoch;
        self.positions.begin_anew();
        let first = self.skip_to_held(place.offset);
        self.hub().counters.gaps.add(1);
        self.life().into_iter().for_each(Life::misses);
        self.hub().meter.gap(GapReason::OtherEpoch);
        self.in_span(|| debug!("a reader's epoch is over", cursor = self.cursor()));
        Gap::new(GapReason::OtherEpoch, None, first, self.cursor())
    }
}
