//! Server-Sent Events for any [tower](https://docs.rs/tower) stack: named channels with history, exact resume after a lost
//! connection, events for one client only, keep-alives and authorization. Embedded: there is no server to run beside
//! the application.
//!
//! An application *publishes* through a cloned [`Publisher`]; an [`SseLayer`] around its service answers `GET` on the
//! routes it was given with streams, and passes on everything else untouched.
//!
//! ```no_run
//! use axum::{Router, http::StatusCode, routing::post, serve::ListenerExt};
//! use tower_sse::{Event, Publisher, SseLayer};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let publisher = Publisher::new();
//! let sse = SseLayer::new(publisher.clone()).route("/sse/{channel}/{client_id}")?;
//! let say = move |text: String| async move {
//!     // To everyone who reads the channel; `send_to("ana", ..)` is for one client.
//!     let sent = publisher.channel("chat").send(Event::text(text)).await;
//!     sent.map(|sent| sent.id.to_string()).map_err(|error| match error.is_too_large() {
//!         true => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
//!         false => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
//!     })
//! };
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?.tap_io(|tcp| _ = tcp.set_nodelay(true));
//! axum::serve(listener, Router::new().route("/say", post(say)).layer(sse)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The guide in the repository's `docs/guide` goes further: to publish, to read and resume, to authorize, to shut down, to run
//! several nodes, to deploy behind a proxy, and to come from axum's `Sse`.
//!
//! # How it works
//!
//! A hub, which all clones of a publisher share, is one log; a **channel** is a view of it. Every event has an
//! [`Offset`] in the hub, and with the hub's [`Epoch`] that is a [`Cursor`]: the id that stands on the wire, and that a
//! browser sends back when it reconnects. A reader is a cursor into the log. To replay, to deliver and to notice that a
//! reader is too slow are one question to the log: what is after this cursor? So an event is encoded once and held once,
//! however many read it, a reader never misses what was published while it was away, and a slow one delays nobody.
//!
//! That is in process. With a [`Backend`](backend::Backend) the log lives in a store that several nodes share, and a node has a mirror of what
//! its readers read; all that is said here holds over all of them.
//!
//! # Promises
//!
//! 1. **Order.** A reader, of however many channels, sees strictly increasing offsets, broadcast and targeted events in
//!    the order in which they were published. One id resumes any set of channels.
//! 2. **Exactly once within retention.** Who comes back with the last id it got sees every event that is
//!    [held](Retention) and meant for it once.
//! 3. **Never silent.** Who may have missed an event gets a [`Gap`] first: an event named `gap`, to which a plain
//!    `EventSource` can listen. Who has missed nothing gets none, but for one case: of channels, and of clients of a
//!    channel, that were dropped so long ago that only the highest offset of them all is remembered, everything up to
//!    that counts as missed.
//! 4. **Private.** An event for one client reaches that client's connections and no others, live and in replay. With an
//!    [`Authorizer`], its [`Grant`] decides who a connection is, and not the URL.
//! 5. **Isolated.** A publish never waits for a reader.
//! 6. **Encoded once**, however many readers there are.
//! 7. **No injection, no panic.** Any string arrives as itself. What the format can't carry is a typed error.
//! 8. **Bounded.** Everything that grows has a limit: see [`Limits`], [`Retention`] and [`OpenOptions`]. What is refused
//!    or evicted is [counted](Stats).
//! 9. **Fail closed.** An authorizer that fails, panics or runs into the timeout that you put around it grants nothing; an
//!    expired grant ends the stream.
//! 10. **Ends well.** [`Publisher::shutdown`] ends every stream, so that a server's graceful shutdown finishes.
//!
//! # What is sent
//!
//! | request on a [`Route`] | answer |
//! | --- | --- |
//! | `GET` | 200 and the stream |
//! | `GET` with `Last-Event-ID`, or `last_event_id` in the query (or [another spelling](last_event_id)) | the same, from after that id |
//! | `HEAD` | what a `GET` would be answered with, without a body and without a subscription |
//! | another method | whatever the inner service answers |
//! | with an `Accept` that rules out `text/event-stream` | 406 |
//! | denied by the authorizer | its status, 401, 403 or 404 |
//! | a channel or client that can't be one, or a body in the request | 400 |
//! | over a limit, shutting down, or the authorizer failed | 200, a random `retry:`, and the end: a browser gives up for good on a 503 |
//! | nothing left, and nothing will come | 204, on which a browser stops reconnecting |
//!
//! A stream begins with a `retry:` line and a comment, before anything else, so that every proxy on the way sees it open. Two
//! things may stand there besides: to WebKit's `EventSource`, a block that makes it [drop what it has kept](WebKitRepair) of a
//! cut event; and an event named `cursor` with [the id at which a fresh reader starts](Route::announce_cursor), if the route is
//! set so. Then come the events, each with its id last, and between them a [keep-alive](KeepAlive) when nothing else was sent.
//! Only whole events end in a blank line.
//!
//! # What a server should set
//!
//! Events are small: without `TCP_NODELAY` the kernel holds one back while another is on its way, by up to 40 ms. And a
//! reader whose socket is full is not asked for anything by hyper, not even for the end: to close it takes a write
//! timeout on the listener's I/O, or `TCP_USER_TIMEOUT`.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what |
//! | --- | --- |
//! | `redis` | `Redis`, a [`Backend`](backend::Backend) in Redis or Valkey, by which several nodes are one hub |
//! | `redis-tls` | the same over TLS |
//! | `tracing` | events of that crate, at level `DEBUG`, when a reader is refused, denied or lags, when the feed of a backend fails, and at a shutdown |
//!
//! # The floors
//!
//! For readers of the source: a file imports from its own floor and from those below it.
//!
//! ```text
//! 7 serve      the HTTP face: layer, routes, response bodies
//! 6 authorize  who may read what
//! 5 publisher  the handles that applications hold; they ask the node if there is one, and the hub if not
//! 4 node       a hub whose log lives in a store: mirrors, the driver that fills them, the level
//!     ~ ~ ~ ~  the seam, in hub/seam.rs
//! 3 hub        the in-process engine: channels, readers, waiting, subscriptions
//! 2 backend    where the log lives: the contract of a store, Redis
//! 1 log        one channel's events, and what is remembered of those that are gone
//! 0 wire       events, ids and names, as bytes
//! ```
//!
//! A hub is built over nothing, or over an `Elsewhere`, which it tells who reads what and asks to wake a reader once the
//! hub's last offset has risen. Each channel of such a hub has a `Coverage`, which says how much of its log has arrived.
//! All else goes one way: a node fills the hub's logs from above, and the hub knows of no node.
//!
//! `error`, `footprint`, `observe`, `random`, `sync` and `trace` are ground, and known to all.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authorize;
pub mod backend;
mod error;
mod footprint;
mod hub;
mod log;
mod node;
mod observe;
mod publisher;
mod random;
mod serve;
mod sync;
mod trace;
mod wire;

