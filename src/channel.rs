//! The concurrent floor: channels that are published to and read from at once.
//!
//! A channel is a log and its readers under one lock. A publisher appends and takes out the wakers of those who wait; a
//! reader reads after its cursor, or parks: either way the lock is taken once. Offsets are given under the channel's lock,
//! from the hub's counter, so that a reader of several channels can read each up to the same offset and has then seen
//! everything up to it.
//!
//! With a remote [backend](crate::backend::Backend) the same logs are mirrors: a publish goes to the backend's store, and events come
//! into the logs by the hub's [driver].

mod driver;
mod gate;
pub(crate) mod grant;
mod hub;
mod limits;
mod mirror;
mod open;
mod opening;
mod options;
mod position;
mod readers;
mod registry;
mod remote;
mod sent;
mod slab;
mod state;
mod subscription;
mod sweep;
mod wait;

pub use self::{
    grant::Grant,
    limits::Limits,
    opening::Opening,
    options::{Duplicates, OpenOptions, Start},
    sent::Sent,
    subscription::{Delivery, Subscription},
};
pub(crate) use self::{
    hub::{Hub, HubSettings, end_client},
    open::open,
    state::State,
};
