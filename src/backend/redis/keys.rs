//! The names of keys and push channels. All have the prefix in braces, and so are in one hash slot.

use crate::wire::name::ChannelName;

#[derive(Debug)]
pub(super) struct Keys {
    /// The prefix in braces, with a colon.
    prefix: String,
    /// What the push channels of feeds begin with. Push channels are shared by all databases of a server, so this names
    /// the database.
    feeds: String,
    /// The push channel for what nodes tell each other.
    told: String,
}

impl Keys {
    /// Creates the keys for a prefix. Redis hashes what is between the first pair of braces, unless it is empty.
    /// Returns `None` for a prefix that would not be hashed as a whole.
    pub(super) fn new(prefix: &str, database: i64) -> Option<Self> {
        let is_hashed = !prefix.is_empty() && !prefix.contains(['{', '}']);
        is_hashed.then(|| Self {
            prefix: format!("{{{prefix}}}:"),
            feeds: format!("{{{prefix}}}:f:{database}:"),
            told: format!("{{{prefix}}}:a:{database}"),
        })
    }

    pub(super) fn hub(&self) -> String {
        format!("{}hub", self.prefix)
    }

    pub(super) fn index(&self) -> String {
        format!("{}t", self.prefix)
    }

    /// Returns all keys of a channel, in the order in which every script is given them.
    pub(super) fn of_channel(&self, channel: &ChannelName) -> [String; 4] {
        let ids = format!("{}u:{channel}", self.prefix);
        [self.stream(channel), self.meta(channel), ids, self.clients(channel)]
    }

    pub(super) fn stream(&self, channel: &ChannelName) -> String {
        format!("{}s:{channel}", self.prefix)
    }

    pub(super) fn meta(&self, channel: &ChannelName) -> String {
        format!("{}m:{channel}", self.prefix)
    }

    pub(super) fn clients(&self, channel: &ChannelName) -> String {
        format!("{}c:{channel}", self.prefix)
    }

    /// Returns the key for an idempotency key. No name contains a control character.
    pub(super) fn once(&self, channel: &ChannelName, key: &str) -> String {
        format!("{}i:{channel}\0{key}", self.prefix)
    }

    pub(super) fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    pub(super) fn node(&self, number: u64) -> String {
        format!("{}{number}", self.of_nodes())
    }

    /// Returns what the keys of all nodes begin with.
    pub(super) fn of_nodes(&self) -> String {
        format!("{}p:", self.prefix)
    }

    pub(super) fn feed(&self, channel: &ChannelName) -> String {
        format!("{}{channel}", self.feeds)
    }

    /// Returns the channel that a feed belongs to.
    pub(super) fn channel_of(&self, feed: &str) -> Option<ChannelName> {
        ChannelName::try_from(feed.strip_prefix(&self.feeds)?).ok()
    }

    pub(super) fn told(&self) -> &str {
        &self.told
    }

    pub(super) fn levels(&self, number: u64) -> String {
        format!("{}l:{number}", self.prefix)
    }
}
