//! The concurrent floor: channels that are published to and read from at once.
//!
//! A channel is a log and its readers under one lock. A publisher appends and takes out the wakers of those who wait; a
//! reader reads after its cursor, or parks: either way the lock is taken once. Offsets are given under the channel's lock,
//! from the hub's counter, so that a reader of several channels can read each up to the same offset and has then seen
//! everything up to it.

pub(crate) mod grant;
mod hub;
mod limits;
mod open;
mod options;
mod position;
mod readers;
mod registry;
mod slab;
mod state;
mod subscription;
mod wait;

pub use self::{
    grant::Grant,
    limits::Limits,
    options::{Duplicates, OpenOptions, Start},
    subscription::{Delivery, Subscription},
};
pub(crate) use self::{
    hub::{Hub, HubSettings, end_client},
    open::open,
    state::State,
};
