//! Opening a subscription: taking a place in each channel, and finding out where to start.

use std::sync::Arc;

use super::{
    grant::Grant,
    hub::{Hub, now},
    options::{Duplicates, OpenOptions, Start},
    position::{Position, Positions, go_on_before},
    state::State,
    subscription::Subscription,
    wait::Wakeups,
};
use crate::{
    cursor::{Cursor, EventId, Id, Offset},
    error::{OpenError, OpenErrorKind},
    log::{LaneId, View},
    name::{ChannelName, ClientId},
    notice::{EndReason, Gap, GapReason},
    trace::debug,
};

/// Opens a subscription, and counts what became of it.
pub(crate) fn open(
    hub: &Arc<Hub>,
    options: &OpenOptions,
    grant: Grant,
    last_event_id: Option<&[u8]>,
) -> Result<Subscription, OpenError> {
    let opened = options.open_in(hub, grant, last_event_id.filter(|id| !id.is_empty()));
    match &opened {
        Ok(_) => hub.counters.opened.add(1),
        Err(error) if error.is_limit() => {
            hub.counters.limited.add(1);
            debug!("a subscription was refused", reason = error);
        }
        Err(_) => {}
    }
    hub.maintain(now());
    opened
}

impl OpenOptions {
    fn open_in(&self, hub: &Arc<Hub>, grant: Grant, requested: Option<&[u8]>) -> Result<Subscription, OpenError> {
        let Grant { channels, client, expires } = grant;
        if channels.is_empty() {
            return Err(OpenErrorKind::NoChannel.into());
        }
        if channels.len() > hub.settings.limits.channels_per_subscription {
            return Err(OpenErrorKind::TooManyChannels.into());
        }
        if expires.is_some_and(|at| at <= tokio::time::Instant::now()) {
            return Err(OpenErrorKind::Expired.into());
        }
        let id = requested.map(EventId::parse);
        if let Some(Some(id)) = &id
            && matches!(id.kind(), Id::Goodbye(_))
        {
            return Err(OpenErrorKind::Over.into());
        }
        let permit = hub.permit().ok_or(OpenErrorKind::TooManySubscriptions)?;
        // Read before the channels are entered: what is published in between comes after it, and is not skipped.
        let last = hub.memory.last();
        let mut subscription = Subscription::new(permit, expires, channels.len());
        let positions = subscription.positions();
        for channel in &channels {
            positions.add(self.enter(hub, channel, client.as_ref())?);
        }
        // Whoever shuts down sets this first and tells the readers then: if it is not set here, we are told.
        if hub.is_shutting_down() {
            return Err(OpenErrorKind::ShuttingDown.into());
        }
        let missed = positions.tell_missed();
        let (cursor, reason) = match &id {
            None => (self.fresh(positions, last), None),
            Some(id) => resume(positions, id.as_ref(), hub.cursor(last), missed),
        };
        let first = positions.first_after(cursor);
        // With a gap the reader goes on right before the first event that it still gets.
        let cursor = if reason.is_some() { go_on_before(first, last).max(cursor) } else { cursor };
        let gap = reason.map(|reason| Gap::new(reason, requested, first, hub.cursor(cursor)));
        if gap.is_none() && first.is_none() && positions.all_finished() {
            return Err(OpenErrorKind::Over.into());
        }
        hub.counters.resumed.add(requested.is_some().into());
        hub.counters.gaps.add(gap.is_some().into());
        subscription.start_at(cursor, gap);
        Ok(subscription)
    }

    /// Takes a place in one channel.
    fn enter(&self, hub: &Hub, channel: &ChannelName, client: Option<&ClientId>) -> Result<Position, OpenErrorKind> {
        let entered = hub.with_channel(channel, |shared, state| {
            hub.memory.release(state.log.enforce(now()), &hub.counters);
            if state.readers.live() >= self.per_channel {
                return Err(OpenErrorKind::TooManyOfChannel);
            }
            let max = hub.settings.limits.lanes;
            let lane = client.map(|client| state.log.lane_for(client, max)).transpose();
            let lane = lane.map_err(|_| OpenErrorKind::TooManyLanes)?;
            let replaced = match lane {
                Some(lane) => self.admit(state, lane)?,
                None => Wakeups::default(),
            };
            if let Some(lane) = lane {
                state.log.enter(lane);
            }
            let reader = state.readers.insert(lane);
            let view = View { client: lane };
            Ok((Position { channel: shared.clone(), reader, view, told: Offset::START }, replaced))
        });
        let (position, replaced) = entered.ok_or(OpenErrorKind::TooManySubscriptions)??;
        drop(replaced);
        Ok(position)
    }

    /// Decides over one more connection of a client.
    fn admit(&self, state: &mut State, lane: LaneId) -> Result<Wakeups, OpenErrorKind> {
        let connected = state.readers.of(lane);
        let refused = match self.duplicates {
            Duplicates::Replace => return Ok(state.readers.end_lane(lane, EndReason::Replaced).1),
            Duplicates::Refuse => connected > 0,
            Duplicates::Keep => connected >= self.per_client,
        };
        if refused {
            state.log.drop_if_idle(lane);
            return Err(OpenErrorKind::TooManyOfClient);
        }
        Ok(Wakeups::default())
    }

    fn fresh(&self, positions: &Positions, last: Offset) -> Offset {
        match self.start {
            // Who comes to channels that are all finished can only want what is left of them.
            Start::Live if !positions.all_finished() => last,
            Start::Live | Start::Earliest => Offset::START,
            Start::Last(n) => positions.before_last(n).unwrap_or(last),
        }
    }
}

/// Where a reader goes on that came back with `id`, and why there is a gap, if there is one. `None` is no id at all.
fn resume(positions: &Positions, id: Option<&EventId>, last: Cursor, missed: Offset) -> (Offset, Option<GapReason>) {
    let from_start = |reason| (Offset::START, Some(reason));
    let cursor = match id.map(EventId::kind) {
        Some(Id::Cursor(cursor)) if cursor.epoch != last.epoch => return from_start(GapReason::OtherEpoch),
        Some(Id::Cursor(cursor)) if cursor.offset <= last.offset => cursor.offset,
        Some(Id::Custom(id)) => match positions.find(id) {
            Some(offset) => offset,
            None => return from_start(GapReason::UnknownId),
        },
        _ => return from_start(GapReason::UnknownId),
    };
    (cursor, (missed > cursor).then_some(GapReason::Evicted))
}
