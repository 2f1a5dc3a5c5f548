//! The load generator: raw non-blocking sockets on one epoll. It counts every delivery, and notices events that are
//! lost, repeated, out of order or for somebody else.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    mark::{Mark, Scanner},
    sys::{self, Epoll, Ready},
};

/// What a reader requests, and what it has to get.
#[derive(Debug, Clone)]
pub struct Ask {
    pub target: String,
    pub last_event_id: Option<String>,
    /// The streams that it reads.
    pub streams: Range<u32>,
    /// The number of the next event in each of them.
    pub next: u32,
}

/// What arrived.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub opened: usize,
    pub closed: usize,
    pub deliveries: u64,
    pub bytes: u64,
    /// Colons that were read while [`Load::count_comments`] was set.
    pub comments: u64,
    pub lost: u64,
    /// Events that were repeated or out of order.
    pub repeated: u64,
    pub foreign: u64,
    pub refused: u64,
}

impl Tally {
    pub fn faults(&self) -> u64 {
        self.lost + self.repeated + self.foreign + self.refused
    }
}

/// A histogram of nanoseconds up to a minute.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).unwrap_or_else(|_| unreachable!("these bounds are allowed"))
}

/// When the events of one stream arrived.
pub struct Timing {
    /// How many readers each event has.
    readers: u32,
    /// How many of them got an event, by its number.
    got: Vec<u32>,
    /// How many events everybody got.
    pub complete: u32,
    /// Nanoseconds until each reader had it; not recorded if only `complete` matters.
    pub each: Option<Histogram<u64>>,
    /// Nanoseconds until the last reader had it.
    pub last: Histogram<u64>,
}

impl Timing {
    pub fn new(readers: u32, each: bool) -> Self {
        Self { readers, got: Vec::new(), complete: 0, each: each.then(histogram), last: histogram() }
    }

    fn came(&mut self, mark: Mark, now: u64) {
        let number = mark.number as usize;
        if number >= self.got.len() {
            self.got.resize(number + 1024, 0);
        }
        self.got[number] += 1;
        let took = now.saturating_sub(mark.at);
        if let Some(each) = &mut self.each {
            each.saturating_record(took);
        }
        if self.got[number] == self.readers {
            self.complete += 1;
            self.last.saturating_record(took);
        }
    }
}

struct Reader {
    stream: TcpStream,
    /// The request until it is sent, then the response until its head has been read.
    head: Vec<u8>,
    open: bool,
    scanner: Scanner,
    first: u32,
    /// The number of the next event, by stream.
    next: Vec<u32>,
}

pub struct Load {
    epoll: Epoll,
    readers: Vec<Option<Reader>>,
    ready: Vec<Ready>,
    buffer: Vec<u8>,
    pub tally: Tally,
    pub timing: Option<Timing>,
    pub count_comments: bool,
}

/// How many connections wait for their response at once: fewer than a listener's backlog.
const WAITING: usize = 64;

