//! The contract of a [`Backend`]: what a store has to promise so that several nodes are one hub, and the types that the
//! store and a node exchange.
//!
//! If you only use a backend, you need none of this: pass one to
//! [`PublisherBuilder::backend`](crate::PublisherBuilder::backend). The crate has a backend for Redis behind the
//! feature `redis`. A hub without a backend is in process, and that is not a `Backend`: its logs live in the channels
//! themselves, so that a publish or a read takes a single lock.

mod about;
mod append;
mod contract;
mod entry;
mod feed;
mod heads;
#[cfg(feature = "metrics")]
pub(crate) mod measured;
pub(crate) mod memory;
mod notice;
mod progress;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod streams;

pub use crate::wire::except::Except;

pub(crate) use self::feed::channels as feed_channels;
#[cfg(all(feature = "redis", fuzzing))]
pub use self::redis::stored;
pub use self::{
    about::About,
    append::{Append, Appended, Expected, NewEvent, Placed},
    contract::{Backend, BackendFuture, Connected, Presence},
    entry::{Entry, Held, Marks},
    feed::{Ephemeral, Incoming, Message, Messages, Request, Requests},
    heads::{Head, Heads},
    notice::Notice,
    progress::Progress,
    streams::Streams,
};
