//! Opening a subscription: taking a place in each channel, and finding out where to start.

use std::sync::Arc;

use super::{
    engine::{Hub, now},
    grant::Grant,
    options::{Duplicates, OpenOptions, Start},
    position::{Position, go_on_before},
    positions::Positions,
    readers::Readers,
    seats::Seat,
    subscription::Subscription,
};
use crate::{
    error::{OpenError, OpenErrorKind},
    log::{self, LaneId, View},
    trace::debug,
    wire::{
        cursor::{Cursor, EventId, Id, Offset},
        name::{ChannelName, ClientId},
        notice::{Gap, GapReason},
    },
};

/// Opens a subscription to channels whose logs are here.
pub(crate) fn open(
    hub: &Arc<Hub>,
    options: &OpenOptions,
    grant: Grant,
    requested: Option<&[u8]>,
) -> Result<Subscription, OpenError> {
    let entered = options.enter_all(hub, grant, requested);
    opened(hub, entered.and_then(|(subscription, last)| options.start_in(subscription, requested, last)))
}

/// Counts an opening that was refused.
pub(crate) fn opened<T>(hub: &Arc<Hub>, opened: Result<T, OpenError>) -> Result<T, OpenError> {
    if let Err(error) = &opened
        && error.is_limit()
    {
        hub.counters.limited.add(1);
        debug!("a subscription was refused", reason = error);
    }
    hub.maintain(now());
    opened
}

impl OpenOptions {
    /// Takes a place in each channel, and says up to where all that was published is in their logs.
    pub(crate) fn enter_all(
        &self,
        hub: &Arc<Hub>,
        grant: Grant,
        requested: Option<&[u8]>,
    ) -> Result<(Subscription, Cursor), OpenError> {
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
        // Told by this hub to stay away. By one of before, that is forgotten with the rest of it.
        if let Some(id) = requested.and_then(EventId::parse)
            && matches!(id.kind(), Id::Goodbye(cursor) if cursor.epoch == hub.memory.epoch())
        {
            return Err(OpenErrorKind::Over.into());
        }
        let seat = hub.seats.take().ok_or(OpenErrorKind::TooManySubscriptions)?;
        if hub.ledger.tally.pinned() > hub.settings.limits.reader_bytes() {
            return Err(OpenErrorKind::HubFull.into());
        }
        // Read before the channels are entered: what is published in between comes after it, and is not skipped.
        let last = hub.cursor(hub.memory.last());
        let mut subscription = Subscription::new(hub.clone(), seat.clone(), expires);
        let positions = subscription.positions();
        for channel in &channels {
            positions.add(self.enter(hub, &seat, channel, client.as_ref())?);
        }
        Ok((subscription, last))
    }

    /// Finds out where a subscription that has its places starts. All that was published up to `last` is in the logs.
    pub(crate) fn start_in(
        &self,
        mut subscription: Subscription,
        requested: Option<&[u8]>,
        last: Cursor,
    ) -> Result<Subscription, OpenError> {
        let hub = subscription.hub().clone();
        let id = requested.map(EventId::parse);
        // Where the channels had to be loaded it was not known before whether this means anything.
        if let Some(Some(id)) = &id
            && matches!(id.kind(), Id::Goodbye(cursor) if cursor.epoch == last.epoch)
        {
            return Err(OpenErrorKind::Over.into());
        }
        let Cursor { epoch, offset: last } = last;
        let at = |offset| Cursor { epoch, offset };
        let positions = subscription.positions();
        let missed = positions.tell_missed();
        // Events up to `last` may be on their way here still: a cursor beyond this would skip them.
        let whole = positions.whole_up_to(&hub).min(last);
        let fresh = if id.is_none() { self.fresh(positions, last) } else { None };
        let (cursor, reason) = match &id {
            None => (fresh.unwrap_or_else(|| go_on_before(positions.first_after(Offset::START), whole)), None),
            Some(id) => resume(positions, id.as_ref(), at(last), missed),
        };
        // In this order: the last event of a channel comes before it is finished.
        let finished = positions.all_finished();
        let first = positions.first_after(cursor);
        // With a gap the reader goes on right before the first event that it still gets.
        let cursor = if reason.is_some() { go_on_before(first, whole).max(cursor) } else { cursor };
        let gap = reason.map(|reason| Gap::new(reason, requested, first, at(cursor)));
        if gap.is_none() && first.is_none() && finished && !positions.any_lagged(cursor) {
            return Err(OpenErrorKind::Over.into());
        }
        // After that, since nobody else may know later that it is over. Whoever shuts down sets this first and tells the readers
        // then: if it is not set here, this one is told.
        if hub.is_shutting_down() {
            return Err(OpenErrorKind::ShuttingDown.into());
        }
        // A reader that wants all that is held is owed what got lost of it on the way here, too, also before its cursor; a reader
        // that reconnects may have passed it.
        if gap.is_some() || fresh.is_some() {
            positions.tell_up_to(cursor);
        }
        if !self.probe {
            // Only now: had this one been refused, the older would still be needed.
            subscription.settle(self.duplicates == Duplicates::Replace);
            hub.counters.opened.add(1);
            hub.counters.resumed.add(requested.is_some().into());
            hub.counters.gaps.add(gap.is_some().into());
        }
        subscription.start_at(at(cursor), gap);
        Ok(subscription)
    }

