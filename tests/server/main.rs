//! The server: what it sends is what hyper sends, and what it does beyond that.

mod app;
mod raw;

mod bytes;
mod http2;
mod limits;
mod requests;
mod shutdown;
mod sockets;
mod streams;
