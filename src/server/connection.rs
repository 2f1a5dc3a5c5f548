//! A connection, from its first byte to its last: hyper and streams take turns on it.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    app::App,
    carrier::Carrier,
    drain::Drain,
    gate::Phase,
    guarded::Guarded,
    handshake::{Handshake, Shaken},
    http1::Http1,
    http2::{Http2, http2},
    shared::Shared,
    sniff::{Protocol, Sniff, Sniffed},
    stream::{Ended, Stream},
};

/// The future that [`Server::serve_connection`](super::Server::serve_connection) returns. It completes when the connection
/// ends, for whatever reason.
#[must_use = "a connection is served only while you poll it; you may spawn it"]
pub struct Connection<T, S: App> {
    /// `None` if the server did not accept the connection. Boxed because the memory of a task comes in steps of 128 bytes,
    /// and that of a connection fits in the first step.
    seat: Option<Box<Seat>>,
    state: State<T, S>,
}

/// A place among the connections of a server. Dropping it frees the place.
struct Seat {
    shared: Arc<Shared>,
    number: u32,
    /// The waker of the task that last polled the connection.
    waker: Option<Waker>,
    /// Whether the connection knows that it should close.
    told: bool,
    /// Whether the connection is counted as a stream.
    streams: bool,
}

/// Boxed, so that a stream takes no more than it needs.
enum State<T, S: App> {
    Handshake(Box<Handshake<T, S>>),
    Sniff(Box<Sniff<T, S>>),
    Http1(Box<Http1<T, S>>),
    Http2(Box<Http2<T, S>>),
    Stream(Pin<Box<Stream<T, S>>>),
    Drain(Box<Drain<Carrier<T>>>),
    Done,
}

impl<T, S> Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    pub(super) fn new(shared: Arc<Shared>, io: T, app: S) -> Self {
        Self::enter(shared.clone(), || State::begin(Shaken { io, shared, app }))
    }

    /// A connection that begins with a handshake.
    pub(super) fn with_handshake(
        shared: Arc<Shared>,
        handshake: impl Future<Output = io::Result<T>> + Send + 'static,
        app: S,
    ) -> Self {
        Self::enter(shared.clone(), || State::Handshake(Box::new(Handshake::new(shared, handshake, app))))
    }

    /// Accepts a connection, if there is a place for it.
    fn enter(shared: Arc<Shared>, state: impl FnOnce() -> State<T, S>) -> Self {
        let Some(number) = shared.gate.enter(shared.settings.max_connections) else {
            shared.counters.refused.add(1);
            return Self { seat: None, state: State::Done };
        };
        shared.counters.accepted.add(1);
        let seat = Box::new(Seat { shared, number, waker: None, told: false, streams: false });
        Self { seat: Some(seat), state: state() }
    }

    /// Asks the connection to close: at once if it is idle, and otherwise once the response that it is sending has ended.
    /// Keep polling it until then. This does not end a stream: see [`Server::shutdown`](super::Server::shutdown).
    pub fn graceful_shutdown(mut self: Pin<&mut Self>) {
        if let Some(seat) = &mut self.seat {
            seat.told = true;
        }
        self.state.close();
    }

    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = match &mut self.state {
                State::Handshake(handshake) => ready!(handshake.poll(cx)).map_or(State::Done, State::begin),
                State::Sniff(sniff) => ready!(sniff.poll(cx)).map_or(State::Done, State::of),
                State::Http1(http1) => match ready!(http1.poll(cx)) {
                    Some(detached) => {
                        Stream::new(detached).map_or(State::Done, |stream| State::Stream(Box::pin(stream)))
                    }
                    None => State::Done,
                },
                State::Http2(http2) => {
                    let _ = ready!(Pin::new(http2).poll(cx));
                    State::Done
                }
                State::Stream(stream) => match ready!(stream.as_mut().poll(cx)) {
                    Ended::Again(again) => State::Http1(Box::new(Http1::new(again.io, again.app, again.before))),
                    Ended::Closed(io) => State::Drain(Box::new(Drain::new(io))),
                    Ended::Gone => State::Done,
                },
                State::Drain(drain) => {
                    ready!(drain.poll(cx));
                    State::Done
                }
                State::Done => return Poll::Ready(()),
            };
            self.change(next);
        }
    }

    fn change(&mut self, next: State<T, S>) {
        self.state = next;
        let Some(seat) = &mut self.seat else { return };
        seat.count(matches!(self.state, State::Stream(_)));
        if seat.told {
            self.state.close();
        }
    }
}

impl<T, S> State<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    fn begin(Shaken { io, shared, app }: Shaken<T, S>) -> Self {
        Self::Sniff(Box::new(Sniff::new(Guarded::new(io, shared), app)))
    }

    /// Returns the next phase once the protocol is known.
    fn of(sniffed: Sniffed<T, S>) -> Self {
        let Sniffed { protocol, before, io, app } = sniffed;
        match protocol {
            Protocol::Http1 => Self::Http1(Box::new(Http1::new(io, app, before))),
            Protocol::Http2 => Self::Http2(Box::new(http2(io, app, before))),
        }
    }

    fn close(&mut self) {
        match self {
            // The client has not sent a request yet.
            Self::Handshake(_) | Self::Sniff(_) => *self = Self::Done,
            Self::Http1(http1) => http1.close(),
            Self::Http2(http2) => Pin::new(&mut **http2).graceful_shutdown(),
            Self::Stream(stream) => stream.as_mut().close(),
            // It is over soon.
            Self::Drain(_) | Self::Done => {}
        }
    }
}

/// No part of it is pinned, except what is boxed.
impl<T, S: App> Unpin for Connection<T, S> {}

impl<T, S> Future for Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(seat) = &mut this.seat else { return Poll::Ready(()) };
        // In this order, so that a phase that begins in between wakes the task.
        seat.watch(cx.waker());
        match seat.shared.gate.phase() {
            Phase::Closing if !seat.told => {
                seat.told = true;
                this.state.close();
            }
            Phase::Cut => this.state = State::Done,
            Phase::Open | Phase::Closing => {}
        }
        ready!(this.poll_state(cx));
        this.seat = None;
        Poll::Ready(())
    }
}

impl Seat {
    fn watch(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
            self.shared.gate.watch(self.number, waker.clone());
        }
    }

    /// Keeps the count of streams up to date.
    fn count(&mut self, streams: bool) {
        match (self.streams, streams) {
            (false, true) => self.shared.counters.detached.add(1),
            (true, false) => self.shared.counters.ended.add(1),
            _ => {}
        }
        self.streams = streams;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.count(false);
        self.shared.gate.leave(self.number);
    }
}

impl<T, S: App> fmt::Debug for Connection<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Handshake(_) | State::Sniff(_) => "new",
            State::Http1(_) => "http1",
            State::Http2(_) => "http2",
            State::Stream(_) => "stream",
            State::Drain(_) | State::Done => "done",
        };
        f.debug_struct("Connection").field("state", &state).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::{NotFound, SseService};

    #[test]
    fn a_connection_with_a_stream_is_small() {
        type App = SseService<NotFound>;
        // With this, the task takes 128 bytes.
        assert!(size_of::<Connection<TcpStream, App>>() <= 24);
        let size = size_of::<Stream<TcpStream, App>>();
        assert!(size <= 96, "{size}");
    }
}
