//! The concurrent floor: channels that are published to and read from at once.
//!
//! A channel is a log and its readers under one lock. A publisher appends and takes out the wakers of those who wait; a
//! reader reads after its cursor, or parks: either way the lock is taken once. Offsets are given under the channel's lock,
//! from the hub's counter, so that a reader of several channels can read each up to the same offset and has then seen
//! everything up to it.
//!
//! With a remote [backend](crate::backend::Backend) the same logs are mirrors: a publish goes to the backend's store, and events come
//! into the logs by the node's [driver](crate::node::driver).

pub(crate) mod coverage;
pub(crate) mod due;
pub(crate) mod engine;
pub(crate) mod grant;
pub(crate) mod limits;
pub(crate) mod merge;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod position;
pub(crate) mod positions;
pub(crate) mod readers;
pub(crate) mod registry;
pub(crate) mod seam;
pub(crate) mod sent;
pub(crate) mod state;
pub(crate) mod subscription;
pub(crate) mod sweep;
pub(crate) mod wait;

pub(crate) use self::{
    engine::{Hub, HubSettings, end_client},
    open::open,
    state::State,
};
pub use self::{
    grant::Grant,
    limits::Limits,
    options::{Duplicates, OpenOptions, Start},
    sent::Sent,
    subscription::{Delivery, Subscription},
};
