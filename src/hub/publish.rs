//! Publishing to a channel of the hub.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    engine::{Hub, now},
    sent::Sent,
    state::State,
    wait::Wakeups,
};
use crate::{
    error::{PublishError, PublishErrorKind},
    log::{BROADCAST, Passing},
    wire::{
        cursor::{EventId, Offset},
        encode::Draft,
        event::Event,
        except::Except,
        name::{ChannelName, ClientId},
    },
};

/// Ephemeral events take at most this part of what the hub may take.
const EPHEMERAL_PART: usize = 16;

impl Hub {
    /// An event's bytes, if they are not too many.
    pub(crate) fn draft(&self, event: Event) -> Result<Draft, PublishError> {
        let draft = Draft::new(event, self.memory.last());
        let (len, max) = (draft.len(), self.settings.limits.event_bytes);
        if len > max {
            return Err(PublishErrorKind::TooLarge { len, max }.into());
        }
        Ok(draft)
    }

    /// Appends an event and wakes who waits for it.
    pub(crate) fn publish(
        self: &Arc<Self>,
        name: &ChannelName,
        target: Option<&ClientId>,
        event: Event,
        last: bool,
    ) -> Result<Sent, PublishError> {
        let now = now();
        let published = self.try_publish(name, target, event, last, now);
        self.maintain(now);
        published
    }

    fn try_publish(
        &self,
        name: &ChannelName,
        target: Option<&ClientId>,
        event: Event,
        last: bool,
        now: Instant,
    ) -> Result<Sent, PublishError> {
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown.into());
        }
        let mut draft = self.draft(event)?;
        if draft.is_ephemeral() && !last {
            return self.pass(name, target, draft);
        }
        let key = draft.take_key();
        // For when the channel's lock is free again.
        let mut wakeups = Wakeups::default();
        let appended = self.with_channel(name, |shared, state| {
            if let Some(key) = &key
                && let Some(first) = self.memory.repeated(name, key, now)
            {
                return Ok((first, 0, true));
            }
            let (id, reached) = self.append(state, target, draft, last, now, &mut wakeups)?;
            if let Some(key) = key {
                self.memory.remember(&shared.name, key, id.clone(), now);
            }
            Ok::<_, PublishErrorKind>((id, reached, false))
        });
        drop(wakeups);
        let (id, reached, repeated) = appended.ok_or(PublishErrorKind::TooManyChannels)??;
        self.counters.published.add(u64::from(!repeated));
        Ok(Sent { id, reached, repeated })
    }

    /// Passes an ephemeral event to whoever reads the channel now.
    fn pass(&self, name: &ChannelName, target: Option<&ClientId>, mut draft: Draft) -> Result<Sent, PublishError> {
        let (except, bytes) = (draft.take_except(), draft.seal_ephemeral());
        let mut wakeups = Wakeups::default();
        let reached = self.with_existing(name, |state| {
            if state.log.is_finished() {
                return Err(PublishErrorKind::Finished);
            }
            let place = self.memory.last();
            let (reached, woken) = self.pass_to(state, target, place, except, bytes);
            wakeups = woken;
            Ok(reached)
        });
        drop(wakeups);
        let reached = reached.transpose()?.unwrap_or(0);
        self.counters.ephemeral.add(1);
        Ok(Sent { id: self.cursor(self.memory.last()).into(), reached, repeated: false })
    }

    /// Passes an ephemeral event, whole and without an id, to the readers of a channel. Its place is after `place`. Returns how many
    /// it is for.
    pub(crate) fn pass_to(
        &self,
        state: &mut State,
        target: Option<&ClientId>,
        place: Offset,
        except: Option<Box<Except>>,
        bytes: Bytes,
    ) -> (usize, Wakeups) {
        let State { log, readers, .. } = state;
        let lane = match target {
            None => Some(BROADCAST),
            Some(client) => log.lane_of(client),
        };
        let all = |lane| if target.is_none() { readers.live() } else { readers.of(lane) };
        let Some(lane) = lane.filter(|lane| all(*lane) > 0) else { return (0, Wakeups::default()) };
        let reached = match &except {
            Some(except) => readers.not_excluded(log, target.map(|_| lane), except),
            None => all(lane),
        };
        let limit = self.settings.limits.hub_bytes / EPHEMERAL_PART;
        let others = self.ledger.tally.ephemeral().saturating_sub(log.footprint_of_ephemeral());
        if !log.pass(Passing { place, lane, except, bytes }, limit.saturating_sub(others)) {
            self.ledger.dropped.add(u64::try_from(reached).unwrap_or(u64::MAX));
            return (reached, Wakeups::default());
        }
        (reached, if target.is_none() { readers.wake_all() } else { readers.wake_lane(lane) })
    }

    fn append(
        &self,
        state: &mut State,
        target: Option<&ClientId>,
        draft: Draft,
        last: bool,
        now: Instant,
        wakeups: &mut Wakeups,
    ) -> Result<(EventId, usize), PublishErrorKind> {
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown);
        }
        state.is_quiet = false;
        let State { log, readers, .. } = state;
        if log.is_finished() {
            return Err(PublishErrorKind::Finished);
        }
        // Before the client has a lane: one without an event would stay.
        if draft.custom().is_some_and(|id| log.holds(target, id, now)) {
            return Err(PublishErrorKind::DuplicateId);
        }
        let max = self.settings.limits.lanes;
        let lane = match target {
            None => BROADCAST,
            Some(client) => log.lane_for(client, max).map_err(|_| PublishErrorKind::TooManyLanes)?,
        };
        let custom = draft.custom().cloned();
        let fewer = draft.except().map(|except| readers.not_excluded(log, target.map(|_| lane), except));
        let event = self.memory.append(log, lane, draft, now, &self.counters);
        if last {
            log.finish();
        }
        let all;
        (all, *wakeups) = match target {
            None => (readers.live(), readers.wake_all()),
            Some(_) => (readers.of(lane), readers.wake_lane(lane)),
        };
        let id = custom.map_or_else(|| self.cursor(event.offset()).into(), EventId::from);
        if all > 0 {
            log.keep(lane, event);
        }
        Ok((id, fewer.unwrap_or(all)))
    }
}
