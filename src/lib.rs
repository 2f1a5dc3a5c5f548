//! STUB docs
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authorize;
mod channel;
mod cursor;
mod encode;
mod error;
mod event;
mod log;
mod name;
mod notice;
mod observe;
mod publisher;
mod serve;
mod trace;

pub use crate::{
    channel::{
        grant::Grant,
        options::{Duplicates, OpenOptions, Start},
        subscription::{Delivery, Subscription},
    },
    cursor::{Cursor, Epoch, EventId, Offset},
    encode::EncodedEvent,
    error::{InvalidText, OpenError, PublishError, RouteError, SerializeError},
    event::Event,
    log::Retention,
    name::{ChannelName, ClientId, Comment, CustomId, EventName},
    notice::{EndReason, Gap, GapReason},
    observe::Stats,
    publisher::{Channel, Limits, Publisher, PublisherBuilder, Sent},
};
