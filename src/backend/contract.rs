//! What a backend promises, and the calls it promises it for.

use std::{pin::Pin, time::Duration};

use super::{
    append::{Append, Appended},
    entry::Held,
    feed::{Messages, Requests},
    progress::Progress,
};
use crate::{
    error::BackendError,
    log::Retention,
    wire::{
        cursor::{Epoch, Offset},
        name::{ChannelName, ClientId},
    },
};

/// What a [`Backend`]'s calls return: boxed, since a hub knows its backend as `dyn Backend`. `Box::pin(async move { .. })`
/// makes one.
pub type BackendFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// A store that several nodes share: where the log lives when it does not live in the process.
///
/// A *node* is a hub in a process, with all clones of its [`Publisher`](crate::Publisher). Nodes with the same store are
/// one hub to whoever publishes and reads. A node holds a mirror of each channel that it has readers of, filled by
/// [`read`](Self::read) and kept up by the [`feed`](Self::feed); replay, live delivery and gaps come from there, so that a
/// backend is asked when events are published and when a channel's first reader on a node comes, and not for each reader.
///
/// # What holds
///
/// - **Append is one step.** It gives the event an [`Offset`], puts it in its channel, evicts what the retention no longer
///   allows and pushes it to the feeds that watch the channel, or it does nothing of this. Offsets grow over the whole hub,
///   and none is given twice in an epoch. Whoever reads after an append was acknowledged finds the event, or its eviction.
/// - **Order.** A feed carries the events of all channels that it watches in the order of their offsets, and for each the
///   offset of its predecessor in its channel. What it does not watch leaves holes in the offsets, and only that.
/// - **Read is a snapshot**: all that is held of a channel after a cursor, and what is not held any more, as of one
///   offset of the hub.
/// - **The longest retention wins**, where nodes are set to different ones: none deletes what another is set to hold, or what the
///   hub holds where it is set to nothing. At least an append evicts no more than its own retention asks for.
/// - **Gaps are exact.** For the broadcasts of a channel and for each client a [mark](super::Marks) says the highest offset
///   that was evicted, by count, by bytes, by age, or with the whole channel. A store that forgets a channel answers with
///   marks that are too high rather than too low.
/// - **Private.** A targeted event comes with its client, in reads and in the feed, and nothing of it shows elsewhere.
/// - **The epoch** names one incarnation of all this. It changes when, and only when, acknowledged events or offsets may
///   have been lost other than by retention: an empty store has a new one. What a store still has may
///   [go on](super::Held::before) in the new one.
/// - **Ids of the application's own** are unique among the events that a channel holds for the same readers: an append of
///   one that is held is refused.
/// - **An [idempotency key](crate::Event::idempotency_key)** that a channel has seen within the store's window, which it
///   states, is answered with the first append's cursor, and nothing else happens, whatever became of the channel since.
///
/// # What may fail
///
/// Every call, at any time, with [`BackendError`]; and a call that is dropped before it answered counts as failed. The node
/// gives up on one by itself after [its timeout](crate::PublisherBuilder::timeout).
///
/// - A failed append may have happened, or happen later, whole or not at all. It is never acknowledged otherwise.
/// - A failed read, and every other failed call, changed nothing that a reader could see; the node asks again.
/// - A feed may end at any time. What it was to carry meanwhile is not kept for it: the node opens another, and reads
///   what it missed. A feed may even lose a message, or bring one twice. The node sees the first by the predecessor of the
///   next one or by [`heads`](Self::heads), and reads what is missing; the second it ignores. It must not bring messages in
///   another order.
/// - A store may give back what no node has put there: an event whose bytes are none's, or whose offset is not above the
///   one before it, counts as evicted, with all that is older in its channel. So does one that a feed brings.
/// - A store may lose its data, and then has another epoch; or lose the last of them without noticing, and then a node
///   that knows better asks it to [renew](Self::renew) its epoch.
///
/// # Cost
///
/// A node calls `append` for each publish; `read` when a channel gets its first reader there, and after a loss; and a
/// constant number of the others every few seconds, however many readers it has.
///
/// A whole one, in a file, is among the examples: `examples/file_backend`.
pub trait Backend: Send + Sync + 'static {
    /// Appends an event.
    fn append(&self, append: Append) -> BackendFuture<'_, Appended>;

    /// A node is built that holds this much of every channel. Called once for each node, before all else, and only where the
    /// node has [one retention](crate::PublisherBuilder::retention) for all channels. A store that remembers it holds as much of
    /// what other nodes publish, though these are not set. By default nothing is done.
    fn hold(&self, retention: Retention) {
        let _ = retention;
    }

    /// What is held of a channel after the offset `after`, which is of the current epoch, or all of it. Nothing that is
    /// older than its retention allows is in it: that counts as evicted. `retention` is what the node is set to hold of the
    /// channel, if it is set. What the store goes by, if that is not it, it [says](Held::retention).
    fn read(&self, channel: ChannelName, after: Offset, retention: Option<Retention>) -> BackendFuture<'_, Held>;

    /// The same as [`read`](Self::read), and says when some of it has come. A node gives up on a call that takes longer than
    /// [its timeout](crate::PublisherBuilder::timeout); on this one only if it makes no progress for so long. It matters to a
    /// store that reads a channel in pages over a network, where a long one may take any time. By default it is `read`.
    fn read_paged(
        &self,
        channel: ChannelName,
        after: Offset,
        retention: Option<Retention>,
        progress: Progress,
    ) -> BackendFuture<'_, Held> {
        drop(progress);
        self.read(channel, after, retention)
    }

    /// The offset that each of these channels gave last, in their order; [`Offset::START`] for one that is not known.
    fn heads(&self, channels: Vec<ChannelName>) -> BackendFuture<'_, Vec<Offset>>;

    /// Forgets a channel's events, which count as evicted, and that it was finished, and pushes [`Message::Closed`] to
    /// the feeds that watch it. Its name can be used anew.
    ///
    /// [`Message::Closed`]: super::Message::Closed
    fn close(&self, channel: ChannelName) -> BackendFuture<'_, ()>;

    /// Begins a new epoch, unless `lost` is not the current one any more: a node has seen offsets of it that the store
    /// does not know. Says which epoch there is now.
    fn renew(&self, lost: Epoch) -> BackendFuture<'_, Epoch>;

    /// Runs a feed: does what is [requested](super::Request), and sends [messages](super::Message), until the requests
    /// end, which is `Ok`, or it can't go on. The node drops it when nothing came for too long.
    fn feed(&self, requests: Requests, messages: Messages) -> BackendFuture<'_, ()>;

    /// Takes over who is connected to a node; what the node said before is void. Forgotten when it is not said anew for
    /// about three times [`Presence::EVERY`]. By default nothing is kept.
    fn refresh(&self, present: Presence) -> BackendFuture<'_, ()> {
        drop(present);
        Box::pin(async { Ok(()) })
    }

    /// Who is connected to a channel on all nodes. By default nobody.
    fn presence(&self, channel: ChannelName) -> BackendFuture<'_, Connected> {
        drop(channel);
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Each client that is connected to a channel, `None` for those without one, with the number of its connections.
pub type Connected = Vec<(Option<ClientId>, usize)>;

/// Who is connected to a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Presence {
    /// A random number, the node's as long as it runs.
    pub node: u64,
    /// Its connections by channel. Each channel once, each client once in it.
    pub channels: Vec<(ChannelName, Connected)>,
}

impl Presence {
    /// How often a node says so. A count is right again this long after a change, and three times this after a node was
    /// killed.
    pub const EVERY: Duration = Duration::from_secs(5);

    pub(crate) fn new(node: u64, channels: Vec<(ChannelName, Connected)>) -> Self {
        Self { node, channels }
    }
}
