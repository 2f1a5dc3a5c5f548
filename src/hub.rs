//! The in-process engine: channels that are published to and read from at the same time.
//!
//! A channel is a log and its readers under one lock. A publisher appends an event and takes the wakers of the readers that
//! wait; a reader reads what is after its cursor, or parks its waker. Each of them takes the lock once. Offsets are given
//! under a channel's lock from the hub's counter: a reader of several channels that reads each of them up to the same offset
//! has seen everything up to it.
//!
//! # The seam
//!
//! A hub in process is built over nothing, and one whose log lives somewhere else over an [`Elsewhere`](seam::Elsewhere). The
//! hub tells it when a channel is entered and when its last reader has left, and asks it to wake a reader once the hub's last
//! offset has risen far enough. Each channel of such a hub has a [`Coverage`](coverage::Coverage), which says how much of its
//! log has arrived. Whoever fills the logs keeps that right, under the channel's lock, and does everything else from outside.
//!
//! # The files
//!
//! | file | what |
//! | --- | --- |
//! | `engine` | [`Hub`]: what it is made of, and its end |
//! | `channels`, `publish`, `write`, `pass`, `open` | what is done to it: channels made and closed, events one by one, several or with a condition, ephemeral events, readers |
//! | `registry`, `state` | all channels by name; one channel under its lock, with what only some have in `state::beside` |
//! | `readers`, `wait` | the readers of one channel, with the ids that they have announced; the wakers of those that wait |
//! | `subscription`, `seats` | a reader, with its cursor; how many there may be, and which have ended |
//! | `position`, `positions`, `merge` | a reader's place in one channel; in all of them; which of several has the next event |
//! | `ledger`, `reclaim` | the memory that all channels take; making room |
//! | `due`, `sweep`, `slices` | upkeep: when, what, and how much at once |
//! | `coverage`, `early`, `seam` | a hub whose log lives elsewhere |
//! | `page`, `info` | what a channel holds, without a subscription |
//! | `inspect` | lists of channels, and of the readers of one |
//! | `vigil`, `unread` | waiting until nobody reads a channel |
//! | `life`, `watch` | the record of a stream, and who is told of it |
//! | `recheck` | deciding anew whether a reader may go on |
//! | `toll`, `allowance` | charging for what is replayed; how many streams somebody may have open |
//! | `batch`, `grant`, `limits`, `options`, `sent` | public values |

pub(crate) mod allowance;
pub(crate) mod batch;
pub(crate) mod channels;
pub(crate) mod coverage;
pub(crate) mod due;
pub(crate) mod early;
pub(crate) mod engine;
pub(crate) mod grant;
pub(crate) mod info;
#[cfg(feature = "inspect")]
pub(crate) mod inspect;
pub(crate) mod ledger;
pub(crate) mod life;
pub(crate) mod limits;
pub(crate) mod merge;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod page;
pub(crate) mod pass;
pub(crate) mod position;
pub(crate) mod positions;
pub(crate) mod publish;
pub(crate) mod readers;
pub(crate) mod recheck;
pub(crate) mod reclaim;
pub(crate) mod registry;
pub(crate) mod seam;
pub(crate) mod seats;
pub(crate) mod sent;
pub(crate) mod slices;
#[cfg(feature = "metrics")]
mod slowest;
pub(crate) mod state;
pub(crate) mod subscription;
pub(crate) mod sweep;
pub(crate) mod toll;
mod unread;
mod vigil;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod write;

pub use self::{
    batch::Batch,
    grant::Grant,
    info::{ChannelState, Info},
    life::{Closed, Ending, Opened, Resumed},
    limits::Limits,
    options::{Duplicates, OpenOptions, Start},
    page::Page,
    sent::Sent,
    subscription::{Delivery, Subscription},
};
pub(crate) use self::{
    engine::{Hub, HubSettings},
    open::open,
    subscription::{Run, Turn},
    watch::Watch,
};
