//! The in-process engine: channels that are published to and read from at the same time.
//!
//! A channel is a log and its readers under one lock. A publisher appends an event and takes the wakers of the readers that
//! wait; a reader reads what is after its cursor, or parks its waker. Each of them takes the lock once. Offsets are given
//! under a channel's lock from the hub's counter: a reader of several channels that reads each of them up to the same offset
//! has seen everything up to it.
//!
//! # The seam
//!
//! A hub whose log lives somewhere else is built over an [`Elsewhere`](seam::Elsewhere), and one in process over nothing. Each
//! channel of such a hub has a [`Coverage`](coverage::Coverage), which says how much of the channel's log has arrived;
//! whoever fills the log keeps it right, under the channel's lock. The hub tells its `Elsewhere` when a channel is entered and when its
//! last reader has left, and asks it to wake a reader once the hub's last offset has reached another one; everything else
//! is done to the hub from outside.
//!
//! # The files
//!
//! | file | what |
//! | --- | --- |
//! | `engine` | [`Hub`]: publishing, closing, shutting down |
//! | `registry`, `state` | all channels by name; one channel under its lock |
//! | `readers`, `wait` | the readers of one channel; the wakers of those that wait |
//! | `open` | opening a subscription: limits, and where it starts |
//! | `subscription` | a reader: a cursor, and what it is told of losses and ends |
//! | `position`, `positions`, `merge` | its place in one channel; in all of them; which of several has the next event |
//! | `due`, `sweep` | upkeep: when, and what |
//! | `coverage`, `seam` | a hub whose log lives elsewhere |

pub(crate) mod coverage;
pub(crate) mod due;
pub(crate) mod engine;
pub(crate) mod grant;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod merge;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod position;
pub(crate) mod positions;
pub(crate) mod readers;
pub(crate) mod reclaim;
pub(crate) mod registry;
pub(crate) mod seam;
pub(crate) mod seats;
pub(crate) mod sent;
pub(crate) mod slices;
pub(crate) mod state;
pub(crate) mod subscription;
pub(crate) mod sweep;
pub(crate) mod wait;

pub(crate) use self::{
    engine::{Hub, HubSettings, end_client},
    open::open,
};
pub use self::{
    grant::Grant,
    limits::Limits,
    options::{Duplicates, OpenOptions, Start},
    sent::Sent,
    subscription::{Delivery, Subscription},
};
