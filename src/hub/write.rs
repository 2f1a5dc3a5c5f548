//! Publishes several events in one step, or on a condition. Most publishes are one event without a condition, which
//! takes the shorter way in `publish`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    batch::Batch,
    engine::{Hub, now},
    sent::Sent,
    state::State,
    wait::Wakeups,
};
use crate::{
    backend::Expected,
    error::{PublishError, PublishErrorKind},
    log::{BROADCAST, First, LaneId, Log},
    wire::{
        cursor::{Cursor, Offset},
        encode::Draft,
        name::{ChannelName, ClientId, CustomId, IdempotencyKey},
    },
};

/// What is written to a channel in one step.
pub(crate) struct Write {
    pub(crate) events: Vec<Planned>,
    pub(crate) fence: Option<u64>,
    pub(crate) expected: Option<Expected>,
    pub(crate) last: bool,
}

/// An event to be written.
pub(crate) struct Planned {
    pub(crate) target: Option<ClientId>,
    pub(crate) draft: Draft,
    pub(crate) key: Option<IdempotencyKey>,
    /// The index in the write of the first event with the same key, if that is an earlier event.
    same_as: Option<usize>,
}

/// What becomes of an event.
enum Place {
    New,
    /// The hub has already had an event with this key.
    Repeated(First),
    /// An earlier event in the write has this key.
    SameAs(usize),
}

impl Hub {
    /// Encodes the events of a batch, unless they are too many or too large.
    pub(crate) fn plan(&self, batch: Batch, fence: Option<u64>) -> Result<Write, PublishError> {
        let Batch { events, expected, last, invalid } = batch;
        if let Some(invalid) = invalid {
            return Err(invalid.into());
        }
        let (count, max) = (events.len(), self.settings.limits.batch_events);
        if count > max {
            return Err(PublishErrorKind::TooManyEvents { count, max }.into());
        }
        let (mut planned, mut by_key, mut len) = (Vec::with_capacity(count), HashMap::new(), 0);
        for (target, event) in events {
            let mut draft = self.draft(event)?;
            let (n, key) = (planned.len(), draft.take_key());
            if draft.is_ephemeral() && !(last && n + 1 == count) {
                return Err(PublishErrorKind::Ephemeral.into());
            }
            len += draft.len();
            let first = key.clone().map_or(n, |key| *by_key.entry(key).or_insert(n));
            planned.push(Planned { target, draft, key, same_as: (first < n).then_some(first) });
        }
        let max = self.settings.limits.batch_bytes();
        if len > max {
            return Err(PublishErrorKind::TooLarge { len, max }.into());
        }
        Ok(Write { events: planned, fence, expected, last })
    }

    /// Appends events in one step, and wakes the readers that wait for them.
    pub(crate) fn write(
        self: &Arc<Self>,
        name: &ChannelName,
        batch: Batch,
        fence: Option<u64>,
    ) -> Result<Vec<Sent>, PublishError> {
        let now = now();
        let written = self.plan(batch, fence).and_then(|write| self.try_write(name, write, now));
        self.reclaim(self.settings.limits.batch_bytes());
        self.maintain(now);
        written
    }

