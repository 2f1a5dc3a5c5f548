//! What the poll knows about one socket, and the socket itself.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::atomic::{AtomicU32, Ordering},
    task::Waker,
};

use crate::sync::{Mutex, lock};

/// The slot of a socket. It may be free.
#[derive(Default)]
pub(super) struct Slot {
    /// What the socket is ready for ([`READ`], [`WRITE`]), whether it has [failed](ERROR), whether something is [posted](POSTED)
    /// or was [returned](RETURNED), what its task waits for ([`WANTS_WRITE`], [`WANTS_POSTED`]), whether a waker is
    /// [parked](PARKED), and in the upper bits, a count of the notes.
    ready: AtomicU32,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    socket: Option<TcpStream>,
    /// How many sockets have left the slot. The count wraps.
    generation: u32,
    /// The task that waits.
    waker: Option<Waker>,
    returned: Option<Box<Returned>>,
}

/// The end of a post that the socket did not take.
struct Returned {
    bytes: Vec<u8>,
    /// The reason, unless the socket was full.
    error: Option<io::Error>,
}

pub(super) const READ: u32 = 1;
pub(super) const WRITE: u32 = 2;
const WANTS_WRITE: u32 = 4;
const PARKED: u32 = 8;
pub(super) const ERROR: u32 = 16;
const POSTED: u32 = 32;
const WANTS_POSTED: u32 = 64;
const RETURNED: u32 = 128;
const NOTE: u32 = 256;

impl Slot {
    /// Puts a socket into the slot, which is free. Returns the generation of the socket.
    pub(super) fn enter(&self, socket: TcpStream) -> u32 {
        let mut held = lock(&self.held);
        held.socket = Some(socket);
        self.ready.store(WRITE, Ordering::Release);
        held.generation
    }

    /// Frees the slot. Nobody is woken for it from now on, and what was posted is void. Returns the socket if it is still there.
    pub(super) fn leave(&self) -> Option<TcpStream> {
        let mut held = lock(&self.held);
        held.generation = held.generation.wrapping_add(1);
        let Held { socket, waker, returned, .. } = &mut *held;
        let left = (socket.take(), waker.take(), returned.take());
        self.ready.store(0, Ordering::Release);
        // Only now, because a waker is foreign code.
        drop(held);
        left.0
    }

    /// Takes the socket out.
    pub(super) fn take_socket(&self) -> io::Result<TcpStream> {
        lock(&self.held).socket.take().ok_or_else(gone)
    }

    /// Does something with the socket.
    #[inline]
    pub(super) fn with_socket<R>(&self, work: impl FnOnce(&TcpStream) -> io::Result<R>) -> io::Result<R> {
        work(lock(&self.held).socket.as_ref().ok_or_else(gone)?)
    }

    /// Notes what a socket is ready for. Returns the task that waits for that.
    pub(super) fn note(&self, kind: u32) -> Option<Waker> {
        let noted = |ready: u32| Some((ready | kind).wrapping_add(NOTE));
        let before = self.ready.fetch_update(Ordering::AcqRel, Ordering::Acquire, noted).unwrap_or(0);
        let is_awaited = kind & READ > 0 || before & WANTS_WRITE > 0;
        if is_awaited { self.take_waker() } else { None }
    }

    /// Clears a note that turned out to be wrong, unless there is a newer one.
    pub(super) fn clear(&self, kind: u32, note: u32) {
        let clear = |ready: u32| (ready / NOTE == note / NOTE).then_some(ready & !kind);
        let _ = self.ready.fetch_update(Ordering::AcqRel, Ordering::Acquire, clear);
    }

    /// Returns a note that the socket is ready for what `kind` says, if there is one.
    #[inline]
    pub(super) fn noted(&self, kind: u32) -> Option<u32> {
        let ready = self.ready.load(Ordering::Acquire);
        (ready & kind > 0).then_some(ready)
    }

    /// Parks a waker until the socket is ready for what `kind` says. A note that came in between did not find the waker.
    pub(super) fn park(&self, kind: u32, waker: &Waker) {
        let waits = if kind == WRITE { WANTS_WRITE } else { 0 };
        self.park_for(waits, waker);
    }

    fn park_for(&self, waits: u32, waker: &Waker) {
        let mut held = lock(&self.held);
        let before = match &held.waker {
            Some(parked) if parked.will_wake(waker) => None,
            _ => held.waker.replace(waker.clone()),
        };
        self.ready.fetch_or(waits | PARKED, Ordering::AcqRel);
        drop(held);
        drop(before);
    }

    /// Returns whether there is nothing to read and a waker is parked. Takes no lock.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.ready.load(Ordering::Acquire) & (READ | PARKED) == PARKED
    }

    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.take_waker_of(&mut lock(&self.held))
    }

    fn take_waker_of(&self, held: &mut Held) -> Option<Waker> {
        self.ready.fetch_and(!PARKED, Ordering::AcqRel);
        held.waker.take()
    }

    /// Notes that something is posted.
    pub(super) fn set_posted(&self) {
        self.ready.fetch_or(POSTED, Ordering::AcqRel);
    }

    /// Notes that nothing is posted any more, although nothing was sent.
    pub(super) fn unset_posted(&self) {
        self.ready.fetch_and(!POSTED, Ordering::AcqRel);
    }

    /// Returns whether everything that was posted was sent.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.ready.load(Ordering::Acquire) & (POSTED | RETURNED) == 0
    }

    /// Parks a waker until nothing is posted any more. Returns `false` if that is already the case.
    pub(super) fn park_posted(&self, waker: &Waker) -> bool {
        if self.noted(POSTED).is_none() {
            return false;
        }
        self.park_for(WANTS_POSTED, waker);
        // If it was sent in between, that did not find the waker.
        self.noted(POSTED).is_some()
    }

    /// Takes what was returned.
    pub(super) fn take_returned(&self) -> io::Result<Option<Vec<u8>>> {
        let mut held = lock(&self.held);
        let returned = held.returned.take();
        self.ready.fetch_and(!RETURNED, Ordering::AcqRel);
        drop(held);
        match returned.map(|returned| *returned) {
            Some(Returned { error: Some(error), .. }) => Err(error),
            Some(Returned { bytes, error: None }) => Ok(Some(bytes)),
            None => Ok(None),
        }
    }

    /// Sends what was posted for the socket of this generation. What the socket does not take is returned to the stream.
    /// Returns the task to wake.
    pub(super) fn send_posted(&self, generation: u32, bytes: &[u8]) -> Option<Waker> {
        let mut held = lock(&self.held);
        let socket = held.socket.as_ref().filter(|_| held.generation == generation)?;
        let returned = send(socket, bytes);
        let is_returned = returned.is_some();
        if let Some(returned) = returned {
            held.returned = Some(Box::new(returned));
            self.ready.fetch_or(RETURNED, Ordering::AcqRel);
        }
        let before = self.ready.fetch_and(!(POSTED | WANTS_POSTED), Ordering::AcqRel);
        let is_awaited = is_returned || before & WANTS_POSTED > 0;
        if is_awaited { self.take_waker_of(&mut held) } else { None }
    }
}

/// Writes until everything is written. Returns the rest otherwise.
fn send(mut socket: &TcpStream, mut bytes: &[u8]) -> Option<Returned> {
    let error = loop {
        match socket.write(bytes) {
            Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
            Ok(written) if written == bytes.len() => return None,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
            Err(error) => break Some(error),
        }
    };
    Some(Returned { bytes: bytes.to_vec(), error })
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
