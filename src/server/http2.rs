//! A connection over HTTP/2, which hyper drives to its end.

use bytes::Bytes;
use hyper::server::conn::http2::{Builder, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{app::App, guarded::Guarded, tap::Tap, tapped::Tapped, watched::Tasks};

/// A connection in hyper's hands.
pub(super) type Http2<T, S> = Connection<TokioIo<Tapped<T, <S as App>::Body>>, Tap<S>, Tasks>;

/// How many bytes of a response hyper holds for a slow client.
const SEND_BUFFER: usize = 64 << 10;

/// Gives a connection to hyper, which first reads the bytes `before`.
pub(super) fn http2<T, S>(io: Guarded<T>, app: S, before: Bytes) -> Http2<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    let shared = io.shared().clone();
    let settings = &shared.settings;
    let mut builder = Builder::new(Tasks { shared: shared.clone() });
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(settings.stall_timeout / 2)
        .keep_alive_timeout(settings.stall_timeout / 2)
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(u32::try_from(settings.max_head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        // Needed for WebSockets over HTTP/2. axum's server sets it, too.
        .enable_connect_protocol();
    let tap = Tap::new(app, shared.clone(), None);
    builder.serve_connection(TokioIo::new(Tapped::new(io, before, None)), tap)
}
