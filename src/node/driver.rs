//! The driver: the task of a node that runs the feed, fills the mirrors, and reports who is connected.
//!
//! The first reader starts the driver. It ends with the hub or with its runtime; in the second case a reader in another
//! runtime starts the next one. While there are channels to watch, the driver has a *session*: one feed, and everything
//! that it asks of the store in that time.
//!
//! A session belongs to one epoch. When a message contradicts the epoch, the feed ends, or nothing has arrived for too
//! long, the driver begins another session. That session watches all channels again and reads what each of them has
//! missed. Until that is done the level does not rise: readers of several channels wait, all readers stay connected,
//! and none of them sees a hole. If a channel can't be read after several tries, the level stops waiting for it, and the
//! readers of other channels go on. Its own readers wait until it can be read, those of several channels too.

mod calls;
mod command;
mod duties;
mod pause;
mod session;
mod task;
mod watched;

pub(crate) use self::{command::Command, task::run};
