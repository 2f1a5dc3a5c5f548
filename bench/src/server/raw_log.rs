//! The history of the raw server: a channel's events as they are sent, one after the other in one buffer, so that what
//! a reader misses is one slice of it.

use std::{collections::VecDeque, io::Write};

pub struct Log {
    bytes: Vec<u8>,
    /// Where `bytes` begins, counted from the first byte that was ever in it.
    base: u64,
    /// Where each held event begins, and its id.
    held: VecDeque<(u64, u64)>,
    pub readers: Vec<Reader>,
    /// How many connections are gone.
    pub gone: usize,
    /// Whether something was appended that has not been sent yet.
    pub dirty: bool,
}

/// A connection, and its place that is in this log.
#[derive(Clone, Copy)]
pub struct Reader {
    pub connection: usize,
    pub generation: u32,
    pub place: usize,
}

impl Log {
    pub fn new() -> Self {
        let (bytes, held, readers) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { bytes, base: 0, held, readers, gone: 0, dirty: false }
    }

    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Appends an event as an HTTP chunk of its own, so that every run of events is a valid piece of a response.
    pub fn append(&mut self, id: u64, data: &str, max: usize) {
        self.held.push_back((self.end(), id));
        let len = "data: \nid: \n\n".len() + data.len() + id.checked_ilog10().unwrap_or(0) as usize + 1;
        // Writing to a `Vec` does not fail.
        let _ = write!(self.bytes, "{len:x}\r\ndata: {data}\nid: {id}\n\n\r\n");
        if self.held.len() > max {
            self.held.pop_front();
            self.trim();
        }
    }

    fn trim(&mut self) {
        let first = self.held.front().map_or(self.end(), |(at, _)| *at);
        let Ok(gone) = usize::try_from(first - self.base) else { return };
        if gone > self.bytes.len() / 2 && gone > 1 << 16 {
            self.bytes.drain(..gone);
            self.base = first;
        }
    }

    /// Where a reader continues that has seen everything up to `id`.
    pub fn after(&self, id: u64) -> u64 {
        let first = self.held.partition_point(|(_, held)| *held <= id);
        self.held.get(first).map_or(self.end(), |(at, _)| *at)
    }

    /// What is held from a position on. A reader that was overrun continues with the oldest event.
    pub fn from(&self, at: u64) -> &[u8] {
        let at = usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.bytes.get(at..).unwrap_or_default()
    }
}
