//! What a store has to promise, and is asked, so that several nodes are one hub: the contract of a [`Backend`], and the
//! words that it and a node exchange.
//!
//! Who uses one needs nothing of this: it is given to [`PublisherBuilder::backend`](crate::PublisherBuilder::backend). The
//! crate has one in Redis behind the feature `redis`, and the one of every hub without a backend, in process, which is not a
//! `Backend`: its logs are in the channels themselves, so that a publish or a read takes one lock.

mod append;
mod contract;
mod entry;
mod feed;
pub(crate) mod memory;
mod progress;
#[cfg(feature = "redis")]
pub(crate) mod redis;

pub(crate) use self::feed::channels as feed_channels;
#[cfg(all(feature = "redis", fuzzing))]
pub use self::redis::stored;
pub use self::{
    append::{Append, Appended},
    contract::{Backend, BackendFuture, Connected, Presence},
    entry::{Entry, Held, Marks},
    feed::{Incoming, Message, Messages, Request, Requests},
    progress::Progress,
};
