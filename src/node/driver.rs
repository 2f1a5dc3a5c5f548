//! The driver: the task of a node that runs the feed, fills the mirrors, and reports who is connected.
//!
//! The first reader starts it. It ends with the hub, or with its runtime; then a reader in another runtime starts the next one.
//! While there are channels to watch, it has a *session*: one feed, and everything that it asks of the store meanwhile.
//!
//! A session belongs to one epoch. When something contradicts it, the feed ends, or nothing has come for too long, the driver
//! begins another session, which watches all channels again and reads what each of them has missed. Until that is done the
//! level does not rise: readers of several channels wait, all readers stay connected, and none of them sees a hole. If a
//! channel can't be read after several tries, the level stops waiting for it; readers that went on get a gap when its events
//! come at last.

mod calls;
mod command;
mod duties;
mod pause;
mod session;
mod task;
mod watched;

pub(crate) use self::{command::Command, task::run};
