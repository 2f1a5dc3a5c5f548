//! Passing ephemeral events to the readers of a channel.

use bytes::Bytes;

use super::{engine::Hub, sent::Sent, state::State, wait::Wakeups};
use crate::{
    error::{PublishError, PublishErrorKind},
    log::{BROADCAST, Passing},
    wire::{
        cursor::Offset,
        encode::Draft,
        except::Except,
        name::{ChannelName, ClientId},
    },
};

/// Ephemeral events take at most one part in this many of what the hub may take.
const PART: usize = 16;

impl Hub {
    /// Passes an ephemeral event to the readers that the channel has now.
    pub(super) fn pass(
        &self,
        name: &ChannelName,
        target: Option<&ClientId>,
        mut draft: Draft,
    ) -> Result<Sent, PublishError> {
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
        Ok(Sent::new(self.cursor(self.memory.last()), None, reached, false))
    }

    /// Passes an ephemeral event, encoded whole and without an id, to the readers of a channel. Its place is after
    /// `place`. Returns how many readers it is for.
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
        let limit = self.settings.limits.hub_bytes / PART;
        let others = self.ledger.tally.ephemeral().saturating_sub(log.footprint_of_ephemeral());
        if !log.pass(Passing { place, lane, except, bytes }, limit.saturating_sub(others)) {
            self.ledger.dropped.add(u64::try_from(reached).unwrap_or(u64::MAX));
            return (reached, Wakeups::default());
        }
        (reached, if target.is_none() { readers.wake_all() } else { readers.wake_lane(lane) })
    }
}