    /// Takes a place in one channel.
    fn enter(
        &self,
        hub: &Arc<Hub>,
        seat: &Arc<Seat>,
        channel: &ChannelName,
        client: Option<&ClientId>,
    ) -> Result<Position, OpenErrorKind> {
        let entered = hub.with_channel(channel, |shared, state| {
            let now = now();
            hub.counters.evicted.add(state.log.enforce(now, log::SLICE));
            self.admit(&state.readers, client.and_then(|client| state.log.lane_of(client)))?;
            let max = hub.settings.limits.lanes;
            let lane = client.map(|client| state.log.lane_for(client, max)).transpose();
            let lane = lane.map_err(|_| OpenErrorKind::TooManyLanes)?;
            if let Some(lane) = lane {
                state.log.enter(lane);
            }
            state.log.expire(View { client: lane }, now);
            let reader = state.readers.insert(lane, seat.clone());
            if let (Some(elsewhere), Some(coverage)) = (&hub.elsewhere, &mut state.coverage) {
                elsewhere.entered(shared, !std::mem::replace(&mut coverage.wanted, true));
            }
            Ok(Position::new(shared.clone(), reader, View { client: lane }))
        });
        entered.ok_or(OpenErrorKind::TooManySubscriptions)?
    }

    /// Decides over one more connection to a channel, of the client that has this lane.
    fn admit(&self, readers: &Readers, lane: Option<LaneId>) -> Result<(), OpenErrorKind> {
        let (connected, ended) = lane.map_or((0, 0), |lane| (readers.of(lane), readers.ended_of(lane)));
        let (connected, ended, all) = match self.duplicates {
            Duplicates::Refuse if connected > 0 => return Err(OpenErrorKind::TooManyOfClient),
            // These make room.
            Duplicates::Replace => (0, ended + connected, readers.live() - connected),
            Duplicates::Keep | Duplicates::Refuse => (connected, ended, readers.live()),
        };
        let is_limited = self.duplicates == Duplicates::Replace || self.per_client < usize::MAX;
        if connected >= self.per_client || (is_limited && ended > OpenOptions::ENDED_PER_CLIENT) {
            return Err(OpenErrorKind::TooManyOfClient);
        }
        if all >= self.per_channel {
            return Err(OpenErrorKind::TooManyOfChannel);
        }
        Ok(())
    }

    /// The offset after which a fresh reader starts; `None` if it starts with the first event that is held.
    fn fresh(&self, positions: &Positions, last: Offset) -> Option<Offset> {
        match self.start {
            Start::Last(0) => Some(last),
            // Who comes to channels that are all finished can only want what is left of them.
            Start::Live if !positions.all_finishing() => Some(last),
            Start::Live | Start::Earliest => None,
            Start::Last(n) => positions.before_last(n),
        }
    }
}

/// Where a reader goes on that came back with `id`, and why there is a gap, if there is one. `None` is no id at all.
fn resume(positions: &Positions, id: Option<&EventId>, last: Cursor, missed: Offset) -> (Offset, Option<GapReason>) {
    let from_start = |reason| (Offset::START, Some(reason));
    let cursor = match id.map(EventId::kind) {
        Some(Id::Cursor(cursor) | Id::Goodbye(cursor)) if cursor.epoch != last.epoch => {
            // What was lost since may be anywhere; what is left of it, if anything, is not to be repeated.
            return (positions.translate(*cursor).unwrap_or(Offset::START), Some(GapReason::OtherEpoch));
        }
        Some(Id::Cursor(cursor)) if cursor.offset <= last.offset => cursor.offset,
        Some(Id::Custom(id)) => match positions.find(id) {
            Some(offset) => offset,
            None => return from_start(GapReason::UnknownId),
        },
        _ => return from_start(GapReason::UnknownId),
    };
    (cursor, (missed > cursor).then_some(GapReason::Evicted))
}
