//! Opens a subscription: takes a place in each channel, and finds out where to start.

use std::sync::Arc;

use super::{
    engine::{Hub, now},
    grant::Grant,
    life::Life,
    options::{Duplicates, OpenOptions, Start},
    position::Position,
    positions::{Positions, go_on_before},
    readers::Readers,
    seats::{Beside, Seat},
    subscription::Subscription,
    toll::Toll,
};
use crate::{
    error::{OpenError, OpenErrorKind},
    log::{self, LaneId, View},
    trace::debug,
    wire::{
        cursor::{Cursor, Epoch, EventId, Id, Offset},
        name::{ChannelName, ClientId},
        notice::{Gap, GapReason},
    },
};

/// Opens a subscription in a hub whose logs are here.
pub(crate) fn open(
    hub: &Arc<Hub>,
    options: &OpenOptions,
    grant: Grant,
    requested: Option<&[u8]>,
) -> Result<Subscription, OpenError> {
    let toll = grant.toll.clone();
    let entered = options.enter_all(hub, grant, requested);
    let started = entered.and_then(|(mut subscription, last)| {
        // The logs are here and of one epoch, so this always starts the subscription or fails.
        options.start_in(&mut subscription, requested, last, toll.as_ref()).map(|_| subscription)
    });
    opened(hub, started)
}

/// Counts an opening that a limit refused, and does some upkeep.
pub(crate) fn opened<T>(hub: &Arc<Hub>, opened: Result<T, OpenError>) -> Result<T, OpenError> {
    if let Err(error) = &opened {
        hub.meter.not_opened(error);
        let refused = error.is_limit().then_some(&hub.counters.limited);
        if let Some(counter) = refused.or(error.retry_after().map(|_| &hub.counters.replays_limited)) {
            counter.add(1);
            debug!("a subscription was refused", reason = error);
        }
    }
    hub.maintain(now());
    opened
}

impl OpenOptions {
    /// Takes a place in each channel. Also returns the cursor up to which everything published is in the logs.
    pub(crate) fn enter_all(
        &self,
        hub: &Arc<Hub>,
        grant: Grant,
        requested: Option<&[u8]>,
    ) -> Result<(Subscription, Cursor), OpenError> {
        let Grant { channels, client, expires, recheck, toll: _, allowance } = grant;
        if channels.is_empty() {
            return Err(OpenErrorKind::NoChannel.into());
        }
        if channels.len() > hub.settings.limits.channels_per_subscription {
            return Err(OpenErrorKind::TooManyChannels.into());
        }
        if expires.is_some_and(|at| at <= tokio::time::Instant::now()) {
            return Err(OpenErrorKind::Expired.into());
        }
        // This hub has told the reader to stay away. A `goodbye` of an earlier hub no longer counts.
        if requested.and_then(EventId::parse).is_some_and(|id| is_goodbye_of(hub.memory.epoch(), &id)) {
            return Err(OpenErrorKind::Over.into());
        }
        let allowed = allowance.map(|allowance| hub.allowances.take(&allowance).ok_or(OpenErrorKind::TooManyOfClient));
        let beside = Beside { connection: self.connection.clone(), allowed: allowed.transpose()? };
        let seat = hub.seats.take_for(beside.boxed()).ok_or(OpenErrorKind::TooManySubscriptions)?;
        if hub.ledger.tally.pinned() > hub.settings.limits.reader_bytes() {
            return Err(OpenErrorKind::HubFull.into());
        }
        // Read this before the channels are entered, so that nothing published in between is skipped.
        let last = hub.cursor(hub.memory.last());
        let mut subscription = Subscription::new(hub.clone(), seat.clone(), expires, self.record(hub));
        if let Some(recheck) = recheck {
            subscription.set_recheck(recheck);
        }
        if channels.len() > 1 {
            seat.reads_several();
        }
        let positions = subscription.positions();
        for channel in &channels {
            positions.add(self.enter(hub, &seat, channel, client.as_ref())?);
        }
        Ok((subscription, last))
    }