/// The examples of the guide, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/guide/authorize.md")]
#[doc = include_str!("../docs/guide/axum.md")]
#[doc = include_str!("../docs/guide/deploy.md")]
#[doc = include_str!("../docs/guide/publish.md")]
#[doc = include_str!("../docs/guide/read.md")]
#[doc = include_str!("../docs/guide/shutdown.md")]
struct Guides;

/// The same of those that need Redis.
#[cfg(all(doctest, feature = "redis"))]
#[doc = include_str!("../docs/guide/nodes.md")]
#[doc = include_str!("../docs/scaling.md")]
struct RedisGuides;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::backend::redis::{Redis, RedisBuilder};
#[cfg(all(feature = "redis", fuzzing))]
#[doc(hidden)]
pub use crate::backend::stored;
pub use crate::{
    authorize::{
        AllowAll, AuthorizeRequest, Authorizer, AuthorizerFn, Bearer, BearerFuture, Denied, authorizer_fn, bearer,
    },
    error::{BackendError, InvalidText, OpenError, PublishError, RouteError, SerializeError},
    hub::{Delivery, Duplicates, Grant, Limits, OpenOptions, Sent, Start, Subscription},
    log::Retention,
    observe::Stats,
    publisher::{Channel, Opening, Publisher, PublisherBuilder},
    serve::{
        KeepAlive, NoBody, NotFound, Retry, Route, SseBody, SseFuture, SseLayer, SseService, WebKitRepair,
        last_event_id,
    },
    wire::{
        cursor::{Cursor, Epoch, EventId, Offset},
        encode::EncodedEvent,
        event::Event,
        name::{ChannelName, ClientId, Comment, CustomId, EventName, IdempotencyKey},
        notice::{EndReason, Gap, GapReason},
    },
};
