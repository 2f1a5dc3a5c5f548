//! The seam between a hub and the side that fills its logs, if the logs live elsewhere.
//!
//! A hub in process has no such side: what is published to the hub is in its logs at once. Otherwise each channel has
//! a [`Coverage`](super::coverage::Coverage), and the other side adds events to the logs and raises the hub's last
//! offset.

use std::{num::NonZeroU64, sync::Arc, task::Waker};

use super::{allowance::CountedElsewhere, state::Shared};
use crate::wire::cursor::Offset;

/// The place where a hub's logs live, if not in the hub.
pub(crate) trait Elsewhere: CountedElsewhere {
    /// Called when a reader has entered a channel, with the channel locked. `first` says whether it is the first
    /// reader since the channel was made.
    fn entered(&self, channel: &Arc<Shared>, first: bool);

    /// Called when nobody reads a channel any more. The hub leaves it to the other side to drop the channel.
    fn unread(&self, channel: &Arc<Shared>);

    /// Called when a reader has nothing to read and is parked in its channels.
    fn waits(&self);

    /// Returns whether the hub's last offset has yet to reach `offset`. If so, `waker` is woken when it does. A reader
    /// has one place, which it must [leave](Self::leave) when it stops waiting.
    fn wait_for(&self, offset: Offset, place: &mut Option<Box<Place>>, waker: &Waker) -> bool;

    /// Called when a reader no longer waits for an offset.
    fn leave(&self, place: &mut Option<Box<Place>>);
}

/// A place among those that wait for a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The number that is waited for.
    pub(crate) number: u64,
    /// Identifies the reader that waits.
    pub(crate) who: Option<NonZeroU64>,
}
