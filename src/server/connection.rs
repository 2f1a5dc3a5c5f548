//! A connection, from its first byte to its last: hyper and streams take turns on it.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    app::App,
    carrier::Carrier,
    drain::Drain,
    gate::Phase,
    guarded::Guarded,
    handshake::Handshake,
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
    /// `None` if the server did not accept the connection, and once the connection has ended. Boxed because the memory of a
    /// task comes in steps of 128 bytes.
    seated: Option<Pin<Box<Seated<T, S>>>>,
}

pin_project! {
    /// A connection that the server has accepted.
    struct Seated<T, S: App> {
        // Before the seat, so that the connection is closed before its place is free.
        #[pin]
        state: State<T, S>,
        seat: Seat,
    }
}

pin_project! {
    // A stream shares the allocation of its seat. The other states are boxed, so that they don't make it larger.
    #[project = StateProj]
    enum State<T, S: App> {
        Handshake { handshake: Box<Handshake<T, S>> },
        Sniff { sniff: Box<Sniff<T, S>> },
        Http1 { http1: Box<Http1<T, S>> },
        Http2 { http2: Box<Http2<T, S>> },
        Stream { #[pin] stream: Stream<T, S> },
        Drain { drain: Box<Drain<Carrier<T>>> },
        Done,
    }
}

/// How often a connection changes its state in one poll. Each request whose response is a stream takes two changes.
const TURNS: usize = 32;

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

impl<T, S> Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    pub(super) fn new(shared: Arc<Shared>, io: T, app: S) -> Self {
        Self::enter(shared.clone(), || State::begin(Guarded::new(io, shared), app))
    }

    /// Creates a connection that begins with a handshake.
    pub(super) fn with_handshake(
        shared: Arc<Shared>,
        handshake: impl Future<Output = io::Result<(T, S)>> + Send + 'static,
    ) -> Self {
        Self::enter(shared.clone(), || State::Handshake { handshake: Box::new(Handshake::new(shared, handshake)) })
    }

    /// Accepts a connection, if there is a place for it.
    fn enter(shared: Arc<Shared>, state: impl FnOnce() -> State<T, S>) -> Self {
        let Some(number) = shared.gate.enter(shared.settings.max_connections) else {
            shared.counters.refused.add(1);
            return Self { seated: None };
        };
        shared.counters.accepted.add(1);
        let seat = Seat { shared, number, waker: None, told: false, streams: false };
        Self { seated: Some(Box::pin(Seated { state: state(), seat })) }
    }

    /// Asks the connection to close: at once if it is idle, and otherwise once the response that it is sending has ended.
    /// Keep polling it until then. This does not end a stream: see [`Server::shutdown`](super::Server::shutdown).
    pub fn graceful_shutdown(mut self: Pin<&mut Self>) {
        if let Some(seated) = &mut self.seated {
            seated.as_mut().close();
        }
    }
}

