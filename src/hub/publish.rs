//! Publishing to a channel of the hub.

use std::{sync::Arc, time::Instant};

use super::{
    engine::{Hub, now},
    sent::Sent,
    state::State,
    wait::Wakeups,
};
use crate::{
    error::{PublishError, PublishErrorKind},
    log::{BROADCAST, First},
    wire::{
        encode::Draft,
        event::Event,
        name::{ChannelName, ClientId},
    },
};

impl Hub {
    /// Encodes an event, unless it is too large.
    pub(crate) fn draft(&self, event: Event) -> Result<Draft, PublishError> {
        let draft = Draft::new(event, self.memory.last());
        self.fits(&draft)?;
        Ok(draft)
    }

    fn fits(&self, draft: &Draft) -> Result<(), PublishError> {
        let (len, max) = (draft.len(), self.settings.limits.event_bytes);
        if len > max { Err(PublishErrorKind::TooLarge { len, max }.into()) } else { Ok(()) }
    }

    /// Appends an event and wakes the readers that wait for it.
    pub(crate) fn publish(
        self: &Arc<Self>,
        name: &ChannelName,
        target: Option<&ClientId>,
        event: Event,
        last: bool,
        fence: Option<u64>,
    ) -> Result<Sent, PublishError> {
        let now = now();
        let published = self.try_publish(name, target, event, last, fence, now);
        self.maintain(now);
        published
    }

    fn try_publish(
        &self,
        name: &ChannelName,
        target: Option<&ClientId>,
        event: Event,
        last: bool,
        fence: Option<u64>,
        now: Instant,
    ) -> Result<Sent, PublishError> {
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown.into());
        }
        let mut draft = Draft::new(event, self.memory.last());
        self.fits(&draft)?;
        if draft.is_ephemeral() && !last {
            return self.pass(name, target, draft);
        }
        let key = draft.take_key();
        // Dropped after the channel's lock is released.
        let mut wakeups = Wakeups::default();
        let appended = self.with_channel(name, |shared, state| {
            if let Some(key) = &key
                && let Some(first) = self.memory.repeated(&state.log, name, key, now)
            {
                return Ok::<_, PublishErrorKind>((first, 0, true));
            }
            if let Some(seen) = state.log.fence().filter(|seen| fence.is_some_and(|fence| fence < *seen)) {
                return Err(PublishErrorKind::Fenced { seen });
            }
            let is_for_all = target.is_none() && draft.except().is_none();
            let (first, reached) = self.append(state, target, draft, last, now, &mut wakeups)?;
            if is_for_all {
                self.meter.broadcast(shared.address(), first.offset, now);
            }
            fence.into_iter().for_each(|fence| state.log.raise_fence(fence));
            if let Some(key) = key {
                self.memory.remember(&mut state.log, &shared.name, key, first.clone(), now);
            }
            Ok((first, reached, false))
        });
        drop(wakeups);
        let (first, reached, repeated) = appended.ok_or(PublishErrorKind::TooManyChannels)??;
        self.counters.published.add(u64::from(!repeated));
        Ok(Sent::new(self.cursor(first.offset), first.custom, reached, repeated))
    }

    fn append(
        &self,
        state: &mut State,
        target: Option<&ClientId>,
        draft: Draft,
        last: bool,
        now: Instant,
        wakeups: &mut Wakeups,
    ) -> Result<(First, usize), PublishErrorKind> {
        if self.is_shutting_down() {
            return Err(PublishErrorKind::ShuttingDown);
        }
        state.is_quiet = false;
        let State { log, readers, .. } = state;
        if log.is_finished() {
            return Err(PublishErrorKind::Finished);
        }
        // Checked before the client gets a lane, because a lane without an event would stay.
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
        let first = First { offset: event.offset(), custom };
        if all > 0 {
            log.keep(lane, event);
        }
        Ok((first, fewer.unwrap_or(all)))
    }
}