    /// Finds out where a subscription that has its places starts, and charges for what is replayed to it. Everything
    /// published up to `last` is in the logs. Returns `false`, and does not start the subscription, if the logs are of
    /// another epoch than `last` by now.
    pub(crate) fn start_in(
        &self,
        subscription: &mut Subscription,
        requested: Option<&[u8]>,
        last: Cursor,
        toll: Option<&Toll>,
    ) -> Result<bool, OpenError> {
        let hub = subscription.hub().clone();
        let id = requested.map(EventId::parse);
        // If the channels had to be loaded, the epoch to compare with was not known before.
        if id.iter().flatten().any(|id| is_goodbye_of(last.epoch, id)) {
            return Err(OpenErrorKind::Over.into());
        }
        let Cursor { epoch, offset: last } = last;
        let at = |offset| Cursor { epoch, offset };
        let positions = subscription.positions();
        let missed = positions.begin();
        // Events up to `last` may still be on their way here. A cursor beyond `whole` would skip them.
        let whole = positions.whole_up_to(&hub).min(last);
        let is_absent = self.existing && positions.any_absent();
        let fresh = if id.is_none() { self.fresh(positions, last) } else { None };
        let (cursor, reason) = match &id {
            None => self.begin(positions, fresh, whole),
            Some(id) => resume(positions, id.as_ref(), at(last), missed),
        };
        // The order matters, because the last event of a channel comes before the channel is finished.
        let finished = positions.all_finished();
        let first = positions.first_after(cursor);
        // After a gap, the reader continues right before the first event that it still gets.
        let cursor = if reason.is_some() { go_on_before(first, whole).max(cursor) } else { cursor };
        let gap = reason.map(|reason| Gap::new(reason, requested, first, at(cursor)));
        // Each log was looked at separately. The result does not count if another epoch has begun in the meantime: a
        // reader that already knows the new epoch would be sent back to the old one, and from there to the start.
        if !hub.is_shutting_down() && !positions.are_of(epoch) {
            return Ok(false);
        }
        // A shutdown ends the loading of channels, and then nobody knows what is in them.
        if is_absent && !hub.is_shutting_down() {
            return Err(OpenErrorKind::Absent.into());
        }
        if gap.is_none() && first.is_none() && finished && !positions.any_lagged(cursor) {
            return Err(OpenErrorKind::Over.into());
        }
        // This comes after the check above, since nobody may know later that the channel is over. A shutdown sets the
        // flag before it tells the readers: if the flag is not set here, the shutdown will tell this reader.
        if hub.is_shutting_down() {
            return Err(OpenErrorKind::ShuttingDown.into());
        }
        self.pay(toll, positions, cursor, gap.is_some())?;
        // A reader that wants everything held has to be told about events that were lost on the way here, even before
        // its cursor. A reader that reconnects may have passed those.
        if gap.is_some() || fresh.is_some() {
            positions.tell_up_to(cursor);
        }
        subscription.start_at(at(cursor), requested.is_some(), gap);
        if !self.probe {
            self.settle(subscription, requested.is_some());
        }
        Ok(true)
    }

    /// Lets a subscription that has its places stay. Call this only once nothing can refuse the subscription, because
    /// otherwise the older ones have to stay.
    pub(crate) fn settle(&self, subscription: &mut Subscription, resumes: bool) {
        subscription.settle(self.duplicates == Duplicates::Replace);
        let (hub, gap) = (subscription.hub(), subscription.untold_gap().map(|gap| gap.reason));
        hub.counters.opened.add(1);
        hub.counters.resumed.add(resumes.into());
        hub.counters.gaps.add(gap.is_some().into());
        hub.meter.opened(resumes, gap);
        subscription.begin_life();
    }

