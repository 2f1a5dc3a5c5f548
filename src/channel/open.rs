//! Opening a subscription: taking a place in each channel, and finding out where to start.

use std::sync::Arc;

use super::{
    State,
    hub::{Hub, now},
    options::{Duplicates, OpenOptions, Start},
    subscription::{Position, Subscription, go_on_before},
    wait::Wakeups,
};
use crate::{
    cursor::{EventId, Id, Offset},
    error::{OpenError, OpenErrorKind},
    log::{LaneId, View},
    name::{ChannelName, ClientId},
    notice::{EndReason, Gap, GapReason},
    publisher::Publisher,
    trace::debug,
};

use super::grant::Grant;

impl OpenOptions {
    /// Opens a subscription to what `grant` allows: after `last_event_id` if the reader comes back with one, and where
    /// [`start`](Self::start) says otherwise. An id that is empty is none; one that means nothing here gives a
    /// [`Gap`] and everything that is held.
    ///
    /// Events published from here on are not missed, however late the subscription is read first.
    ///
    /// # Errors
    ///
    /// If a limit is reached, the grant has expired or names no channel, the hub shuts down, or nothing will ever come:
    /// see the predicates of [`OpenError`].
    pub fn open(
        &self,
        publisher: &Publisher,
        grant: Grant,
        last_event_id: Option<&[u8]>,
    ) -> Result<Subscription, OpenError> {
        let hub = publisher.hub();
        let opened = self.open_in(hub, grant, last_event_id.filter(|id| !id.is_empty()));
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
        for channel in &channels {
            self.enter(hub, channel, client.as_ref(), &mut subscription)?;
        }
        // Whoever shuts down sets this first and tells the readers then: if it is not set here, we are told.
        if hub.is_shutting_down() {
            return Err(OpenErrorKind::ShuttingDown.into());
        }
        let missed = subscription.missed();
        let (cursor, reason) = match &id {
            None => (self.fresh(&subscription, last), None),
            Some(id) => resume(&subscription, id.as_ref(), last, missed),
        };
        let first = subscription.first_after(cursor);
        // With a gap the reader goes on right before the first event that it still gets.
        let cursor = if reason.is_some() { go_on_before(first, last).max(cursor) } else { cursor };
        let gap = reason.map(|reason| Gap::new(reason, requested, first, hub.cursor(cursor)));
        subscription.start_at(cursor, gap);
        if subscription.is_over() {
            return Err(OpenErrorKind::Over.into());
        }
        if requested.is_some() {
            hub.counters.resumed.add(1);
        }
        Ok(subscription)
    }

    /// Takes a place in one channel.
    fn enter(
        &self,
        hub: &Hub,
        channel: &ChannelName,
        client: Option<&ClientId>,
        subscription: &mut Subscription,
    ) -> Result<(), OpenErrorKind> {
        let entered = hub.with_channel(channel, |shared, state| {
            hub.memory.release(state.log.enforce(now()), &hub.counters);
            if state.readers.len() >= self.per_channel {
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
        subscription.add(position);
        Ok(())
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

    fn fresh(&self, subscription: &Subscription, last: Offset) -> Offset {
        match self.start {
            // Who comes to channels that are all finished can only want what is left of them.
            Start::Live if !subscription.all_finished() => last,
            Start::Live | Start::Earliest => Offset::START,
            Start::Last(n) => subscription.before_last(n).unwrap_or(last),
        }
    }
}

/// Where a reader goes on that came back with `id`, and why there is a gap, if there is one. `None` is no id at all.
fn resume(
    subscription: &Subscription,
    id: Option<&EventId>,
    last: Offset,
    missed: Offset,
) -> (Offset, Option<GapReason>) {
    let from_start = |reason| (Offset::START, Some(reason));
    let cursor = match id.map(EventId::kind) {
        Some(Id::Cursor(cursor)) if cursor.epoch != subscription.epoch() => return from_start(GapReason::OtherEpoch),
        Some(Id::Cursor(cursor)) if cursor.offset <= last => cursor.offset,
        Some(Id::Custom(id)) => match subscription.find(id) {
            Some(offset) => offset,
            None => return from_start(GapReason::UnknownId),
        },
        _ => return from_start(GapReason::UnknownId),
    };
    (cursor, (missed > cursor).then_some(GapReason::Evicted))
}
