//! A server on [hyper](https://docs.rs/hyper), for applications with many streams.
//!
//! [`serve`] takes the place of `axum::serve`, for any tower service:
//!
//! ```no_run
//! # async fn run(app: axum::Router) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! tower_sse::server::serve(listener, app).await
//! # }
//! ```
//!
//! In other servers, the HTTP stack keeps its buffers and state for as long as a stream lasts. This server detaches a stream
//! from hyper once its head is written, and sends the rest itself. On the wire, nothing changes, but an idle reader takes
//! about 1 KB instead of 11 KB. Since the server owns the socket, it can also do what no layer can: close the connection of
//! a reader that has stopped reading, and shut down within a time that you set.
//!
//! For TLS, pass the handshake of your TLS library to [`Serve::handshake`]. For an accept loop of your own, use
//! [`Server::serve_connection`], or [`Server::serve_connection_with_handshake`] if the connection begins with a handshake.
//! A connection can be anything that implements tokio's `AsyncRead` and `AsyncWrite`.
//!
//! # Which responses are detached
//!
//! A response over HTTP/1 is detached from hyper if
//!
//! - its content type is `text/event-stream`, whatever its body is,
//! - its size is not known: it has no `content-length`, and its body has no exact size,
//! - it has no `transfer-encoding` or `trailer` header,
//! - its request is not a HEAD, a CONNECT, or an upgrade to another protocol, and
//! - its request has no body, or the body was [read to its end](RequestBody).
//!
//! hyper sends all other responses, and everything over HTTP/2. [`Stats::by_hyper`] counts the event streams over HTTP/1 that
//! do not meet these conditions. Layers around your service work as with any server, because the server sends the body that
//! they return. When a stream ends, its connection returns to hyper for the next request.
//!
//! # Limits
//!
//! The [defaults](Builder) suit a server on an open network:
//!
//! | limit | default |
//! | --- | --- |
//! | [how long a peer may go without reading](Builder::stall_timeout) | 30 s |
//! | [the time to send the head of a request](Builder::head_timeout), and the time for a [handshake](Serve::handshake) | 30 s |
//! | [the size of the head](Builder::max_head_bytes) | 16 KiB |
//! | [connections](Builder::max_connections) | 100,000 |
//! | [concurrent requests on an HTTP/2 connection](Builder::max_streams) | 100 |
//!
//! A timeout of zero turns the limit off.
//!
//! [`serve`] also sets `TCP_NODELAY` on each TCP connection. In an accept loop of your own, call [`Server::tune`].
//!
//! # Source map
//!
//! This section is for readers of the source.
//!
//! | file | what it does |
//! | --- | --- |
//! | `connection` | the states of a connection, one after the other: `sniff`, `http1`, `stream`, and `http1` again |
//! | `tap`, `handover`, `tapped` | how a response leaves hyper: the service, the body and the I/O that hyper gets |
//! | `stream`, `batch`, `chunk`, `head` | how a detached response is sent |
//! | `drain` | a connection that was closed while its client was still sending |
//! | `carrier`, `light` | the I/O of a stream, and a socket that takes little memory |
//! | `handshake` | the handshake at the start of a connection, such as that of TLS |
//! | `http2` | a connection that stays with hyper |
//! | `guarded`, `watched`, `stall` | notice when a write or an HTTP/2 stream stalls |
//! | `gate` | the open connections, and how they learn of a shutdown |
//! | `serve`, `listener`, `socket_options` | the accept loop |
//! | `peer`, `extended` | what requests know of their connection |
//! | `builder`, `settings`, `shared`, `stats`, `handle` | the server, and what its connections share |
//! | `metrics` | the counters, for the feature `metrics` |

mod app;
mod batch;
mod builder;
mod carrier;
mod chunk;
mod connection;
mod drain;
mod extended;
mod gate;
mod guarded;
mod handle;
mod handover;
mod handshake;
mod head;
mod http1;
mod http2;
mod light;
mod listener;
#[cfg(feature = "metrics")]
mod metrics;
mod peer;
mod request;
mod serve;
mod settings;
mod shared;
mod sniff;
mod socket_options;
mod stall;
mod stats;
mod stream;
mod tap;
mod tapped;
mod watched;

pub use self::{
    app::App,
    builder::Builder,
    connection::Connection,
    extended::Extended,
    handle::Server,
    listener::Listener,
    peer::PeerAddr,
    request::RequestBody,
    serve::{Serve, ServeFuture, serve},
    socket_options::SocketOptions,
    stats::Stats,
};
