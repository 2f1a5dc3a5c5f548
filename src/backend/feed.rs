//! The two ends of a feed: what a node requests of it, and the messages that it sends.

use std::fmt;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{entry::Entry, notice::Notice};
use crate::wire::{
    cursor::{Cursor, Epoch, Offset},
    except::Except,
    name::{ChannelName, ClientId},
};

/// What a node asks of a [feed](super::Backend::feed).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Send the events of this channel from now on. Answer with [`Message::Watching`] as soon as the feed misses no
    /// more of them.
    Watch(ChannelName),
    /// Stop sending the events of this channel.
    Unwatch(ChannelName),
    /// Send one [`Message::Level`], in its place among the events.
    Sync,
}

/// What a [feed](super::Backend::feed) sends, in the order in which it happened in the store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Message {
    /// The feed watches a channel: it sends everything that is appended to the channel from here on.
    Watching(ChannelName),
    /// An event was appended.
    Entry {
        /// The channel it was appended to.
        channel: ChannelName,
        /// The epoch of its offset.
        epoch: Epoch,
        /// The event.
        entry: Entry,
    },
    /// An event was [passed](super::Backend::pass) to the channel.
    Ephemeral(Ephemeral),
    /// A channel was finished without an event.
    Ended {
        /// The channel.
        channel: ChannelName,
        /// The epoch of the offset.
        epoch: Epoch,
        /// The offset that the end takes.
        offset: Offset,
        /// The offset of the previous event in the channel.
        previous: Offset,
    },
    /// A channel was [closed](super::Backend::close).
    Closed(ChannelName),
    /// A node has [told](super::Backend::tell) all others something.
    Told(Notice),
    /// The feed has sent every event that it has to carry up to this cursor, the last one that the hub had assigned.
    Level(Cursor),
}

/// An event that is passed to the readers of a channel, and not kept.
#[derive(Clone)]
#[non_exhaustive]
pub struct Ephemeral {
    /// The event's channel.
    pub channel: ChannelName,
    /// The client that the event is for, if it is for one client only.
    pub client: Option<ClientId>,
    /// The readers that the event is not for, if there are any.
    pub except: Option<Except>,
    /// The event's bytes on the wire without the blank line at the end, encoded once. A store does not look into them.
    pub bytes: Bytes,
}

impl Ephemeral {
    /// Creates a broadcast of these bytes.
    pub fn new(channel: ChannelName, bytes: Bytes) -> Self {
        Self { channel, client: None, except: None, bytes }
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ephemeral")
            .field("channel", &self.channel)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// The requests to a feed.
#[derive(Debug)]
pub struct Requests(mpsc::UnboundedReceiver<Request>);

impl Requests {
    /// Waits for the next request. Returns `None` when the node no longer needs the feed. It is cancel safe: if you
    /// drop the future, no request is lost.
    pub async fn next(&mut self) -> Option<Request> {
        self.0.recv().await
    }
}

/// Where a feed sends its messages. There is room for 1,024 messages that the node has not taken yet.
#[derive(Debug, Clone)]
pub struct Messages(mpsc::Sender<Message>);

impl Messages {
    const ROOM: usize = 1_024;

    /// Creates a pair for a backend that stands between a node and another backend: the sender to pass to the other
    /// backend's feed, and the messages that come from there.
    pub fn channel() -> (Self, Incoming) {
        let (messages, incoming) = mpsc::channel(Self::ROOM);
        (Self(messages), Incoming(incoming))
    }

    /// Sends a message as soon as there is room for it. Returns `false` if the node no longer needs the feed.
    pub async fn send(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// Sends a message if there is room for it at once. Returns `false` if there is none, or if the node no longer
    /// needs the feed. In that case, a feed that can't wait ends.
    pub fn try_send(&self, message: Message) -> bool {
        self.0.try_send(message).is_ok()
    }
}

/// The messages of another backend's feed, from [`Messages::channel`].
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Message>);

impl Incoming {
    /// Waits for the next message. Returns `None` when the feed has ended. It is cancel safe: if you drop the future,
    /// no message is lost.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }
}

/// Creates both ends of a feed: the feed's own and the node's.
pub(crate) fn channels() -> (Requests, Messages, mpsc::UnboundedSender<Request>, mpsc::Receiver<Message>) {
    // Unbounded, but a node has at most as many requests as channels, and it holds more than a request for each channel
    // anyway.
    let (request, requests) = mpsc::unbounded_channel();
    let (messages, message) = mpsc::channel(Messages::ROOM);
    (Requests(requests), Messages(messages), request, message)
}
