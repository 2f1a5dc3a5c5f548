//! The task of a hub whose backend is not in process: runs the feed, fills the mirrors, and says who is connected.
//!
//! It begins with the first reader, and ends with the hub, or with its runtime: then a reader of another runtime begins the
//! next. As long as there is a channel to watch it has a *session*: one feed, and all that is asked of the store meanwhile.
//! A session is of one epoch; when anything contradicts it, or the feed ends, or nothing came for too long, the next one
//! begins anew: it watches all channels, and reads what each of them missed. Until that is done the level stands still, and
//! with it the readers of several channels; all readers stay where they are, and none sees a hole. Only for a channel that
//! can't be read time after time the level does not wait: its late events are a gap to those who went on.

mod calls;
mod command;
mod duties;
mod pause;
mod session;
mod task;
mod watched;

pub(crate) use self::{command::Command, task::run};
