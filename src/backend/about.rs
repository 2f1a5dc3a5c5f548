//! How a channel is, without its events.

use super::entry::{Entry, Held};
use crate::wire::cursor::{Epoch, Offset};

/// How a channel is, as of one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct About {
    /// The epoch of all these offsets.
    pub epoch: Epoch,
    /// The last offset that the channel has assigned, if the store knows of one that counts: see [`Held::since`].
    pub head: Option<Offset>,
    /// Whether the channel is finished.
    pub finished: bool,
    /// The offset of the oldest event that is held.
    pub first: Option<Offset>,
    /// How many events are held.
    pub events: usize,
    /// What they count against [`Retention::max_bytes`](crate::Retention::max_bytes).
    pub bytes: usize,
    /// The newest event for everybody, if it is held.
    pub newest: Option<Entry>,
}

impl About {
    /// Creates what is said of a channel that nothing is known of.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, head: None, finished: false, first: None, events: 0, bytes: 0, newest: None }
    }

    /// What follows from all that the channel holds.
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
