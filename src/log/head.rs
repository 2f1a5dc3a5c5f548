//! Finds what comes next for a reader: an event of the log, or an ephemeral event between two of them.

use bytes::Bytes;

use super::{
    BROADCAST, LaneId, Log,
    batch::{Batch, Limit},
    ephemeral::{Ephemeral, Passing},
    read::View,
};
use crate::wire::cursor::Offset;

/// The position of the next event for a reader. An ephemeral event comes after the log event at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Head {
    pub(crate) offset: Offset,
    pub(crate) is_ephemeral: bool,
}

impl Head {
    pub(crate) fn of(offset: Offset) -> Self {
        Self { offset, is_ephemeral: false }
    }

    /// Returns the offset before which everything comes before this event or together with it.
    pub(crate) fn end(self) -> Offset {
        if self.is_ephemeral { behind(self.offset) } else { self.offset }
    }
}

/// Returns the next offset.
pub(crate) fn behind(offset: Offset) -> Offset {
    Offset::new(offset.get().saturating_add(1))
}

impl Log {
    /// Returns the number of the next ephemeral event.
    pub(crate) fn next_ephemeral(&self) -> u32 {
        self.ephemeral.as_ref().map_or(0, |ephemeral| ephemeral.next())
    }

    /// Returns how many ephemeral events were dropped before a reader got them that has all events before `number`.
    pub(crate) fn dropped(&self, number: u32) -> u32 {
        self.ephemeral.as_ref().map_or(0, |ephemeral| ephemeral.dropped(number))
    }

    /// Returns whether there are only broadcasts for everybody, all of them history, as in most logs.
    #[inline]
    pub(super) fn is_simple(&self) -> bool {
        // One branch for all of them, because this is asked with every event.
        self.clients.is_none() & self.rare.is_none() & self.ephemeral.is_none()
    }

    /// Returns whether a reader that has all ephemeral events before `number` finds only log events for everybody in
    /// its lanes, as in most logs.
    #[inline]
    pub(crate) fn is_plain_from(&self, number: u32) -> bool {
        self.exceptions().is_none() && self.ephemeral.as_ref().is_none_or(|ephemeral| ephemeral.next() == number)
    }

    /// Returns whether the id of a reader's connection may decide what the reader gets.
    #[inline]
    pub(crate) fn asks_for_connection(&self) -> bool {
        self.exceptions().is_some() || self.ephemeral.as_ref().is_some_and(|ephemeral| ephemeral.is_excepting())
    }

    /// Returns what comes next after `after` in `view`, and from the ephemeral event `number` on.
    pub(crate) fn head(&self, view: View<'_>, after: Offset, number: u32) -> Option<Head> {
        if self.is_plain_from(number) {
            return self.first_of_all_after(view.client, after).map(Head::of);
        }
        let first = self.first_after(view, after).map(Head::of);
        let Some(ephemeral) = self.ephemeral.as_ref().filter(|ephemeral| ephemeral.next() != number) else {
            return first;
        };
        let passing = ephemeral.from(number, |passing| self.is_for(passing, view)).next();
        let passing = passing.map(|(_, passing)| Head { offset: passing.place.max(after), is_ephemeral: true });
        first.into_iter().chain(passing).min()
    }

    /// Returns the newest ephemeral event if it is all that is left for a reader, has this number, and its place is
    /// before `end`. That is what most readers of a channel with ephemeral events find.
    #[inline]
    pub(crate) fn only_ephemeral(
        &self,
        lane: Option<LaneId>,
        after: Offset,
        end: Offset,
        number: u32,
    ) -> Option<&Bytes> {
        let newest = self.ephemeral.as_ref()?.newest(number)?;
        let is_in = newest.lane == BROADCAST || Some(newest.lane) == lane;
        let is_for_all = newest.except.is_none() && self.exceptions().is_none();
        let is_next = is_in && is_for_all && newest.place < end && self.first_of_all_after(lane, after).is_none();
        is_next.then_some(&newest.bytes)
    }

    /// Reads the next batch before `end`, if there is one: log events or ephemeral events. Raises `number` to that of
    /// the next ephemeral event.
    pub(crate) fn read_next(
        &mut self,
        view: View<'_>,
        after: Offset,
        end: Offset,
        limit: Limit,
        number: &mut u32,
    ) -> Option<Batch> {
        let Some(ephemeral) = &self.ephemeral else { return self.read_before(view, after, end, limit) };
        let first = self.first_after(view, after);
        let next = ephemeral.from(*number, |passing| self.is_for(passing, view)).next();
        match next.map(|(_, passing)| passing.place) {
            Some(place) if first.is_none_or(|first| place < first) => {
                let end = first.map_or(end, |first| first.min(end));
                let batch;
                (batch, *number) = self.read_ephemeral(ephemeral, view, *number, after, end, limit);
                batch
            }
            Some(place) => self.read_before(view, after, end.min(behind(place)), limit),
            None => {
                *number = ephemeral.next();
                first.and_then(|_| self.read_before(view, after, end, limit))
            }
        }
    }

    fn read_ephemeral(
        &self,
        ephemeral: &Ephemeral,
        view: View<'_>,
        number: u32,
        after: Offset,
        end: Offset,
        limit: Limit,
    ) -> (Option<Batch>, u32) {
        ephemeral.read(number, after, end, limit, |passing| self.is_for(passing, view))
    }

    fn is_for(&self, passing: &Passing, view: View<'_>) -> bool {
        let is_in = passing.lane == BROADCAST || Some(passing.lane) == view.client;
        let who = || self.who(view);
        is_in && passing.except.as_ref().is_none_or(|except| !except.excludes(who().client, who().connection))
    }
}
