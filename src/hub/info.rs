//! The state of a channel, read without a subscription.

use super::engine::{Hub, now};
use crate::{
    log::{self, View},
    wire::{
        cursor::{Cursor, Offset},
        encoded::EncodedEvent,
        name::ChannelName,
    },
};

/// The state of a channel, from [`Channel::info`](crate::Channel::info). It covers the events for everybody and those
/// for single clients, so think twice before you show all of it to a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Info {
    /// Whether the channel exists, and whether it takes events.
    pub state: ChannelState,
    /// The oldest held event.
    pub first: Option<Cursor>,
    /// The last published event, whether or not it is still held. `None` if there never was one, or if the hub has
    /// forgotten it.
    pub last: Option<Cursor>,
    /// How many events are held.
    pub events: usize,
    /// How many bytes these events count against [`Retention::max_bytes`](crate::Retention::max_bytes).
    pub bytes: usize,
    /// The newest held event that is for everybody.
    pub last_event: Option<EncodedEvent>,
}

/// Whether a channel exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelState {
    /// Nothing was ever published to the channel, as far as the hub remembers, or nothing since it was
    /// [closed](crate::Channel::close). It may have readers.
    Absent,
    /// The channel takes events.
    Open,
    /// The channel is [finished](crate::Channel::finish).
    Finished,
}

impl ChannelState {
    pub(crate) fn of(finished: bool, has_begun: bool) -> Self {
        match (finished, has_begun) {
            (true, _) => Self::Finished,
            (false, true) => Self::Open,
            (false, false) => Self::Absent,
        }
    }
}

impl Info {
    /// Returns the state of a channel that holds nothing.
    pub(crate) fn empty(state: ChannelState, last: Option<Cursor>) -> Self {
        Self { state, first: None, last, events: 0, bytes: 0, last_event: None }
    }
}

impl Hub {
    /// Returns the state of a channel whose log is here.
    pub(crate) fn info(&self, name: &ChannelName) -> Info {
        loop {
            let found = self.with_existing(name, |state| {
                let now = now();
                self.counters.evicted.add(state.log.enforce(now, log::SLICE));
                state.log.expire(View::of(None), now);
                let log = &state.log;
                let (cursor, (events, bytes)) = (|offset| self.cursor(offset), log.size());
                let newest = log.newest_before(View::of(None), Offset::new(u64::MAX), 1).pop();
                Info {
                    state: ChannelState::of(log.is_finished(), log.has_begun()),
                    first: log.oldest().map(cursor),
                    last: log.last_offset().map(cursor),
                    events,
                    bytes,
                    last_event: newest.map(|sealed| EncodedEvent::new(name.clone(), self.memory.epoch(), sealed)),
                }
            });
            let mut info = found;
            if info.is_some() || self.registry.if_absent(name, || info = Some(self.info_of_dropped(name))) {
                // One of the two has set it.
                return info.unwrap_or_else(|| Info::empty(ChannelState::Absent, None));
            }
        }
    }

    fn info_of_dropped(&self, name: &ChannelName) -> Info {
        let known = self.memory.peek(name, None);
        let last = Some(known.highest).filter(|last| *last > known.since);
        let state = ChannelState::of(known.finished, last.is_some());
        Info::empty(state, last.map(|offset| self.cursor(offset)))
    }
}
