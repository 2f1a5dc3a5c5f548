//! What the feed brings: events, levels, closed channels.

use super::{Over, Session};
use crate::{
    backend::Message,
    hub::engine::Hub,
    node::{
        mirror::{Mirror, Pushed},
        told::Told,
    },
    trace::debug,
    wire::{
        cursor::{Cursor, Epoch, Offset},
        name::ChannelName,
    },
};

impl Session<'_> {
    pub(super) fn message(&mut self, hub: &Hub, message: Message) -> Option<Over> {
        match message {
            Message::Watching(channel) => {
                if let Some(watched) = self.duties.watched.get_mut(&channel) {
                    watched.carried = true;
                    self.look_at(hub, &channel);
                }
                None
            }
            // Treated as lost on the way. The next event reveals the loss, and the read that follows drops this event
            // too.
            Message::Entry { entry, .. } if !entry.is_whole() => None,
            // Nothing is read before the epoch is known, so a read will bring whatever arrives until then.
            Message::Entry { epoch, .. } if self.epoch.is_none_or(|own| own != epoch) => {
                self.epoch.and_then(|_| self.anew())
            }
            Message::Entry { channel, epoch, entry } => {
                let cursor = Cursor { epoch, offset: entry.offset };
                self.come(hub, &channel, cursor, |mirror| mirror.push(hub, epoch, entry));
                None
            }
            // The same applies to an end.
            Message::Ended { offset, .. } if offset == Offset::new(u64::MAX) => None,
            Message::Ended { epoch, .. } if self.epoch.is_none_or(|own| own != epoch) => {
                self.epoch.and_then(|_| self.anew())
            }
            Message::Ended { channel, epoch, offset, previous } => {
                self.come(hub, &channel, Cursor { epoch, offset }, |mirror| mirror.push_end(hub, offset, previous));
                None
            }
            Message::Ephemeral(event) => {
                if let Some(watched) = self.duties.watched.get(&event.channel) {
                    let wakeups = watched.mirror.pass(hub, self.position, event);
                    drop(wakeups);
                }
                None
            }
            Message::Closed(channel) => {
                // If the feed does not carry the channel yet, this is an old message, and a read will tell what
                // happened.
                if self.duties.watched.get(&channel).is_some_and(|watched| watched.carried)
                    && let Some(mirror) = self.duties.watched.remove(&channel)
                {
                    mirror.drop_closed(hub);
                    self.calls.unwatch(&channel);
                }
                None
            }
            Message::Told(notice) => {
                if let Some(told) = Told::read(&notice, self.link.node) {
                    told.obey(hub);
                }
                None
            }
            Message::Level(level) => self.level(hub, level),
        }
    }

    /// Pushes something that has arrived at this cursor into the channel's mirror.
    fn come(&mut self, hub: &Hub, channel: &ChannelName, cursor: Cursor, push: impl FnOnce(&mut Mirror) -> Pushed) {
        self.position = self.position.max(cursor.offset);
        self.link.learn(cursor);
        let Some(watched) = self.duties.watched.get_mut(channel) else { return };
        match push(&mut watched.mirror) {
            // Raises the level first, since readers that wake up read up to it.
            Pushed::In(wakeups) => {
                self.rise(hub);
                drop(wakeups);
            }
            Pushed::Known => {}
            Pushed::Broken => {
                debug!("the feed lost an event", channel = channel);
                self.duties.watched.set_behind(channel, true);
                self.read(hub, channel);
            }
        }
    }

    fn level(&mut self, hub: &Hub, level: Cursor) -> Option<Over> {
        if self.epoch.is_some_and(|epoch| epoch != level.epoch) {
            return self.anew();
        }
        let known = if self.epoch.is_some() { hub.cursor(hub.memory.last()) } else { self.known };
        if known.epoch == level.epoch && known.offset > level.offset {
            debug!("the store has lost events", known = known.offset, last = level.offset);
            self.calls.renew(level.epoch);
            return None;
        }
        if self.epoch.replace(level.epoch).is_none() {
            self.enter(hub, level.epoch);
        }
        self.link.learn(level);
        self.link.pulse.is_fed();
        self.position = self.position.max(level.offset);
        self.rise(hub);
        if let Some(sync) = self.calls.synced() {
            self.check(hub, sync.expected);
            self.link.answered.reach(sync.ticket);
            if sync.ticket == self.duties.ticket {
                self.duties.ticket = 0;
            }
        }
        if level.offset > self.heads_at && std::mem::take(&mut self.heads_due) {
            self.heads_at = level.offset;
            self.calls.check(self.duties.watched.names());
        }
        None
    }

    /// Enters an epoch, now that it is known: restarts the mirrors of any other epoch, and reads the channels that
    /// waited for it.
    fn enter(&mut self, hub: &Hub, epoch: Epoch) {
        self.duties.useful = true;
        if self.link.known().epoch != epoch {
            self.link.begin(hub, epoch);
            for name in self.duties.watched.names() {
                self.duties.watched.set_behind(&name, false);
                if let Some(watched) = self.duties.watched.get_mut(&name) {
                    watched.mirror.restart(hub, epoch);
                }
            }
        }
        self.duties.watched.names().iter().for_each(|channel| self.look_at(hub, channel));
    }

    /// Checks that the feed has brought these channels up to these offsets.
    fn check(&mut self, hub: &Hub, expected: Vec<(ChannelName, Offset)>) {
        for (channel, head) in expected {
            let Some(watched) = self.duties.watched.get(&channel) else { continue };
            if watched.mirror.tail().is_some_and(|tail| tail < head) {
                debug!("the feed lost an event", channel = channel);
                let holds = watched.mirror.interrupt(hub);
                self.duties.watched.set_behind(&channel, holds);
                self.read(hub, &channel);
            }
        }
    }
}
