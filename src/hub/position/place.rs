//! Takes a place in a channel, determines what is missing at its beginning, and gives it back.

use std::sync::Arc;

use super::Position;
use crate::{
    hub::{
        engine::Hub,
        readers::ReaderId,
        state::{Shared, State},
    },
    log::{self, BROADCAST, LaneId},
    wire::cursor::Offset,
};

impl Position {
    /// Creates the place of a reader that has just entered a channel, whose state is `state`.
    pub(crate) fn new(channel: Arc<Shared>, reader: ReaderId, lane: Option<LaneId>, state: &State) -> Self {
        let (told, from, lane) = (Offset::START, Offset::START, lane.unwrap_or(BROADCAST));
        let ephemeral = state.log.next_ephemeral();
        let mut new =
            Self { channel, reader, lane, told, from, ephemeral, seen_at: 0, finished: false, behind: false, late: 0 };
        (new.told, new.late, new.from) = new.beginning(state);
        new
    }

    /// Prepares the place of a new reader: counts what is missing as reported, and hides what is no longer history.
    /// Returns the highest offset for the reader that is no longer history.
    ///
    /// If the channel was closed after the reader had entered it, what was missing at that time counts: a log that was
    /// closed no longer knows. The reader then ends without reading.
    pub(in crate::hub) fn begin(&mut self) -> Offset {
        let state = self.channel.look();
        if !state.dropped {
            (self.told, self.late, self.from) = self.beginning(&state);
        }
        self.told
    }

    /// Returns what is missing for a new reader, how many times events had arrived late, and what is no longer
    /// history.
    fn beginning(&self, state: &State) -> (Offset, u16, Offset) {
        let missed = state.log.missed_by_newcomers(self.view_of(state));
        (missed, state.times_late(), state.log.before_history())
    }

    /// Prepares for a cursor of another epoch.
    pub(crate) fn begin_anew(&mut self) {
        self.from = Offset::START;
        self.look_again();
    }

    /// Gives the place back.
    pub(crate) fn leave(self, hub: &Hub) {
        let (waker, idle) = {
            let mut state = self.channel.leave();
            let waker = state.readers.remove(self.reader);
            if state.readers.len() == 0 {
                state.log.is_unread();
                hub.counters.evicted.add(state.log.evict_lag(log::SLICE));
            }
            if let Some(lane) = self.lane() {
                state.log.leave(lane);
            }
            (waker, state.is_idle())
        };
        drop(waker);
        if idle {
            hub.drop_if_idle(&self.channel);
        }
    }
}
