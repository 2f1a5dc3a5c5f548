//! A feed's two ends: what a node requests of it, and the messages that it sends.

use tokio::sync::mpsc;

use super::entry::Entry;
use crate::wire::{
    cursor::{Cursor, Epoch},
    name::ChannelName,
};

/// What a node asks of a [feed](super::Backend::feed).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// The events of this channel, from now on; answered by [`Message::Watching`] as soon as none is missed any more.
    Watch(ChannelName),
    /// No more of them.
    Unwatch(ChannelName),
    /// One [`Message::Level`], in its place among the events.
    Sync,
}

/// What a [feed](super::Backend::feed) sends, in the order in which it happened in the store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Message {
    /// A channel is watched: whatever is appended to it from here on comes.
    Watching(ChannelName),
    /// An event was appended.
    Entry {
        /// To this channel.
        channel: ChannelName,
        /// In this epoch.
        epoch: Epoch,
        /// This one.
        entry: Entry,
    },
    /// A channel was [closed](super::Backend::close).
    Closed(ChannelName),
    /// Every event that this feed was to carry up to here, the last offset that the hub had given, came before.
    Level(Cursor),
}

/// The requests to a feed.
#[derive(Debug)]
pub struct Requests(mpsc::UnboundedReceiver<Request>);

impl Requests {
    /// The next one, waited for; `None` when the node needs the feed no more. None is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Request> {
        self.0.recv().await
    }
}

/// Where a feed sends its messages. There is room for 1,024 that the node has not taken yet.
#[derive(Debug, Clone)]
pub struct Messages(mpsc::Sender<Message>);

impl Messages {
    const ROOM: usize = 1_024;

    /// A pair for a backend that stands between a node and another backend: what it gives to the other's feed, and what
    /// comes from there.
    pub fn channel() -> (Self, Incoming) {
        let (messages, incoming) = mpsc::channel(Self::ROOM);
        (Self(messages), Incoming(incoming))
    }

    /// Sends a message, when there is room for it. `false`: the node needs the feed no more.
    pub async fn send(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// Sends a message if there is room for it at once; `false` if there is not, or the node needs the feed no more. A
    /// feed that can't wait ends then.
    pub fn try_send(&self, message: Message) -> bool {
        self.0.try_send(message).is_ok()
    }
}

/// The messages of another backend's feed, from [`Messages::channel`].
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Message>);

impl Incoming {
    /// The next one, waited for; `None` when the feed is over. None is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }
}

/// Both ends of a feed: its own, and the node's.
pub(crate) fn channels() -> (Requests, Messages, mpsc::UnboundedSender<Request>, mpsc::Receiver<Message>) {
    // As many requests as a node has channels at most, for each of which it holds more than that.
    let (request, requests) = mpsc::unbounded_channel();
    let (messages, message) = mpsc::channel(Messages::ROOM);
    (Requests(requests), Messages(messages), request, message)
}
