//! Where the log lives: the contract that every backend keeps, and the adapters.
//!
//! The in-process one, [`memory`], keeps it without the trait's calls in its way: the logs are held by the channels, so
//! that a publish or a read takes one lock. For every other [`Backend`] the same logs are a node's mirror of what its
//! readers read.

mod contract;
mod entry;
mod feed;
pub(crate) mod memory;
#[cfg(feature = "redis")]
mod redis;

pub(crate) use self::feed::channels as feed_channels;
#[cfg(all(feature = "redis", fuzzing))]
pub use self::redis::stored;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::{Redis, RedisBuilder};
pub use self::{
    contract::{Append, Appended, Backend, BackendFuture, Connected, Present},
    entry::{Entry, Held, Marks},
    feed::{Incoming, Message, Messages, Request, Requests},
};