impl Load {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
            readers: Vec::new(),
            ready: Vec::new(),
            buffer: vec![0; 1 << 18],
            tally: Tally::default(),
            timing: None,
            count_comments: false,
        })
    }

    pub fn readers(&self) -> usize {
        self.readers.len()
    }

    /// Opens readers, and waits until all are open.
    pub fn open(&mut self, addr: SocketAddr, asks: impl IntoIterator<Item = Ask>) -> io::Result<()> {
        let before = self.readers.len();
        let opened = self.tally.opened;
        for ask in asks {
            let key = self.connect(addr, ask)?;
            self.request(key)?;
            while self.readers.len() - before >= self.tally.opened - opened + WAITING {
                self.poll(1000)?;
            }
        }
        let all = opened + self.readers.len() - before;
        self.until(Duration::from_secs(30), |load| load.tally.opened >= all).map(drop)
    }

    /// Connects without sending a request yet. Returns the reader's number.
    pub fn connect(&mut self, addr: SocketAddr, ask: Ask) -> io::Result<usize> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.epoll.add(&stream, self.readers.len() as u64)?;
        let id = ask.last_event_id.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        let request =
            format!("GET {} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{id}\r\n", ask.target);
        let next = vec![ask.next; ask.streams.len()];
        let (head, scanner, first) = (request.into(), Scanner::default(), ask.streams.start);
        self.readers.push(Some(Reader { stream, head, open: false, scanner, first, next }));
        Ok(self.readers.len() - 1)
    }

    /// Sends the request of a reader that has connected.
    pub fn request(&mut self, key: usize) -> io::Result<()> {
        let Some(reader) = &mut self.readers[key] else { return Ok(()) };
        reader.stream.write_all(&std::mem::take(&mut reader.head))
    }

    /// Closes the readers from a number on.
    pub fn close_from(&mut self, key: usize) {
        self.readers.truncate(key);
    }

    /// Reads until a condition holds. Returns whether it did in time.
    pub fn until(&mut self, within: Duration, mut holds: impl FnMut(&Self) -> bool) -> io::Result<bool> {
        let deadline = Instant::now() + within;
        while !holds(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.poll(i32::try_from(left.as_millis()).unwrap_or(i32::MAX).min(100))?;
        }
        Ok(true)
    }

    /// Reads what is there, or waits for something.
    pub fn poll(&mut self, timeout_ms: i32) -> io::Result<()> {
        self.epoll.wait(&mut self.ready, timeout_ms)?;
        for index in 0..self.ready.len() {
            let key = usize::try_from(self.ready[index].token).unwrap_or(usize::MAX);
            if !self.read(key) {
                self.readers[key] = None;
                self.tally.closed += 1;
            }
        }
        Ok(())
    }

    /// Reads from a connection. Returns whether it goes on.
    fn read(&mut self, key: usize) -> bool {
        let Some(reader) = self.readers.get_mut(key).and_then(Option::as_mut) else { return true };
        loop {
            let bytes = match reader.stream.read(&mut self.buffer) {
                Ok(0) => return false,
                Ok(read) => &self.buffer[..read],
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            };
            self.tally.bytes += bytes.len() as u64;
            if reader.open {
                scan(reader, bytes, &mut self.tally, &mut self.timing);
            } else {
                open(reader, bytes, &mut self.tally, &mut self.timing);
            }
            if self.count_comments {
                self.tally.comments += memchr::memchr_iter(b':', bytes).count() as u64;
            }
            if bytes.len() < self.buffer.len() {
                return true;
            }
        }
    }
}

/// Reads the response's head.
fn open(reader: &mut Reader, bytes: &[u8], tally: &mut Tally, timing: &mut Option<Timing>) {
    reader.head.extend_from_slice(bytes);
    let Some(end) = memchr::memmem::find(&reader.head, b"\r\n\r\n") else { return };
    let head = std::mem::take(&mut reader.head);
    reader.open = true;
    tally.opened += 1;
    if !head.starts_with(b"HTTP/1.1 200") {
        tally.refused += 1;
    }
    scan(reader, &head[end..], tally, timing);
}

fn scan(reader: &mut Reader, bytes: &[u8], tally: &mut Tally, timing: &mut Option<Timing>) {
    let (next, first) = (&mut reader.next, reader.first);
    let mut now = 0;
    reader.scanner.scan(bytes, |mark| {
        tally.deliveries += 1;
        let Some(expected) = mark.stream.checked_sub(first).and_then(|index| next.get_mut(index as usize)) else {
            tally.foreign += 1;
            return;
        };
        if mark.number < *expected {
            tally.repeated += 1;
        } else {
            tally.lost += u64::from(mark.number - *expected);
            *expected = mark.number + 1;
        }
        if let Some(timing) = timing {
            if now == 0 {
                now = sys::now();
            }
            timing.came(mark, now);
        }
    });
}
