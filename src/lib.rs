//! Server-Sent Events for any [tower](https://docs.rs/tower) stack: named channels with history, exact resume after a
//! lost connection, events for a single client, keep-alives and authorization. The crate is embedded: you run no server
//! beside your application.
//!
//! Your application *publishes* through a cloned [`Publisher`]. An [`SseLayer`] around your service answers `GET`
//! requests on its routes with event streams, and passes every other request through untouched.
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
//!     // Reaches everyone who reads the channel; `send_to("ana", ..)` reaches one client.
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
//! The guide in the repository's `docs/guide` goes further. It shows how to publish, read and resume, authorize, shut
//! down, run several nodes, deploy behind a proxy, and move from axum's `Sse`.
//!
//! # How it works
//!
//! All clones of a publisher share one hub. A hub is one log, and a **channel** is a view of that log. Every event has
//! an [`Offset`] in the hub. The offset together with the hub's [`Epoch`] is a [`Cursor`]: the id on the wire, which a
//! browser sends back when it reconnects.
//!
//! A reader is a cursor into the log, not a queue. Replay, live delivery and the detection of slow readers are the same
//! read: what comes after this cursor? So an event is encoded once and held once, however many readers there are. A
//! reader misses nothing that was published while it was away, and a slow reader delays nobody.
//!
//! This describes a single process. With a [`Backend`](backend::Backend), the log lives in a store that several nodes
//! share, and each node keeps a mirror of what its own readers read. Everything on this page then holds across all
//! nodes.
//!
//! # Promises
//!
//! 1. **Order.** A reader, on however many channels, sees strictly increasing offsets. Broadcast and targeted events
//!    arrive in the order in which they were published. One id resumes any set of channels.
//! 2. **Exactly once within retention.** A reader that reconnects with the last id it received gets every event that is
//!    [held](Retention) and meant for it exactly once.
//! 3. **Never silent.** A reader that may have missed an event first gets a [`Gap`]: an event named `gap`, to which a
//!    plain `EventSource` can listen. A reader that missed nothing gets no gap, with one exception: the hub forgets the
//!    details of channels, and of a channel's clients, that were dropped long ago. It remembers only the highest offset
//!    of them all, and treats everything up to that offset as missed.
//! 4. **Private.** An event for one client reaches only that client's connections, both live and in replay. With an
//!    [`Authorizer`], the [`Grant`] decides which client a connection is, not the URL.
//! 5. **Isolated.** A publish never waits for a reader.
//! 6. **Encoded once.** An event is encoded once, however many readers there are.
//! 7. **No injection, no panic.** Any string arrives unchanged, except that its line endings become
//!    LF. Anything the format can't carry is a typed error.
//! 8. **Bounded.** Everything that grows has a limit: see [`Limits`], [`Retention`] and [`OpenOptions`]. What is
//!    refused or evicted is [counted](Stats).
//! 9. **Fail closed.** An authorizer that fails, panics or exceeds the timeout you put around it grants nothing. An
//!    expired grant ends the stream.
//! 10. **Ends well.** [`Publisher::shutdown`] ends every stream, so that a server's graceful shutdown finishes.
//! 11. **An end means the end.** A client can tell a complete stream from one that was cut off: an `EventSource` by
//!     `gap`, `goodbye` and 204, and any other client because a [strict](Route::strict) stream that is not complete
//!     breaks off.
//!
//! # What is sent
//!
//! | request on a [`Route`] | answer |
//! | --- | --- |
//! | `GET` | 200 and the stream |
//! | `GET` with a [last event id](last_event_id), in the header or the query | the same, starting after that id |
//! | `HEAD` | the answer to a `GET`, without a body and without a subscription |
//! | another method | whatever the inner service answers |
//! | an `Accept` that rules out `text/event-stream` | 406 |
//! | denied by the authorizer | the authorizer's status: 401, 403 or 404 |
//! | an invalid channel or client name, or a request body | 400 |
//! | over a limit or a rate, shutting down, or the authorizer failed | 200 and a stream that consists of a random `retry:` only |
//! | every channel is finished and read to its end, or the id is that of a [`goodbye`](EndReason) | 204, which makes a browser stop reconnecting |
//!
//! Where another API would answer with 503, the layer answers with a short stream, because a browser's `EventSource`
//! gives up for good on a 503.
//!
//! A stream begins at once with a `retry:` line and a comment, so that every proxy on the way sees that it is open.
//! Then come the events, each with its id last, and a [keep-alive](KeepAlive) whenever nothing else was sent for a
//! while. Only whole events end in a blank line. The beginning differs in two cases:
//!
//! - With [`Route::announce_cursor`], an event named `cursor`, which has the id at which the reader starts, takes the
//!   place of the comment.
//! - For WebKit's `EventSource`, the stream begins with a block that [works around a bug](WebKitRepair).
//!
//! A [strict](Route::strict) route differs: what is no stream has a status (409, 410, 429, 503), and a stream that is not
//! complete breaks off without a `gap` or a `goodbye`.
//!
//! # Which server
//!
//! You can use any server for tower services, such as `axum::serve`, hyper's builders or warp. With the feature `server`, the
//! crate has one of its own: `server::serve` takes the place of `axum::serve`. Use it if you have many readers that mostly
//! wait, or if your server faces an open network. An idle reader then takes about 1 KB instead of 11 KB. The server closes the
//! connections of readers that have stopped reading, limits connections and slow requests, shuts down within a time that you
//! set, and serves TLS if you pass it an acceptor.
//!
//! With another server, set `TCP_NODELAY`: events are small, and without it the kernel may hold an event back for up to 40
//! ms while another is on its way. Also set `TCP_USER_TIMEOUT`, or a write timeout on the connection's I/O: hyper stops
//! polling a response whose socket is full, so the crate can't end the stream of a reader that has stopped reading.
//! `docs/guide/deploy.md` in the repository shows how.
//!
//! # Features
//!
//! No feature is on by default.
//!
//! | feature | adds |
//! | --- | --- |
//! | `inspect` | `Inspect`, a service and a page that show operators who reads what |
//! | `jwt` | `jwt`, an [`Authorizer`] for JSON Web Tokens, and `Links`, which signs short-lived links to channels |
//! | `limits` | the module `limits`: limits on how often a client connects, how many streams it has, how much is replayed to it, and how much it publishes |
//! | `metrics` | metrics of the hub, the backend and runs through the `metrics` crate: see `Publisher::record_metrics` |
//! | `publish` | `PublishService`, which publishes what it is sent over HTTP |
//! | `redis` | `Redis`, a [`Backend`](backend::Backend) that keeps the log in Redis or Valkey, so that several nodes share a hub |
//! | `redis-tls` | TLS connections to Redis; implies `redis` |
//! | `runs` | the module `runs`: answers of agents that outlive their readers, in the protocols of their clients |
//! | `server` | the module `server`: a server on hyper whose idle readers take little memory, with limits and a graceful shutdown |
//! | `tracing` | spans of the `tracing` crate for streams, publishes and calls to a backend; events at level `DEBUG`: a reader is refused, is denied or lags, a backend's feed fails, the hub shuts down |
//!
//! # Source map
//!
//! This section is for readers of the source. The modules are stacked in floors (the word "layer" means something else
//! here). A file imports only from its own floor and from the floors below it.
//!
//! ```text
//! 8 runs       producers that outlive their readers, and the dialects of their clients
//! 8 server     connections whose streams have no HTTP stack behind them
//! 7 serve      HTTP: the layer, its service, routes, response bodies and what may change them
//! 6 authorize  who may read what
//! 5 publisher  the handles that applications hold; they call the node if there is one, and the hub otherwise
//! 4 node       a hub whose log lives in a store: mirrors, the driver that fills them, the level
//!     ~ ~ ~ ~  the seam, in hub/seam.rs
//! 3 hub        the in-process engine: channels, readers, waiting, subscriptions
//! 2 backend    where the log lives: the contract of a store, memory, Redis
//! 1 log        one channel's events, and what is remembered of evicted ones and of writers
//! 0 wire       events, ids and names, as bytes
//! ```
//!
//! An in-process hub stands alone. A hub with a remote backend is built over an `Elsewhere`, the trait behind which the
//! node is. The hub tells it who reads what, and asks it to wake a reader once the hub's last offset has risen. Each
//! channel of such a hub has a `Coverage`, which says how much of the channel's log has arrived. Everything else goes
//! one way: a node fills the hub's logs from above, and no file of `hub` names `node`.
//!
//! Every floor may import `error`, `footprint`, `meter`, `observe`, `oneshot`, `per_runtime`, `random`, `sync` and `trace`.
//!
//! `docs/architecture.md` in the repository follows a publish and a reconnect through these files.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authorize;
pub mod backend;
mod error;
mod footprint;
mod hub;
mod log;
mod meter;
mod node;
mod observe;
mod oneshot;
mod per_runtime;
mod publisher;
mod random;
#[cfg(feature = "runs")]
#[cfg_attr(docsrs, doc(cfg(feature = "runs")))]
pub mod runs;
mod serve;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;
mod sync;
mod trace;
mod wire;

