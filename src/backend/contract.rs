//! What a backend promises, and the calls that it makes these promises for.

use std::{pin::Pin, sync::Arc, time::Duration};

use super::{
    about::About,
    append::{Append, Appended},
    entry::Held,
    feed::{Ephemeral, Messages, Requests},
    heads::Heads,
    notice::Notice,
    progress::Progress,
    streams::Streams,
};
use crate::{
    error::BackendError,
    log::Retention,
    wire::{
        cursor::{Epoch, Offset},
        name::{ChannelName, ClientId},
    },
};

/// The return type of a [`Backend`]'s calls. It is boxed because a hub knows its backend as `dyn Backend`. Create one
/// with `Box::pin(async move { .. })`.
pub type BackendFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// A store that several nodes share. The log lives here if it does not live in the process.
///
/// A *node* is a hub in one process, with all clones of its [`Publisher`](crate::Publisher). Nodes with the same store
/// are one hub to all publishers and readers. A node holds a mirror of each channel that it has readers of. It fills
/// the mirror with [`read`](Self::read) and keeps it up to date with the [`feed`](Self::feed). Replay, live delivery
/// and gaps come from the mirror. So a backend is called when an event is published and when a channel gets its first
/// reader on a node, not for each reader.
///
/// # What holds
///
/// - **Append is one step.** It assigns each of its events an [`Offset`], adds them to their channel, evicts what the
///   retention no longer allows, and pushes them to the feeds that watch the channel, or it does none of this. Offsets
///   grow over the whole hub, those of an append follow one another, and none is assigned twice in an epoch. A read
///   that begins after an append was acknowledged finds its events, or their eviction.
/// - **Conditions.** An append is refused, and changes nothing, if its [fence](super::Append::fence) is lower than the
///   highest one of the appends that the channel has taken, if the channel is finished, or if the channel's last event
///   is not the [expected](super::Append::expected) one. The store checks them in this order, and the fence only if
///   the append has one. It remembers a channel's fence and the cursor of its last event as long as it remembers
///   anything of the channel, whether or not it holds events of it. A channel that was closed keeps its fence, but has
///   no last event.
/// - **An end** without an event takes an offset, and counts as the channel's head, so that a node that misses it
///   notices.
/// - **Order.** A feed carries the events of all channels that it watches in the order of their offsets, and with each
///   event the offset of its predecessor in its channel. Channels that it does not watch leave holes in the offsets;
///   nothing else does.
/// - **Read is a snapshot** of one moment, given by one offset of the hub: everything that a channel holds after a
///   cursor, and what it no longer holds.
/// - **The longest retention wins** if nodes have different settings: no node deletes what another is set to hold, or
///   what the hub holds if the node has no setting. At the least, an append evicts no more than its own retention asks
///   for.
/// - **What is held** is what [`Retention::most_events`](crate::Retention::most_events),
///   [`max_bytes`](crate::Retention::max_bytes) and [`is_too_old`](crate::Retention::is_too_old) allow. Only the node
///   knows which part of that is history, and which is for connected readers only. A store may forget a channel that
///   is in progress and has had no event for a long time; it documents for how long.
/// - **Gaps are exact.** For a channel's broadcasts and for each client, a [mark](super::Marks) gives the highest
///   offset that was evicted: by count, bytes or age, or with the whole channel. A store that forgets a channel answers
///   with marks that are too high rather than too low.
/// - **Private.** A targeted event comes with its client, in reads and in the feed, and shows up nowhere else.
/// - **Exceptions.** An event comes with [the readers that it is not for](super::Except), in reads and in the feed, as
///   it was appended. A store does nothing else about them: its marks count the event for every reader of its lane.
/// - **Ephemeral events** are passed to the feeds that watch their channel, each in one place among the messages, after
///   the events that were acknowledged before. They take no offset, nothing is kept of them, and nothing counts them. A
///   feed may lose one. A channel that is finished need not refuse them.
/// - **The epoch** names one incarnation of all this. It changes if, and only if, acknowledged events or offsets may
///   have been lost other than by retention; an empty store has a new one. What a store still has may [go
///   on](super::Held::before) in the new epoch.
/// - **Custom ids** are unique among the events that a channel holds for any one reader: its broadcasts and those for
///   its client. The append of an id that is already held for a reader that would get it, or of an id twice, is
///   refused. Events for different clients may share an id.
/// - **An [idempotency key](crate::Event::idempotency_key)** is known if the channel has seen it within a window, which
///   the store documents, or holds its event. An event with a known key is not appended; the answer has the first
///   event's cursor and custom id instead. If that applies to all events of an append, nothing happens and nothing is
///   refused, regardless of the channel's present state and of the conditions. An event with the key of an earlier one
///   of the same append repeats that one.
///
/// # What may fail
///
/// Every call may fail at any time with [`BackendError`]. A call that is dropped before it answered counts as failed.
/// The node itself gives up on a call after [its timeout](crate::PublisherBuilder::timeout).
///
/// - A failed append may have happened, or may still happen, but only as a whole. An append that did not happen is
///   never acknowledged.
/// - A failed read, and every other failed call, changed nothing that a reader could see. The node asks again.
/// - A feed may end at any time. Messages that it would have carried are not kept for it: the node opens another feed,
///   and reads what it missed. A feed may even lose a message or send one twice. The node notices a lost message by the
///   predecessor of the next one or by [`heads`](Self::heads), and reads what is missing; it ignores a repeated
///   message. A feed must not change the order of messages.
/// - A store may return something that no node has put there: an event whose bytes are not an event's, or whose offset
///   is not above the previous one. Such an event counts as evicted, together with everything older in its channel. The
///   same goes for an event from a feed.
/// - A store may lose its data, and then has another epoch. If it loses its latest data without noticing, a node that
///   knows better asks it to [renew](Self::renew) its epoch.
///
/// # Cost
///
/// A node calls `append` for each publish, `read` when a channel gets its first reader on the node and after a loss,
/// and `heads` every five seconds while the hub is published to and when a feed begins. It makes a constant number of
/// the other calls every few seconds, regardless of the number of readers.
///
/// For a complete backend, in a file, see the example `examples/file_backend`.
pub trait Backend: Send + Sync + 'static {
    /// Appends events to a channel, finishes it, or does both.
    fn append(&self, append: Append) -> BackendFuture<'_, Appended>;

    /// Passes an ephemeral event to the feeds that watch its channel, and keeps nothing. By default it fails.
    fn pass(&self, event: Ephemeral) -> BackendFuture<'_, ()> {
        drop(event);
        Box::pin(async { Err(BackendError::new("this backend does not pass ephemeral events")) })
    }

    /// Tells the store that a node is set to hold this much of every channel. By default it does nothing.
    ///
    /// It is called once per node, before any other call, and only if the node has [one
    /// retention](crate::PublisherBuilder::retention) for all channels. A store that remembers it holds as much of what
    /// nodes without a setting publish.
    fn hold(&self, retention: Retention) {
        let _ = retention;
    }

    /// Reads what a channel holds after the offset `after` of the current epoch, or everything it holds if `after` is
    /// [`Offset::START`].
    ///
    /// `retention` is what the node is set to hold of the channel, or the default. A store that uses another one
    /// [says so](Held::retention). Nothing older than the retention in use allows is included: that counts as evicted.
    fn read(&self, channel: ChannelName, after: Offset, retention: Retention) -> BackendFuture<'_, Held>;

    /// Like [`read`](Self::read), but reports progress, and gets no retention from a node that has no setting. By
    /// default it calls `read`.
    ///
    /// A node gives up on any other call that takes longer than [its timeout](crate::PublisherBuilder::timeout). On
    /// this call it gives up only if there is no progress for that long. Implement it if your store reads a channel in
    /// pages over a network, where a long channel may take any time.
    fn read_paged(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        progress: Progress,
    ) -> BackendFuture<'_, Held> {
        drop(progress);
        self.read(channel, after, retention.unwrap_or_default())
    }

    /// Like [`read_paged`](Self::read_paged), but returns no more than the oldest `limit` events after `after`, and
    /// [says](Held::more) whether there are more. By default it reads all events and leaves out the rest.
    ///
    /// It is called by [`Channel::read`](crate::Channel::read). Implement it if your store can read a part of a long
    /// channel for less.
    fn read_some(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        limit: usize,
        progress: Progress,
    ) -> BackendFuture<'_, Held> {
        Box::pin(async move {
            let mut held = self.read_paged(channel, after, retention, progress).await?;
            held.cut(limit);
            Ok(held)
        })
    }

    /// Returns the state of a channel, without its events. By default it reads all events.
    ///
    /// It is called by [`Channel::info`](crate::Channel::info). Implement it if your store can find this out for less.
    fn about(
        &self,
        channel: ChannelName,
        retention: Option<Retention>,
        progress: Progress,
    ) -> BackendFuture<'_, About> {
        Box::pin(async move { Ok(About::of(self.read_paged(channel, Offset::START, retention, progress).await?)) })
    }

    /// Returns how far each of these channels is, as of one moment. A node asks for a few hundred channels at a time,
    /// and reads those that it does not have completely. It asks for no channel at all to find out whether the store
    /// [answers](crate::Publisher::health).
    fn heads(&self, channels: Vec<ChannelName>) -> BackendFuture<'_, Heads>;

    /// Forgets a channel's events, and that it was finished. The events then count as evicted. Pushes
    /// [`Message::Closed`] to the feeds that watch the channel. The name can be used again.
    ///
    /// [`Message::Closed`]: super::Message::Closed
    fn close(&self, channel: ChannelName) -> BackendFuture<'_, ()>;

    /// Begins a new epoch and returns the epoch that is current afterwards. A node calls this when it has seen offsets
    /// of the epoch `lost` that the store does not know. If `lost` is no longer the current epoch, nothing changes.
    fn renew(&self, lost: Epoch) -> BackendFuture<'_, Epoch>;

    /// Runs a feed: handles the [requests](super::Request) and sends [messages](super::Message). It returns `Ok` when
    /// the requests end, and an error when it can't go on. The node drops the future if nothing came for too long.
    fn feed(&self, requests: Requests, messages: Messages) -> BackendFuture<'_, ()>;

    /// Passes a notice to all current feeds, regardless of the channels that they watch, as [`Message::Told`]. The
    /// store keeps nothing of it: a node without a feed at that moment does not get it, and a notice that failed may
    /// have reached some nodes. By default it fails, because a store may not support it.
    ///
    /// [`Message::Told`]: super::Message::Told
    fn tell(&self, notice: Notice) -> BackendFuture<'_, ()> {
        drop(notice);
        Box::pin(async { Err(BackendError::new("the backend passes no notices to other nodes")) })
    }

    /// Records how many streams a client whose streams are limited has open on a node, replacing what the
    /// node has told of that client before. Returns `false`, and changes nothing, if there is a `max`, and the client
    /// would have more streams than that on all nodes together.
    ///
    /// What a node has told counts for about three times [`Presence::EVERY`] after its last report, and each
    /// [report](Self::refresh) replaces all of it. So a count that was lost, or that came in another order, is right
    /// again with the next report. By default nothing is counted, and each node limits its own streams only.
    fn count(&self, streams: Streams) -> BackendFuture<'_, bool> {
        drop(streams);
        Box::pin(async { Ok(true) })
    }

    /// Records who is connected to a node, replacing what the node reported before. Forget the record if the node does
    /// not report again for about three times [`Presence::EVERY`]. By default nothing is kept.
    fn refresh(&self, present: Presence) -> BackendFuture<'_, ()> {
        drop(present);
        Box::pin(async { Ok(()) })
    }

    /// Returns who is connected to a channel on all nodes. By default it returns nobody.
    fn presence(&self, channel: ChannelName) -> BackendFuture<'_, Connected> {
        drop(channel);
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Each client that is connected to a channel, with its number of connections; `None` stands for connections without a
/// client.
pub type Connected = Vec<(Option<ClientId>, usize)>;

/// Who is connected to a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Presence {
    /// A random number that identifies the node as long as it runs.
    pub node: u64,
    /// Its connections by channel. Each channel occurs once, and each client once per channel.
    pub channels: Vec<(ChannelName, Connected)>,
    /// How many streams each client has open on the node whose streams are limited: see [`Backend::count`].
    pub streams: Vec<(Arc<str>, usize)>,
}

impl Presence {
    /// How often a node reports its connections. A count is right again this long after a change, and three times this
    /// long after a node was killed.
    pub const EVERY: Duration = Duration::from_secs(5);

    pub(crate) fn new(node: u64, channels: Vec<(ChannelName, Connected)>, streams: Vec<(Arc<str>, usize)>) -> Self {
        Self { node, channels, streams }
    }
}
