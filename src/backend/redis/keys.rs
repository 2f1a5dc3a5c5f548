//! The names of keys and push channels. All have the prefix in braces, and so are in one hash slot.

use crate::wire::name::ChannelName;

#[derive(Debug)]
pub(super) struct Keys {
    /// In braces, with a colon.
    prefix: String,
    /// What the push channels of feeds begin with. They are the same in all databases of a server, so it names this one.
    feeds: String,
    /// Where what nodes tell each other is pushed.
    told: String,
}

impl Keys {
    /// What is between the first pair of braces is hashed, if it is anything: `None` for a prefix with which it is not.
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

    /// All that is the channel's own, in the order in which every script is given it.
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

    /// An idempotency key's. No name has a control character.
    pub(super) fn once(&self, channel: &ChannelName, key: &str) -> String {
        format!("{}i:{channel}\0{key}", self.prefix)
    }

    pub(super) fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
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

    pub(super) fn told(&self) -> &str {
        &self.told
    }

    pub(super) fn levels(&self, number: u64) -> String {
        format!("{}l:{number}", self.prefix)
    }
}