    /// Begins a record for those who watch, unless the crate reads for itself.
    fn record(&self, hub: &Hub) -> Option<Box<Life>> {
        if self.is_own { None } else { hub.settings.watch.record(self.asked) }
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
            let lane = client.and_then(|client| state.log.lane_of(client));
            if let Err(refused) = self.admit(&state.readers, lane) {
                // Some of the readers that count may have ended on another channel and not noticed yet.
                if !state.readers.find_ended() {
                    return Err(refused);
                }
                self.admit(&state.readers, lane)?;
            }
            let max = hub.settings.limits.lanes;
            let lane = client.map(|client| state.log.lane_for(client, max)).transpose();
            let lane = lane.map_err(|_| OpenErrorKind::TooManyLanes)?;
            if let Some(lane) = lane {
                state.log.enter(lane);
            }
            state.log.expire(View::of(lane), now);
            state.log.is_read();
            let reader = state.readers.insert(lane, seat.clone());
            if let (Some(elsewhere), Some(coverage)) = (&hub.elsewhere, state.coverage_mut()) {
                elsewhere.entered(shared, !std::mem::replace(&mut coverage.wanted, true));
            }
            Ok(Position::new(shared.clone(), reader, lane, state))
        });
        entered.ok_or(OpenErrorKind::TooManySubscriptions)?
    }

    /// Decides whether one more connection to a channel is admitted, for the client with this lane.
    fn admit(&self, readers: &Readers, lane: Option<LaneId>) -> Result<(), OpenErrorKind> {
        let (connected, ended) = lane.map_or((0, 0), |lane| (readers.of(lane), readers.ended_of(lane)));
        let (connected, ended, all) = match self.duplicates {
            Duplicates::Refuse if connected > 0 => return Err(OpenErrorKind::Duplicate),
            // The older connections make room.
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

    /// Charges for what is replayed after `cursor`.
    fn pay(&self, toll: Option<&Toll>, positions: &Positions, cursor: Offset, gap: bool) -> Result<(), OpenErrorKind> {
        match toll {
            // A strict stream that begins with a gap is refused, and replays nothing.
            Some(toll) if !(gap && self.probe) => {
                toll.charge(positions.count_after(cursor)).map_err(OpenErrorKind::ReplayLimit)
            }
            _ => Ok(()),
        }
    }

    /// Returns the offset after which a new reader starts, and the reason for a gap, if there is one.
    fn begin(&self, positions: &Positions, fresh: Option<Offset>, whole: Offset) -> (Offset, Option<GapReason>) {
        if self.start == Start::Whole && positions.have_lost_beginning() {
            return (Offset::START, Some(GapReason::Evicted));
        }
        (fresh.unwrap_or_else(|| go_on_before(positions.first_after(Offset::START), whole)), None)
    }

    /// Returns the offset after which a new reader starts, or `None` if it starts with the first held event.
    fn fresh(&self, positions: &Positions, last: Offset) -> Option<Offset> {
        match self.start {
            Start::Last(0) => Some(last),
            // If all channels are finished, the reader can only want the events that are left in them.
            Start::Live if !positions.all_finishing() => Some(last),
            Start::Live | Start::Earliest | Start::Whole => None,
            Start::Last(n) => positions.before_last(n),
        }
    }
}

/// Returns whether a hub of this epoch has told the reader with this id to stay away.
fn is_goodbye_of(epoch: Epoch, id: &EventId) -> bool {
    matches!(id.kind(), Id::Goodbye(cursor) if cursor.epoch == epoch)
}

/// Returns the offset after which a reader that reconnects with `id` continues, and the reason for a gap, if there is
/// one. `id` is `None` if what the reader sent is not an id.
fn resume(positions: &Positions, id: Option<&EventId>, last: Cursor, missed: Offset) -> (Offset, Option<GapReason>) {
    let from_start = |reason| (Offset::START, Some(reason));
    let cursor = match id.map(EventId::kind) {
        Some(Id::Cursor(cursor) | Id::Goodbye(cursor)) if cursor.epoch != last.epoch => {
            // Anything after the cursor may be lost. If its place is known, the reader does not get again what it
            // already has.
            return (positions.place_of(*cursor).unwrap_or(Offset::START), Some(GapReason::OtherEpoch));
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::task::{Context, Waker};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::{Event, PublishError, Publisher, Resumed, log::Retention, wire::notice::EndReason};

    const ANA: ClientId = ClientId::from_static("ana");
    const CHANNEL: ChannelName = ChannelName::from_static("a");

    fn hub(retention: Retention) -> (Publisher, Arc<Hub>) {
        let publisher = Publisher::builder().retention(retention).build();
        let reader = Subscription::open(&publisher, Grant::new([CHANNEL])).now_or_never();
        let hub = reader.unwrap().unwrap().hub().clone();
        (publisher, hub)
    }

    fn done<T>(sent: impl Future<Output = Result<T, PublishError>>) -> T {
        sent.now_or_never().expect("in process it is ready at once").unwrap()
    }

    /// Opens a subscription for Ana that resumes after the event at `offset`. The channel is closed once it has its
    /// place and before it starts.
    fn open_while_closed(hub: &Arc<Hub>, offset: u64) -> Result<Subscription, OpenError> {
        let (options, grant) = (OpenOptions::new(), Grant::new([CHANNEL]).client(ANA));
        let id = EventId::from(hub.cursor(Offset::new(offset))).to_string();
        let (mut subscription, last) = options.enter_all(hub, grant, Some(id.as_bytes()))?;
        assert_eq!(hub.close(&CHANNEL), 1);
        options.start_in(&mut subscription, Some(id.as_bytes()), last, None).map(|_| subscription)
    }

    /// Opens a subscription for Ana in the same way, after the channel was closed.
    fn open_again(hub: &Arc<Hub>, offset: u64) -> Result<Subscription, OpenError> {
        let id = EventId::from(hub.cursor(Offset::new(offset))).to_string();
        open(hub, &OpenOptions::new(), Grant::new([CHANNEL]).client(ANA), Some(id.as_bytes()))
    }

    fn ends_closed(mut subscription: Subscription) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        while subscription.poll_chunk(&mut cx).map(|chunk| chunk.is_some()).is_ready()
            && subscription.end_reason().is_none()
        {}
        subscription.end_reason() == Some(EndReason::Closed)
    }

    #[test]
    fn a_channel_that_is_closed_while_a_reader_opens_gives_no_gap_for_an_event_that_excludes_the_reader() {
        let (publisher, hub) = hub(Retention::new());
        done(publisher.channel("a").send(Event::text("1")));
        done(publisher.channel("a").send(Event::text("2").except(ANA)));
        let reader = open_while_closed(&hub, 1).unwrap();
        assert_eq!(reader.resumed(), Resumed::Exact);
        assert!(ends_closed(reader));
        assert_eq!(open_again(&hub, 1).unwrap().resumed(), Resumed::Exact);
    }

    #[test]
    fn a_channel_that_is_closed_while_a_reader_opens_still_gives_the_gap_that_it_had() {
        let (publisher, hub) = hub(Retention::new().events(1));
        for text in ["1", "2", "3"] {
            done(publisher.channel("a").send_to("ana", Event::text(text)));
        }
        let reader = open_while_closed(&hub, 1).unwrap();
        assert_eq!(reader.resumed(), Resumed::Gap(GapReason::Evicted));
        assert!(ends_closed(reader));
    }

    #[test]
    fn a_finished_channel_that_is_closed_while_a_reader_opens_is_not_over_for_the_reader() {
        let (publisher, hub) = hub(Retention::new());
        done(publisher.channel("a").send(Event::text("1")));
        done(publisher.channel("a").send_to("ana", Event::text("2")));
        done(publisher.channel("a").end());
        assert!(ends_closed(open_while_closed(&hub, 1).unwrap()));
        assert_eq!(open_again(&hub, 1).unwrap().resumed(), Resumed::Gap(GapReason::Evicted));
    }
}
