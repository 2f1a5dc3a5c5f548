//! What the store answers: how far channels are, and what they hold.

use std::sync::Arc;

use super::{Over, Session};
use crate::{
    backend::{Head, Heads, Held},
    error::BackendError,
    hub::{engine::Hub, state::Shared},
    node::{
        driver::calls::Answer,
        mirror::{Compared, Filled},
    },
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
            Answer::Refreshed { present } => {
                self.duties.present = present;
                None
            }
            Answer::Compared { channels, heads } => self.compared(hub, &channels, heads),
            Answer::Checked { channels, heads } => self.checked(channels, heads),
            Answer::Read { shared, after, held } => {
                let watched = self.duties.watched.get_same(&shared)?;
                watched.reading = false;
                if held.is_ok() {
                    watched.failures = 0;
                }
                match held {
                    Err(_) => {
                        watched.mirror.read_failed();
                        self.duties.watched.fail(&shared.name);
                        self.rise(hub);
                        None
                    }
                    Ok(held) => self.fill(hub, &shared, after, held),
                }
            }
        }
    }

    /// Compares channels with their heads in the store. Those that are no further in the store have not changed while
    /// there was no feed. Reads the others.
    fn compared(&mut self, hub: &Hub, channels: &[Arc<Shared>], heads: Result<Heads, BackendError>) -> Option<Over> {
        for channel in channels {
            let Some(watched) = self.duties.watched.get_same(channel) else { continue };
            watched.reading = false;
            if heads.is_err() {
                self.duties.watched.fail(&channel.name);
            }
        }
        let Ok(heads) = heads else {
            self.rise(hub);
            return None;
        };
        if self.epoch.is_none_or(|epoch| epoch != heads.epoch) {
            return self.anew();
        }
        self.link.learn(Cursor { epoch: heads.epoch, offset: heads.level });
        for (channel, head) in channels.iter().zip(heads.channels) {
            let Some(watched) = self.duties.watched.get_same(channel) else { continue };
            match watched.mirror.compare(head, heads.level) {
                Compared::Whole => {
                    watched.failures = 0;
                    self.duties.watched.set_behind(&channel.name, false);
                }
                Compared::Behind => self.read(hub, &channel.name),
                Compared::Lost => {
                    self.calls.renew(heads.epoch);
                    return None;
                }
            }
        }
        self.rise(hub);
        None
    }

    /// Checks mirrors against the store. Events that a mirror lacks may be on their way, and the feed has to bring them
    /// before the next level.
    fn checked(&mut self, channels: Vec<ChannelName>, heads: Result<Heads, BackendError>) -> Option<Over> {
        let Ok(heads) = heads else {
            // The next check asks again.
            self.heads_at = Offset::START;
            return None;
        };
        if self.epoch.is_none_or(|epoch| epoch != heads.epoch) {
            return self.anew();
        }
        let behind = |(channel, head): (ChannelName, Head)| {
            let watched = self.duties.watched.get(&channel)?;
            watched.mirror.is_behind(head, heads.level).then_some((channel, head.offset))
        };
        let behind: Vec<_> = channels.into_iter().zip(heads.channels).filter_map(behind).collect();
        if !behind.is_empty() {
            self.calls.expect(behind);
        }
        None
    }

    fn fill(&mut self, hub: &Hub, shared: &Arc<Shared>, after: Offset, held: Held) -> Option<Over> {
        if self.epoch.is_none_or(|epoch| epoch != held.epoch) {
            return self.anew();
        }
        let (epoch, level) = (held.epoch, held.level);
        self.link.learn(Cursor { epoch, offset: level });
        let watched = self.duties.watched.get_mut(&shared.name)?;
        match watched.mirror.fill(hub, after, held) {
            Filled::Again(after) => {
                watched.reading = true;
                self.calls.read(shared.clone(), after, self.link.retention_of(hub, &shared.name));
            }
            Filled::Lost => self.calls.renew(epoch),
            Filled::Whole => {
                self.duties.watched.set_behind(&shared.name, false);
                self.rise(hub);
                if level > self.position {
                    // The feed may be quiet while readers wait for what was read.
                    self.calls.sync(self.duties.ticket);
                }
            }
        }
        None
    }
}