/// The guide's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/guide/axum.md")]
#[doc = include_str!("../docs/guide/bodies.md")]
#[doc = include_str!("../docs/guide/browser.md")]
#[doc = include_str!("../docs/guide/read.md")]
struct Guides;

/// The guide's examples that publish, also over HTTP, as tests.
#[cfg(all(doctest, feature = "publish"))]
#[doc = include_str!("../docs/guide/publish.md")]
struct PublishGuide;

/// The guide's examples for operators, as tests.
#[cfg(all(doctest, feature = "inspect"))]
#[doc = include_str!("../docs/guide/operate.md")]
struct OperateGuide;

/// The guide's examples that need tokens, as tests.
#[cfg(all(doctest, feature = "jwt"))]
#[doc = include_str!("../docs/guide/authorize.md")]
struct JwtGuide;

/// The guide's examples of limits, as tests.
#[cfg(all(doctest, feature = "limits", feature = "server"))]
#[doc = include_str!("../docs/guide/limits.md")]
struct LimitsGuide;

/// The guide's examples that need Redis, as tests.
#[cfg(all(doctest, feature = "redis"))]
#[doc = include_str!("../docs/guide/nodes.md")]
#[doc = include_str!("../docs/scaling.md")]
struct RedisGuides;

/// The guide's examples that need the server, as tests.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../docs/guide/deploy.md")]
#[doc = include_str!("../docs/guide/shutdown.md")]
struct ServerGuides;

