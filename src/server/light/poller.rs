//! The poll that the streams of a runtime share, and what it knows about each of their sockets.
//!
//! The system reports once when a socket becomes ready. The poll notes that in the *slot* of the socket, and wakes the task.
//! If the task finds that the socket is not ready after all, it clears the note, unless there is a newer one.

use std::{
    collections::BTreeSet,
    io,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
    time::Duration,
};

use mio::{Events, Interest, Poll, Registry, Token, unix::SourceFd};
use tokio::{io::unix::AsyncFd, task::yield_now};

use crate::{
    hub::wait::wake_each,
    per_runtime::PerRuntime,
    sync::{Mutex, lock},
};

/// The poll of a runtime.
pub(super) struct Poller {
    registry: Registry,
    places: Mutex<Places>,
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

#[derive(Default)]
struct Slot {
    /// What the socket is ready for ([`READ`], [`WRITE`]), whether it has [failed](ERROR), whether its task waits to write
    /// ([`WANTS_WRITE`]), whether a waker is [parked](PARKED), and in the upper bits, a count of the notes.
    ready: AtomicU32,
    /// The task that waits.
    waker: Mutex<Option<Waker>>,
}

pub(super) const READ: u32 = 1;
pub(super) const WRITE: u32 = 2;
const WANTS_WRITE: u32 = 4;
const PARKED: u32 = 8;
pub(super) const ERROR: u32 = 16;
const NOTE: u32 = 32;

/// A slot that is taken.
pub(super) struct Seat {
    piece: Arc<Piece>,
    index: u8,
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
                let poll = Poll::new()?;
                let registry = poll.registry().try_clone()?;
                let poller = Self { registry, places: Mutex::default(), over: AtomicBool::new(false) };
                io::Result::Ok((poller, file_of(poll)?))
            },
        )?;
        if let Some(fd) = fd {
            tokio::spawn(Driver(poller.clone()).drive(fd));
        }
        Ok(poller)
    }

    /// Takes a slot.
    pub(super) fn enter(self: &Arc<Self>) -> Seat {
        let mut places = lock(&self.places);
        let number = places.room.first().copied().unwrap_or_else(|| places.add(self));
        let index = places.taken[number].trailing_ones();
        places.taken[number] |= 1 << index;
        if places.taken[number] == u64::MAX {
            places.room.remove(&number);
        }
        let piece = places.pieces[number].clone().expect("only pieces that are there have room");
        drop(places);
        piece.slots[index as usize].ready.store(WRITE, Ordering::Release);
        // It is below 64.
        Seat { piece, index: index as u8 }
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
        let slot = &piece.slots[token % SLOTS];
        let noted = |ready: u32| Some((ready | kind).wrapping_add(NOTE));
        let before = slot.ready.fetch_update(Ordering::AcqRel, Ordering::Acquire, noted).unwrap_or(0);
        let is_awaited = kind & READ > 0 || before & WANTS_WRITE > 0;
        if is_awaited { slot.take() } else { None }
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
        wake_each(slots.filter_map(Slot::take));
    }
}

impl Slot {
    fn take(&self) -> Option<Waker> {
        let mut parked = lock(&self.waker);
        self.ready.fetch_and(!PARKED, Ordering::AcqRel);
        parked.take()
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

impl Seat {
    fn slot(&self) -> &Slot {
        &self.piece.slots[usize::from(self.index)]
    }

    fn token(&self) -> Token {
        Token(self.piece.number * SLOTS + usize::from(self.index))
    }

    fn registry(&self) -> &Registry {
        &self.piece.poller.registry
    }

    /// Watches for data to read, and for the end of the connection.
    pub(super) fn watch(&self, file: &impl AsRawFd) -> io::Result<()> {
        self.registry().register(&mut SourceFd(&file.as_raw_fd()), self.token(), Interest::READABLE)
    }

    /// Also watches for room to write.
    pub(super) fn watch_writes(&self, file: &impl AsRawFd) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry().reregister(&mut SourceFd(&file.as_raw_fd()), self.token(), interest)
    }

    /// Stops watching. Closing the file does the same. If another process has inherited the file, the poll may still report
    /// it for a while. The next socket in the slot then finds that it is not ready.
    pub(super) fn unwatch(&self, file: &impl AsRawFd) -> io::Result<()> {
        self.registry().deregister(&mut SourceFd(&file.as_raw_fd()))
    }

    /// Returns a note that the socket is ready for what `kind` says. If there is none, parks the waker.
    #[inline]
    pub(super) fn ready(&self, kind: u32, waker: &Waker) -> io::Result<Option<u32>> {
        let slot = self.slot();
        let ready = slot.ready.load(Ordering::Acquire);
        if ready & kind > 0 {
            return Ok(Some(ready));
        }
        self.piece.poller.alive()?;
        let waits = if kind == WRITE { PARKED | WANTS_WRITE } else { PARKED };
        let mut parked = lock(&slot.waker);
        let before = match &*parked {
            Some(parked) if parked.will_wake(waker) => None,
            _ => parked.replace(waker.clone()),
        };
        slot.ready.fetch_or(waits, Ordering::AcqRel);
        drop(parked);
        drop(before);
        // A note, or the end of the runtime, that came in between did not find the waker.
        self.piece.poller.alive()?;
        let ready = slot.ready.load(Ordering::Acquire);
        Ok((ready & kind > 0).then_some(ready))
    }

    /// Returns whether there is nothing to read and a waker is parked. Takes no lock.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.slot().ready.load(Ordering::Acquire) & (READ | PARKED) == PARKED
    }

    /// Clears a note that turned out to be wrong, unless there is a newer one.
    pub(super) fn clear(&self, kind: u32, note: u32) {
        let clear = |ready: u32| (ready / NOTE == note / NOTE).then_some(ready & !kind);
        let _ = self.slot().ready.fetch_update(Ordering::AcqRel, Ordering::Acquire, clear);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let waker = self.slot().take();
        drop(waker);
        self.piece.poller.leave(self.piece.number, self.index);
    }
}

#[allow(deprecated, reason = "what replaces it is unsafe, as not every type keeps its file; a poll does")]
fn file_of(poll: Poll) -> io::Result<AsyncFd<Poll>> {
    AsyncFd::with_interest(poll, tokio::io::Interest::READABLE)
}

/// The task that drives the poll. It ends with its runtime.
struct Driver(Arc<Poller>);

impl Driver {
    async fn drive(self, mut fd: AsyncFd<Poll>) {
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

fn kinds(event: &mio::event::Event) -> u32 {
    let read = event.is_readable() || event.is_read_closed() || event.is_error();
    let write = event.is_writable() || event.is_write_closed() || event.is_error();
    (u32::from(read) * READ) | (u32::from(write) * WRITE) | (u32::from(event.is_error()) * ERROR)
}
