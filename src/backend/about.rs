//! The state of a channel, without its events.

use super::entry::{Entry, Held};
use crate::wire::cursor::{Epoch, Offset};

/// The state of a channel, as of one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct About {
    /// The epoch of all these offsets.
    pub epoch: Epoch,
    /// The last offset that the channel has assigned, if the store knows of one that counts. See [`Held::since`].
    pub head: Option<Offset>,
    /// Whether the channel is finished.
    pub finished: bool,
    /// The offset of the oldest event that is held.
    pub first: Option<Offset>,
    /// How many events are held.
    pub events: usize,
    /// What the held events count against [`Retention::max_bytes`](crate::Retention::max_bytes).
    pub bytes: usize,
    /// The newest event for everybody, if it is held.
    pub newest: Option<Entry>,
}

impl About {
    /// Creates the answer for a channel about which nothing is known.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, head: None, finished: false, first: None, events: 0, bytes: 0, newest: None }
    }

    /// Derives the answer from everything that the channel holds.
    pub(super) fn of(held: Held) -> Self {
        let Held { epoch, head, since, finished, entries, .. } = held.without_damage();
        Self {
            head: Some(head).filter(|head| *head > since),
            finished,
            first: entries.first().map(|entry| entry.offset),
            events: entries.len(),
            bytes: entries.iter().map(|entry| entry.cost(epoch)).sum(),
            newest: entries.into_iter().rfind(|entry| entry.client.is_none()),
            ..Self::new(epoch)
        }
    }
}
