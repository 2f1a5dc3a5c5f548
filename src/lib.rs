//! STUB docs
#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authorize;
mod backend;
mod channel;
mod cursor;
mod encode;
mod error;
mod event;
mod log;
mod name;
mod notice;
mod observe;
mod percent;
mod publisher;
mod serve;
mod sync;
mod trace;

pub use crate::{
    authorize::{AllowAll, AuthorizeRequest, Authorizer, AuthorizerFn, Bearer, Denied, authorizer_fn, bearer},
    channel::{Delivery, Duplicates, Grant, Limits, OpenOptions, Start, Subscription},
    cursor::{Cursor, Epoch, EventId, Offset},
    encode::EncodedEvent,
    error::{InvalidText, OpenError, PublishError, RouteError, SerializeError},
    event::Event,
    log::Retention,
    name::{ChannelName, ClientId, Comment, CustomId, EventName},
    notice::{EndReason, Gap, GapReason},
    observe::Stats,
    publisher::{Channel, Publisher, PublisherBuilder, Sent},
    serve::{KeepAlive, NoBody, Route, SseBody, SseFuture, SseLayer, SseService},
};
