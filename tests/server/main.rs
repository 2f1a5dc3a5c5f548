//! The server: what it sends is what hyper sends, and what it does beyond that.

mod app;
#[path = "../common/example.rs"]
mod example;
mod raw;
mod same;

mod bytes;
mod handshakes;
mod hardened;
mod http2;
mod limits;
mod partial;
mod random;
mod requests;
mod shutdown;
mod sockets;
mod streams;
mod together;
