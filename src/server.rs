//! A server whose streams have no HTTP stack behind them, on [hyper](https://docs.rs/hyper).
//!
//! A reader that waits for events costs what its HTTP stack costs: its buffers and its state are kept for a connection
//! that carries one response. So this server takes a stream away from hyper once its head is written, and sends the rest
//! by itself. On the wire nothing changes. Because it owns the socket, it can also do what no layer can: close a reader
//! that has stopped reading, and shut down within a stated time.
//!
//! [`serve`] takes the place of `axum::serve`. [`Server::serve_connection`] is for your own accept loop, over any
//! connection that can be read and written, such as one of TLS.
//!
//! # What is detached
//!
//! A response over HTTP/1 is detached from hyper if
//!
//! - its content type is `text/event-stream`, whoever made its body,
//! - its size is not known: it has no `content-length`, nor does its body say one,
//! - it has no `transfer-encoding` or `trailer` of its own,
//! - its request was no HEAD, no CONNECT, and no upgrade to another protocol, and
//! - the body of its request, if there was one, was [read to its end](RequestBody).
//!
//! hyper sends everything else: other responses, HTTP/2, and streams for which one of these does not hold, which are
//! [counted](Stats::by_hyper). Layers around your service work as with any server, because the server sends the body that
//! they return. When a stream has ended, its connection goes back to hyper, for the next request.
//!
//! # What is limited
//!
//! The [defaults](Builder) suit a server on an open network:
//!
//! | what | default |
//! | --- | --- |
//! | [a peer that does not read](Builder::stall) | closed after 30 s |
//! | [the head of a request](Builder::head_timeout) | 30 s |
//! | [its size](Builder::max_head_bytes) | 16 KiB |
//! | [connections](Builder::max_connections) | 100,000 |
//! | [requests at once on a connection](Builder::max_streams) of HTTP/2 | 100 |
//!
//! `TCP_NODELAY` is always set.
//!
//! # The files
//!
//! | file | what it does |
//! | --- | --- |
//! | `connection` | a connection's states, one after the other: `sniff`, `http1`, `stream`, and `http1` again |
//! | `tap`, `handover`, `tapped` | how a response leaves hyper: the service, the body and the I/O that hyper gets |
//! | `stream`, `chunk`, `head` | how it is sent |
//! | `carrier`, `light` | the I/O of a stream, and a socket that takes little memory |
//! | `http2` | a connection that stays with hyper |
//! | `guarded`, `watched` | a write that stalls, and a stream over HTTP/2 that does |
//! | `gate` | the connections that there are, and how they learn of a shutdown |
//! | `serve`, `listener`, `peer` | the accept loop |
//! | `builder`, `settings`, `shared`, `stats`, `handle` | the server, and what its connections share |
//! | `metrics` | its counters, for the feature `metrics` |

mod app;
mod batch;
mod builder;
mod carrier;
mod chunk;
mod connection;
mod gate;
mod guarded;
mod handle;
mod handover;
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
mod stats;
mod stream;
mod tap;
mod tapped;
mod watched;

pub use self::{
    app::App,
    builder::Builder,
    connection::Connection,
    handle::Server,
    listener::Listener,
    peer::PeerAddr,
    request::RequestBody,
    serve::{Serve, Serving, serve},
    stats::Stats,
};
