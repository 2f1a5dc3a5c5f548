//! Where the log lives.
//!
//! A backend gives each event its place. What it promises to the floors above, whatever it is made of:
//!
//! - **Append** assigns the offset and puts the event in the channel's log in one step: in a channel, offsets only grow,
//!   and over the hub each is given once. An event that was refused left nothing behind.
//! - **Last** is an offset up to which every event is in its log, or will be before its log can be read again. That is
//!   what lets one cursor stand for a position in many channels.
//! - **Epoch** names one incarnation of all that; it changes when, and only when, the log was lost.
//! - **Gaps are exact**: for a channel that is gone there is a tombstone that says what had been evicted, for whom.
//!
//! The in-process backend, [`memory`], is the only one; the logs themselves are held by the channels, so that a read
//! takes one lock.

pub(crate) mod memory;