    fn try_write(&self, name: &ChannelName, write: Write, now: Instant) -> Result<Vec<Sent>, PublishError> {
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown.into());
        }
        // Dropped after the channel's lock is released.
        let mut wakeups = Vec::new();
        let written = self.with_channel(name, |shared, state| {
            let places = self.places(&state.log, name, &write.events, now);
            let is_new = write.events.is_empty() || places.iter().any(|place| matches!(place, Place::New));
            if is_new {
                self.refuse(state, &write, &places, now)?;
            }
            Ok::<_, PublishErrorKind>(self.put_all(state, &shared.name, write, places, now, &mut wakeups))
        });
        drop(wakeups);
        let sent = written.ok_or(PublishErrorKind::TooManyChannels)??;
        let new = sent.iter().filter(|sent| !sent.repeated).count();
        self.counters.published.add(new as u64);
        Ok(sent)
    }

    /// Determines which events are new, and where the others are.
    fn places(&self, log: &Log, name: &ChannelName, events: &[Planned], now: Instant) -> Vec<Place> {
        let place = |event: &Planned| match (&event.key, event.same_as) {
            (_, Some(first)) => Place::SameAs(first),
            (Some(key), None) => self.memory.repeated(log, name, key, now).map_or(Place::New, Place::Repeated),
            (None, None) => Place::New,
        };
        events.iter().map(place).collect()
    }

    /// Refuses what can't be written, before anything is written.
    fn refuse(&self, state: &mut State, write: &Write, places: &[Place], now: Instant) -> Result<(), PublishErrorKind> {
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown);
        }
        let log = &mut state.log;
        if let Some(seen) = log.fence().filter(|seen| write.fence.is_some_and(|fence| fence < *seen)) {
            return Err(PublishErrorKind::Fenced { seen });
        }
        if log.is_finished() {
            return Err(PublishErrorKind::Finished);
        }
        let last = Some(log.last_of_all()).filter(|last| *last > Offset::START).map(|last| self.cursor(last));
        if write.expected.is_some_and(|expected| !expected.is(last)) {
            return Err(PublishErrorKind::Conflict { last });
        }
        let new =
            || write.events.iter().zip(places).filter(|(_, place)| matches!(place, Place::New)).map(|(new, _)| new);
        if has_duplicate_id(log, new(), now) {
            return Err(PublishErrorKind::DuplicateId);
        }
        let targets = new().filter_map(|event| event.target.as_ref());
        let new_lanes: HashSet<_> = targets.filter(|client| log.lane_of(client).is_none()).collect();
        if !new_lanes.is_empty() && log.lanes() + new_lanes.len() > self.settings.limits.lanes {
            return Err(PublishErrorKind::TooManyLanes);
        }
        Ok(())
    }

    /// Puts the new events in the log. Nothing can refuse them any more.
    fn put_all(
        &self,
        state: &mut State,
        name: &ChannelName,
        write: Write,
        places: Vec<Place>,
        now: Instant,
        wakeups: &mut Vec<Wakeups>,
    ) -> Vec<Sent> {
        let Write { events, fence, last, .. } = write;
        let is_end = events.is_empty() && last;
        let count = places.iter().filter(|place| matches!(place, Place::New)).count();
        let (mut sent, mut lanes) = (Vec::<Sent>::with_capacity(events.len()), HashSet::new());
        let mut next = if count > 0 { self.memory.next(count as u64) } else { Offset::START };
        for (event, place) in events.into_iter().zip(places) {
            sent.push(match place {
                Place::New => {
                    let first = First { offset: next, custom: event.draft.custom().cloned() };
                    next = Offset::new(next.get() + 1);
                    let (lane, reached) = self.put_one(state, event, first.clone(), name, count == 1, now);
                    lanes.extend(lane);
                    Sent::new(self.cursor(first.offset), first.custom, reached, false)
                }
                Place::Repeated(first) => Sent::new(self.cursor(first.offset), first.custom, 0, true),
                Place::SameAs(n) => Sent { reached: 0, repeated: true, ..sent[n].clone() },
            });
        }
        if count == 0 && !is_end {
            return sent;
        }
        state.is_quiet = false;
        match (last, is_end) {
            (_, true) => state.log.end(now),
            (true, false) => state.log.finish(),
            (false, false) => {}
        }
        fence.into_iter().for_each(|fence| state.log.raise_fence(fence));
        // An end concerns all readers, no matter whom the last event is for.
        if last || lanes.contains(&BROADCAST) {
            wakeups.push(state.readers.wake_all());
        } else {
            wakeups.extend(lanes.into_iter().map(|lane| state.readers.wake_lane(lane)));
        }
        sent
    }

    /// Puts an event in the log. Returns its lane, and how many readers it has. An event that comes `alone` is kept
    /// for readers that wait.
    fn put_one(
        &self,
        state: &mut State,
        event: Planned,
        first: First,
        name: &ChannelName,
        alone: bool,
        now: Instant,
    ) -> (Option<LaneId>, usize) {
        let State { log, readers, .. } = state;
        // There is room for the lane, as `refuse` has checked.
        let lane = event.target.as_ref().map_or(Ok(BROADCAST), |client| log.lane_for(client, usize::MAX));
        let Ok(lane) = lane else { return (None, 0) };
        let all = if lane == BROADCAST { readers.live() } else { readers.of(lane) };
        let own = (lane != BROADCAST).then_some(lane);
        let reached = event.draft.except().map_or(all, |except| readers.not_excluded(log, own, except));
        let sealed = self.memory.append_at(first.offset, log, lane, event.draft, now, &self.counters);
        if alone && all > 0 {
            log.keep(lane, sealed);
        }
        if let Some(key) = event.key {
            self.memory.remember(log, name, key, first, now);
        }
        (Some(lane), reached)
    }
}

impl Expected {
    /// Returns whether `last`, the channel's last event, is the expected one.
    pub(crate) fn is(self, last: Option<Cursor>) -> bool {
        match self {
            Self::Nothing => last.is_none(),
            Self::At(cursor) => last == Some(cursor),
        }
    }
}

/// Returns whether a reader would see a custom id twice.
fn has_duplicate_id<'a>(log: &mut Log, new: impl Iterator<Item = &'a Planned>, now: Instant) -> bool {
    // From the earlier events: the ids with their clients, and the ids that any client has.
    let (mut own, mut anybodys) = (HashSet::<(Option<&ClientId>, &CustomId)>::new(), HashSet::new());
    for event in new {
        let Some(id) = event.draft.custom() else { continue };
        let target = event.target.as_ref();
        let is_before = match target {
            None => anybodys.contains(id),
            Some(_) => own.contains(&(None, id)),
        };
        if is_before || !own.insert((target, id)) || log.holds(target, id, now) {
            return true;
        }
        anybodys.insert(id);
    }
    false
}