/// The guide's examples that need runs, as tests.
#[cfg(all(doctest, feature = "runs"))]
#[doc = include_str!("../docs/guide/agents.md")]
struct RunsGuide;

#[cfg(feature = "limits")]
#[cfg_attr(docsrs, doc(cfg(feature = "limits")))]
pub use crate::authorize::limits;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::backend::redis::{Redis, RedisBuilder};
#[cfg(all(feature = "redis", fuzzing))]
#[doc(hidden)]
pub use crate::backend::stored;
#[cfg(any(feature = "inspect", feature = "publish"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "inspect", feature = "publish"))))]
pub use crate::serve::AnswerFuture;
pub use crate::{
    authorize::{
        AllowAll, AuthorizeRequest, Authorizer, AuthorizerFn, Bearer, BearerFuture, Denied, RateLimited, authorizer_fn,
        bearer,
    },
    error::{BackendError, InvalidText, OpenError, PublishError, RouteError, SerializeError},
    hub::{
        Batch, ChannelState, Closed, Delivery, Duplicates, Ending, Grant, Info, Limits, OpenOptions, Opened, Page,
        Resumed, Sent, Start, Subscription,
    },
    log::Retention,
    observe::Stats,
    publisher::{Channel, Health, Opening, Publisher, PublisherBuilder},
    serve::{
        Incomplete, KeepAlive, NoBody, NotFound, Output, Retry, Route, SseBody, SseFuture, SseLayer, SseService,
        Transform, WebKitRepair, last_event_id,
    },
    wire::{
        cursor::{Cursor, Epoch, EventId, Offset},
        encoded::EncodedEvent,
        event::Event,
        name::{ChannelName, ClientId, Comment, ConnectionId, CustomId, EventName, ForeignId, IdempotencyKey},
        notice::{EndReason, Gap, GapReason},
        traceparent::TraceParent,
    },
};
#[cfg(feature = "inspect")]
#[cfg_attr(docsrs, doc(cfg(feature = "inspect")))]
pub use crate::{
    authorize::{InspectAuthorizer, InspectGrant, InspectRequest, inspect_authorizer_fn},
    serve::Inspect,
};
#[cfg(feature = "jwt")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
pub use crate::{
    authorize::{Jwt, JwtFuture, JwtKeys, Links, jwt},
    error::JwtError,
};
#[cfg(feature = "publish")]
#[cfg_attr(docsrs, doc(cfg(feature = "publish")))]
pub use crate::{
    authorize::{PublishAuthorizer, PublishGrant, PublishRequest, publish_authorizer_fn},
    serve::PublishService,
};
