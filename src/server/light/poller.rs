//! The poll that the streams of a runtime share, and what it knows about each of their sockets.
//!
//! The system reports once when a socket becomes ready. The poll notes that in the *slot* of the socket, and wakes the task.
//! If the task finds that the socket is not ready after all, it clears the note, unless there is a newer one.

use std::{
    collections::BTreeSet,
    io,
    net::TcpStream,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use mio::{Events, Interest, Registry, Token, unix::SourceFd};
use tokio::{io::unix::AsyncFd, task::yield_now};

use super::{
    outbox::{Addressee, Outbox},
    slot::{ERROR, READ, Slot, WRITE},
};
use crate::{
    hub::wait::wake_each,
    per_runtime::PerRuntime,
    sync::{Mutex, lock},
};

/// The poll of a runtime.
pub(super) struct Poller {
    registry: Registry,
    places: Mutex<Places>,
    /// What the streams send together.
    outbox: Outbox<Address>,
    /// Set once the runtime is gone, so that no task is woken any more.
    over: AtomicBool,
}

/// The slots, in pieces that come and go with the streams.
#[derive(Default)]
struct Places {
    pieces: Vec<Option<Arc<Piece>>>,
    /// A bit for each slot, set if the slot is taken.
    taken: Vec<u64>,
    /// The pieces that have room. The first one is filled first, so that the last ones become empty.
    room: BTreeSet<usize>,
    /// The numbers of pieces that were dropped.
    gone: Vec<usize>,
}

struct Piece {
    poller: Arc<Poller>,
    number: usize,
    slots: [Slot; SLOTS],
}

const SLOTS: usize = u64::BITS as usize;

/// A slot that is taken, with its socket.
pub(super) struct Seat(Address);

/// Names a slot, and the socket that is in it now.
#[derive(Clone)]
pub(super) struct Address {
    piece: Arc<Piece>,
    index: u8,
    generation: u32,
}

static POLLERS: PerRuntime<Poller> = PerRuntime::new();

/// How many sockets are handled before other tasks run.
const AT_ONCE: usize = 256;

impl Poller {
    /// Returns the poller of the runtime that polls the caller.
    pub(super) fn current() -> io::Result<Arc<Self>> {
        let (poller, fd) = POLLERS.current(
            |poller: &Self| poller.over.load(Ordering::Acquire),
            || {
                let poll = mio::Poll::new()?;
                let registry = poll.registry().try_clone()?;
                let (places, outbox, over) = (Mutex::default(), Outbox::new(), AtomicBool::new(false));
                let poller = Self { registry, places, outbox, over };
                io::Result::Ok((poller, file_of(poll)?))
            },
        )?;
        if let Some(fd) = fd {
            tokio::spawn(Driver(poller.clone()).drive(fd));
            tokio::spawn(Postman(poller.clone()).work());
        }
        Ok(poller)
    }

    /// Takes a slot for a socket.
    pub(super) fn enter(self: &Arc<Self>, socket: TcpStream) -> Seat {
        let mut places = lock(&self.places);
        let number = places.room.first().copied().unwrap_or_else(|| places.add(self));
        let index = places.taken[number].trailing_ones();
        places.taken[number] |= 1 << index;
        if places.taken[number] == u64::MAX {
            places.room.remove(&number);
        }
        let piece = places.pieces[number].clone().expect("only pieces that are there have room");
        drop(places);
        let generation = piece.slots[index as usize].enter(socket);
        // It is below 64.
        Seat(Address { piece, index: index as u8, generation })
    }

    fn leave(&self, number: usize, index: u8) {
        let mut places = lock(&self.places);
        places.taken[number] &= !(1 << index);
        places.room.insert(number);
        let empty = if places.taken[number] == 0 { places.remove(number) } else { None };
        drop(places);
        drop(empty);
    }

    /// Returns how many slots are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> u32 {
        lock(&self.places).taken.iter().map(|taken| taken.count_ones()).sum()
    }

    /// Notes what a socket is ready for. Returns the task that waits for that.
    fn note(&self, token: Token, kind: u32) -> Option<Waker> {
        let Token(token) = token;
        let piece = lock(&self.places).pieces.get(token / SLOTS)?.clone()?;
        piece.slots[token % SLOTS].note(kind)
    }

    /// Returns an error if the runtime is gone, so that no task is woken any more.
    fn alive(&self) -> io::Result<()> {
        if self.over.load(Ordering::Acquire) {
            return Err(io::Error::other("the runtime of the connection is gone"));
        }
        Ok(())
    }

    /// Wakes all tasks, so that they learn that the poll won't wake them again.
    fn end(&self) {
        self.over.store(true, Ordering::Release);
        let pieces: Vec<_> = lock(&self.places).pieces.iter().flatten().cloned().collect();
        let slots = pieces.iter().flat_map(|piece| &piece.slots);
        wake_each(slots.filter_map(Slot::take_waker));
    }
}

impl Places {
    fn add(&mut self, poller: &Arc<Poller>) -> usize {
        let number = self.gone.pop().unwrap_or_else(|| {
            self.pieces.push(None);
            self.taken.push(0);
            self.pieces.len() - 1
        });
        let slots = std::array::from_fn(|_| Slot::default());
        self.pieces[number] = Some(Arc::new(Piece { poller: poller.clone(), number, slots }));
        self.room.insert(number);
        number
    }

    /// Removes an empty piece, to be dropped after the lock is released.
    fn remove(&mut self, number: usize) -> Option<Arc<Piece>> {
        self.room.remove(&number);
        self.gone.push(number);
        self.pieces[number].take()
    }
}

impl Address {
    #[inline]
    fn slot(&self) -> &Slot {
        &self.piece.slots[usize::from(self.index)]
    }

