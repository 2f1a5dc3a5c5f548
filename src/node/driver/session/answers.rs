//! What the store answers: what channels hold, and how far they are.

use std::sync::Arc;

use super::{Over, Session};
use crate::{
    backend::Held,
    hub::{engine::Hub, state::Shared},
    node::{driver::calls::Answer, mirror::Filled},
    trace::debug,
    wire::{
        cursor::{Cursor, Offset},
        name::ChannelName,
    },
};

impl Session<'_> {
    pub(super) fn answer(&mut self, hub: &Hub, answer: Answer) -> Option<Over> {
        match answer {
            Answer::Feed(result) => {
                if let Err(error) = result {
                    debug!("the feed failed", error = error, cause = error.cause());
                }
                self.anew()
            }
            Answer::Failed | Answer::Renewed => self.anew(),
            Answer::Refreshed => None,
            // Asked again at the next check.
            Answer::Heads(Err(_)) => {
                self.heads_at = Offset::START;
                None
            }
            Answer::Heads(Ok(heads)) => {
                let behind = |(channel, head): &(ChannelName, Offset)| {
                    let watched = self.duties.watched.get(channel);
                    watched.and_then(|watched| watched.mirror.tail()).is_some_and(|tail| tail < *head)
                };
                let heads: Vec<_> = heads.into_iter().filter(behind).collect();
                if !heads.is_empty() {
                    // It may be on its way.
                    self.calls.expect(heads);
                }
                None
            }
            Answer::Read { shared, after, held } => {
                let watched = self.duties.watched.get_mut(&shared.name)?;
                if !Arc::ptr_eq(&watched.mirror.channel, &shared) {
                    return None;
                }
                watched.reading = false;
                if held.is_ok() {
                    watched.failures = 0;
                }
                match held {
                    Err(_) => {
                        self.duties.watched.fail(&shared.name);
                        self.rise(hub);
                        None
                    }
                    Ok(held) => self.fill(hub, &shared, after, held),
                }
            }
        }
    }

    fn fill(&mut self, hub: &Hub, shared: &Arc<Shared>, after: Offset, held: Held) -> Option<Over> {
        if self.epoch.is_none_or(|epoch| epoch != held.epoch) {
            return self.anew();
        }
        let (epoch, level) = (held.epoch, held.level);
        self.link.learn(Cursor { epoch, offset: level });
        let watched = self.duties.watched.get_mut(&shared.name)?;
        match watched.mirror.fill(hub, after, held, hub.memory.last()) {
            Filled::Again(after) => {
                watched.reading = true;
                self.calls.read(shared.clone(), after, self.link.retention_of(hub, &shared.name));
            }
            Filled::Lost => self.calls.renew(epoch),
            Filled::Whole => {
                self.duties.watched.hold(&shared.name, false);
                self.rise(hub);
                if level > self.position {
                    // The feed may be quiet, and readers wait for what was read.
                    self.calls.sync(self.duties.ticket);
                }
            }
        }
        None
    }
}
