//! What one node tells the others, as the text of a [`Notice`].

use crate::{
    backend::Notice,
    hub::engine::Hub,
    wire::name::{ChannelName, ClientId},
};

/// What every node has to do with its own readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// End the connections of a client, to one channel or to all.
    Disconnect(ClientId, Option<ChannelName>),
    /// Authorize the connections of a client again.
    Reauthorize(ClientId),
}

impl Told {
    /// Encodes this as a notice from the given node. No name contains a line break.
    pub(crate) fn by(&self, node: u64) -> Notice {
        Notice::new(match self {
            Self::Disconnect(client, None) => format!("{node}\ndisconnect\n{client}"),
            Self::Disconnect(client, Some(channel)) => format!("{node}\ndisconnect\n{client}\n{channel}"),
            Self::Reauthorize(client) => format!("{node}\nreauthorize\n{client}"),
        })
    }

    /// Reads a notice from another node. Returns `None` for a notice of the node `own`, which has already acted on it.
    pub(crate) fn read(notice: &Notice, own: u64) -> Option<Self> {
        let mut lines = notice.as_str().split('\n');
        let by: u64 = lines.next()?.parse().ok()?;
        let (verb, client) = (lines.next()?, ClientId::try_from(lines.next()?).ok()?);
        let channel = lines.next().map(ChannelName::try_from).transpose().ok()?;
        let told = match (verb, channel, lines.next()) {
            ("disconnect", channel, None) => Self::Disconnect(client, channel),
            ("reauthorize", None, None) => Self::Reauthorize(client),
            _ => return None,
        };
        (by != own).then_some(told)
    }

    /// Applies this on the current node. Returns the number of affected connections; a connection to several channels
    /// counts once for each.
    pub(crate) fn obey(&self, hub: &Hub) -> usize {
        match self {
            Self::Disconnect(client, None) => hub.disconnect(client),
            Self::Disconnect(client, Some(channel)) => hub.disconnect_from(channel, client),
            Self::Reauthorize(client) => hub.reauthorize(client),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_tells_is_read_by_the_others_and_not_by_itself() {
        let (ana, news) = (|| ClientId::from_static("ana"), ChannelName::from_static("news"));
        for told in [Told::Disconnect(ana(), None), Told::Disconnect(ana(), Some(news)), Told::Reauthorize(ana())] {
            let notice = told.by(7);
            assert_eq!((Told::read(&notice, 8), Told::read(&notice, 7)), (Some(told), None));
        }
    }

    #[test]
    fn what_a_node_does_not_understand_it_ignores() {
        for text in [
            "",
            "7",
            "7\ndisconnect",
            "x\ndisconnect\nana",
            "7\nsing\nana",
            "7\ndisconnect\n",
            "7\ndisconnect\na\nb\nc",
        ] {
            assert_eq!(Told::read(&Notice::new(text), 8), None, "{text:?}");
        }
    }
}