    fn poller(&self) -> &Poller {
        &self.piece.poller
    }

    fn token(&self) -> Token {
        Token(self.piece.number * SLOTS + usize::from(self.index))
    }
}

impl Addressee for Address {
    fn send(&self, bytes: &[u8]) -> Option<Waker> {
        self.slot().send_posted(self.generation, bytes)
    }
}

impl Seat {
    /// Returns where posts for the socket go.
    #[cfg(test)]
    pub(super) fn address(&self) -> Address {
        self.0.clone()
    }

    /// Returns the number of the slot.
    #[cfg(test)]
    pub(super) fn number(&self) -> usize {
        self.0.token().0
    }

    /// Does something with the socket.
    #[inline]
    pub(super) fn with_socket<R>(&self, work: impl FnOnce(&TcpStream) -> io::Result<R>) -> io::Result<R> {
        self.0.slot().with_socket(work)
    }

    /// Takes the socket out.
    pub(super) fn into_socket(self) -> io::Result<TcpStream> {
        self.0.slot().take_socket()
    }

    /// Watches for data to read, and for the end of the connection.
    pub(super) fn watch(&self) -> io::Result<()> {
        self.with_file(|registry, file, token| registry.register(file, token, Interest::READABLE))
    }

    /// Also watches for room to write.
    pub(super) fn watch_writes(&self) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.with_file(|registry, file, token| registry.reregister(file, token, interest))
    }

    /// Stops watching. Closing the file does the same. If another process has inherited the file, the poll may still report
    /// it for a while. The next socket in the slot then finds that it is not ready.
    pub(super) fn unwatch(&self) -> io::Result<()> {
        self.with_file(|registry, file, _| registry.deregister(file))
    }

    fn with_file(&self, work: impl FnOnce(&Registry, &mut SourceFd<'_>, Token) -> io::Result<()>) -> io::Result<()> {
        let (registry, token) = (&self.0.poller().registry, self.0.token());
        self.with_socket(|socket| work(registry, &mut SourceFd(&socket.as_raw_fd()), token))
    }

    /// Returns a note that the socket is ready for what `kind` says. If there is none, parks the waker.
    #[inline]
    pub(super) fn ready(&self, kind: u32, waker: &Waker) -> io::Result<Option<u32>> {
        if let Some(note) = self.0.slot().noted(kind) {
            return Ok(Some(note));
        }
        self.0.poller().alive()?;
        self.0.slot().park(kind, waker);
        // A note, or the end of the runtime, that came in between did not find the waker.
        self.0.poller().alive()?;
        Ok(self.0.slot().noted(kind))
    }

    /// Returns whether there is nothing to read and a waker is parked. Takes no lock.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.0.slot().is_quiet()
    }

    /// Clears a note that turned out to be wrong, unless there is a newer one.
    pub(super) fn clear(&self, kind: u32, note: u32) {
        self.0.slot().clear(kind, note);
    }

    /// Lets others send these bytes. What was posted before must be [settled](Self::poll_posted). Returns `false` if nobody
    /// would send them.
    pub(super) fn post(&self, bytes: &[u8]) -> bool {
        self.0.slot().set_posted();
        let is_posted = self.0.poller().outbox.post(self.0.clone(), bytes);
        if !is_posted {
            self.0.slot().unset_posted();
        }
        is_posted
    }

    /// Sends what is posted now, unless another thread is just about to.
    pub(super) fn send_posted(&self) {
        if !self.0.slot().is_settled() {
            self.0.poller().outbox.flush();
        }
    }

    /// Waits until what was posted is sent. Returns what the socket did not take, if anything.
    #[inline]
    pub(super) fn poll_posted(&self, waker: &Waker) -> Poll<io::Result<Option<Vec<u8>>>> {
        let slot = self.0.slot();
        if slot.is_settled() {
            return Poll::Ready(Ok(None));
        }
        if slot.park_posted(waker) { Poll::Pending } else { Poll::Ready(slot.take_returned()) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.send_posted();
        let Address { piece, index, .. } = &self.0;
        let socket = self.0.slot().leave();
        piece.poller.leave(piece.number, *index);
        drop(socket);
    }
}

#[allow(deprecated, reason = "what replaces it is unsafe, as not every type keeps its file; a poll does")]
fn file_of(poll: mio::Poll) -> io::Result<AsyncFd<mio::Poll>> {
    AsyncFd::with_interest(poll, tokio::io::Interest::READABLE)
}

/// The task that drives the poll. It ends with its runtime.
struct Driver(Arc<Poller>);

impl Driver {
    async fn drive(self, mut fd: AsyncFd<mio::Poll>) {
        let mut events = Events::with_capacity(AT_ONCE);
        while let Ok(mut ready) = fd.readable_mut().await {
            let asked = ready.get_inner_mut().poll(&mut events, Some(Duration::ZERO));
            // A poll that was interrupted has reported nothing yet.
            let is_all = asked.is_ok() && events.iter().count() < AT_ONCE;
            if is_all {
                ready.clear_ready();
            }
            wake_each(events.iter().filter_map(|event| self.0.note(event.token(), kinds(event))));
            if !is_all {
                yield_now().await;
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The task that sends what was posted. It ends with its runtime.
struct Postman(Arc<Poller>);

impl Postman {
    async fn work(self) {
        self.0.outbox.work().await;
    }
}

impl Drop for Postman {
    fn drop(&mut self) {
        self.0.outbox.close();
    }
}

fn kinds(event: &mio::event::Event) -> u32 {
    let read = event.is_readable() || event.is_read_closed() || event.is_error();
    let write = event.is_writable() || event.is_write_closed() || event.is_error();
    (u32::from(read) * READ) | (u32::from(write) * WRITE) | (u32::from(event.is_error()) * ERROR)
}
