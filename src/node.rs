//! A hub whose log lives in a [store](crate::backend::Backend) that several processes share: a *node*.
//!
//! A node publishes by asking the store. For each channel that is read here it has a *mirror*, a copy of the channel's log in
//! the hub. The *driver*, one task, loads the mirrors, and keeps them up with what the store's feed brings. The *level* is
//! the offset up to which all mirrors are whole; readers of several channels read no further than it.
//!
//! | file | what |
//! | --- | --- |
//! | `remote` | what an application asks of the store, and the hub's [`Elsewhere`](crate::hub::seam::Elsewhere) |
//! | `opening` | the wait for channels that have to be loaded before a reader starts |
//! | `link` | what callers and driver share: the store, and how far this node has come |
//! | `level` | a number that grows, and those who wait for it |
//! | `mirror` | one channel: what becomes of an event of the feed, and of what was read |
//! | `pass` | ephemeral events, to the store and from its feed |
//! | `pulse` | whether the feed is alive, and how far the mirrors lag behind |
//! | `reading` | what a channel holds in the store, without a subscription |
//! | `streams`, `untold` | how many streams are open here under an allowance, for the store |
//! | `told` | what nodes tell each other |
//! | `driver` | the task: sessions, pauses, channels that nobody reads |

pub(crate) mod driver;
pub(crate) mod level;
pub(crate) mod link;
pub(crate) mod mirror;
pub(crate) mod opening;
pub(crate) mod pass;
pub(crate) mod pulse;
mod reading;
pub(crate) mod remote;
#[cfg(all(test, not(loom)))]
mod silent;
pub(crate) mod streams;
pub(crate) mod told;
pub(crate) mod untold;