impl<T, S> Seated<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        // In this order, so that the task is woken for a phase that begins in between.
        let is_known = this.seat.watch(cx.waker());
        match this.seat.shared.gate.phase() {
            Phase::Closing if !this.seat.told => self.as_mut().close(),
            Phase::Cut => self.as_mut().change(State::Done),
            Phase::Open | Phase::Closing => {}
        }
        self.poll_state(cx, is_known)
    }

    /// Moves from state to state until one waits, or until it is time for other tasks: a client may send many requests at
    /// once. `is_known` says whether the same task polled the connection last.
    fn poll_state(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut is_known: bool) -> Poll<()> {
        for _ in 0..TURNS {
            let next = match self.as_mut().project().state.project() {
                StateProj::Stream { stream } => match ready!(stream.poll(cx, is_known)) {
                    Ended::Again(again) => {
                        State::Http1 { http1: Box::new(Http1::new(again.io, again.app, again.before)) }
                    }
                    Ended::Closed(io) => State::Drain { drain: Box::new(Drain::new(io)) },
                    Ended::Gone => State::Done,
                },
                StateProj::Handshake { handshake } => {
                    ready!(handshake.poll(cx)).map_or(State::Done, |(io, app)| State::begin(io, app))
                }
                StateProj::Sniff { sniff } => ready!(sniff.poll(cx)).map_or(State::Done, State::of),
                StateProj::Http1 { http1 } => match ready!(http1.poll(cx)) {
                    Some(detached) => Stream::new(detached).map_or(State::Done, |stream| State::Stream { stream }),
                    None => State::Done,
                },
                StateProj::Http2 { http2 } => {
                    let _ = ready!(Pin::new(http2).poll(cx));
                    State::Done
                }
                StateProj::Drain { drain } => {
                    ready!(drain.poll(cx));
                    State::Done
                }
                StateProj::Done => return Poll::Ready(()),
            };
            self.as_mut().change(next);
            // This task polls the next state first.
            is_known = true;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn change(mut self: Pin<&mut Self>, next: State<T, S>) {
        let mut this = self.as_mut().project();
        this.state.set(next);
        this.seat.count(matches!(*this.state, State::Stream { .. }));
        if this.seat.told {
            self.close();
        }
    }

    fn close(self: Pin<&mut Self>) {
        let this = self.project();
        this.seat.told = true;
        this.state.close();
    }
}

impl<T, S> State<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    /// Begins with the client's first bytes.
    fn begin(io: Guarded<T>, app: S) -> Self {
        Self::Sniff { sniff: Box::new(Sniff::new(io, app)) }
    }

    /// Returns the next state once the protocol is known.
    fn of(sniffed: Sniffed<T, S>) -> Self {
        let Sniffed { protocol, before, io, app } = sniffed;
        match protocol {
            Protocol::Http1 => Self::Http1 { http1: Box::new(Http1::new(io, app, before)) },
            Protocol::Http2 => Self::Http2 { http2: Box::new(http2(io, app, before)) },
        }
    }

    fn close(mut self: Pin<&mut Self>) {
        match self.as_mut().project() {
            // The client has not sent a request yet.
            StateProj::Handshake { .. } | StateProj::Sniff { .. } => self.set(Self::Done),
            StateProj::Http1 { http1 } => http1.close(),
            StateProj::Http2 { http2 } => Pin::new(&mut **http2).graceful_shutdown(),
            StateProj::Stream { stream } => stream.close(),
            // It ends soon anyway.
            StateProj::Drain { .. } | StateProj::Done => {}
        }
    }
}

impl<T, S> Future for Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: App,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(seated) = &mut self.seated else { return Poll::Ready(()) };
        ready!(seated.as_mut().poll(cx));
        self.seated = None;
        Poll::Ready(())
    }
}

impl Seat {
    /// Registers the task to be woken when the server shuts down. Returns whether the last call registered the same task.
    #[inline]
    fn watch(&mut self, waker: &Waker) -> bool {
        let is_known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        if !is_known {
            self.waker = Some(waker.clone());
            self.shared.gate.watch(self.number, waker.clone());
        }
        is_known
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
        let state = match self.seated.as_ref().map(|seated| &seated.state) {
            Some(State::Handshake { .. } | State::Sniff { .. }) => "new",
            Some(State::Http1 { .. }) => "http1",
            Some(State::Http2 { .. }) => "http2",
            Some(State::Stream { .. }) => "stream",
            Some(State::Drain { .. } | State::Done) | None => "done",
        };
        f.debug_struct("Connection").field("state", &state).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
        task::yield_now,
    };

    use super::*;
    use crate::{KeepAlive, NotFound, Publisher, Route, SseLayer, SseService, server::Server};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn the_task_that_polls_a_stream_last_learns_that_the_client_has_left() {
        let route = Route::new("/{channel}").keep_alive(KeepAlive::off());
        let layer = SseLayer::new(Publisher::new()).route(route).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut connection = Server::new().serve_connection(listener.accept().await.unwrap().0, layer.into_service());
        let tasks = [(); 2].map(|()| Arc::<Count>::default());
        let mut poll =
            |task: usize| Pin::new(&mut connection).poll(&mut Context::from_waker(&Waker::from(tasks[task].clone())));
        while client.try_read(&mut [0; 1024]).is_err() {
            assert!(poll(0).is_pending());
            yield_now().await;
        }
        for task in [0, 1, 1] {
            assert!(poll(task).is_pending());
        }
        let before = tasks.each_ref().map(|task| task.0.load(Ordering::SeqCst));
        drop(client);
        let woken = || [0, 1].map(|task| tasks[task].0.load(Ordering::SeqCst) > before[task]);
        while woken() == [false; 2] {
            yield_now().await;
        }
        assert_eq!(woken(), [false, true]);
        assert!(poll(1).is_ready());
    }

    #[test]
    fn a_connection_with_a_stream_is_small() {
        type App = SseService<NotFound>;
        // With this, the task takes 128 bytes.
        assert!(size_of::<Connection<TcpStream, App>>() <= 8);
        let size = size_of::<Seated<TcpStream, App>>();
        assert!(size <= 280, "{size}");
    }
}
