//! The seam: what a hub asks of whoever fills its logs, where the log lives elsewhere.
//!
//! A hub in process is built without it: what is published to the hub is in its logs at once. Otherwise each channel has a
//! [`Coverage`](super::coverage::Coverage), and events get into the logs, and the hub's last offset rises, from outside.

use std::{num::NonZeroU64, sync::Arc, task::Waker};

use super::state::Shared;
use crate::wire::cursor::Offset;

/// Where a hub's log lives, if not in the hub.
pub(crate) trait Elsewhere: Send + Sync {
    /// A reader has entered a channel, which is locked. `first`: none had since the channel was made.
    fn entered(&self, channel: &Arc<Shared>, first: bool);

    /// Nobody reads a channel any more. The hub leaves it to the other side to drop it.
    fn unread(&self, channel: &Arc<Shared>);

    /// A reader has nothing to read, and is parked in its channels.
    fn waits(&self);

    /// Whether the hub's last offset is still to reach `offset`: then `waker` is woken when it does. A reader has one place,
    /// which is to be [left](Self::leave) when it waits no more.
    fn wait_for(&self, offset: Offset, place: &mut Option<Box<Place>>, waker: &Waker) -> bool;

    /// A reader waits for no offset any more.
    fn leave(&self, place: &mut Option<Box<Place>>);
}

/// A place among those who wait for a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// What is waited for.
    pub(crate) number: u64,
    /// Who waits.
    pub(crate) who: Option<NonZeroU64>,
}
