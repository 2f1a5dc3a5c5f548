//! The names of keys and push channels. All have the prefix in braces, and so are in one hash slot.

use crate::wire::{
    cursor::Epoch,
    name::{ChannelName, IdempotencyKey},
};

#[derive(Debug)]
pub(super) struct Keys {
    /// In braces, with a colon.
    prefix: String,
    /// What the push channels of feeds begin with. They are the same in all databases of a server, so it names this one.
    feeds: String,
}

impl Keys {
    /// What is between the first pair of braces is hashed, if it is anything: `None` for a prefix with which it is not.
    pub(super) fn new(prefix: &str, database: i64) -> Option<Self> {
        let is_hashed = !prefix.is_empty() && !prefix.contains(['{', '}']);
        is_hashed.then(|| Self { prefix: format!("{{{prefix}}}:"), feeds: format!("{{{prefix}}}:f:{database}:") })
    }

    pub(super) fn hub(&self) -> String {
        format!("{}hub", self.prefix)
    }

    pub(super) fn index(&self, epoch: Epoch) -> String {
        format!("{}t:{epoch}", self.prefix)
    }

    /// All that is the channel's own, in the order in which every script is given it.
    pub(super) fn of_channel(&self, epoch: Epoch, channel: &ChannelName) -> [String; 4] {
        let ids = format!("{}u:{epoch}:{channel}", self.prefix);
        [self.stream(epoch, channel), self.meta(epoch, channel), ids, self.clients(epoch, channel)]
    }

    pub(super) fn stream(&self, epoch: Epoch, channel: &ChannelName) -> String {
        format!("{}s:{epoch}:{channel}", self.prefix)
    }

    pub(super) fn meta(&self, epoch: Epoch, channel: &ChannelName) -> String {
        format!("{}m:{epoch}:{channel}", self.prefix)
    }

    pub(super) fn clients(&self, epoch: Epoch, channel: &ChannelName) -> String {
        format!("{}c:{epoch}:{channel}", self.prefix)
    }

    /// No name has a control character.
    pub(super) fn once(&self, epoch: Epoch, channel: &ChannelName, key: &IdempotencyKey) -> String {
        format!("{}i:{epoch}:{channel}\0{key}", self.prefix)
    }

    pub(super) fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    pub(super) fn nodes_begin(&self) -> String {
        format!("{}p:", self.prefix)
    }

    pub(super) fn node(&self, number: u64) -> String {
        format!("{}p:{number}", self.prefix)
    }

    pub(super) fn feed(&self, channel: &ChannelName) -> String {
        format!("{}{channel}", self.feeds)
    }

    /// The channel whose feed it is.
    pub(super) fn channel_of(&self, feed: &str) -> Option<ChannelName> {
        ChannelName::try_from(feed.strip_prefix(&self.feeds)?).ok()
    }

    pub(super) fn levels(&self, number: u64) -> String {
        format!("{}l:{number}", self.prefix)
    }
}
