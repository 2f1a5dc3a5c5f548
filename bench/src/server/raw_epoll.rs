//! The limit: what the kernel and one slice of history per reader cost, with nothing in between. It has one thread and
//! one epoll, but no HTTP library, no authorization, no order between a connection's channels and no gaps, so do not
//! use it.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::{
    Settings,
    raw_log::{Log, Reader},
};
use crate::{
    control::{Command, Publish},
    mark::Mark,
    sys::{self, Epoll, Ready},
};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                    transfer-encoding: chunked\r\n\r\n9\r\nretry: 3\n\r\n";
const KEEP_ALIVE: &[u8] = b"2\r\n:\n\r\n";

const HTTP: u64 = u64::MAX;
const CONTROL: u64 = u64::MAX - 1;
const COMMANDS: u64 = u64::MAX - 2;

struct Server {
    settings: Settings,
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    generation: u32,
    logs: Vec<Log>,
    by_name: HashMap<String, usize>,
    dirty: Vec<usize>,
    next_id: u64,
    /// The log of each stream, and how many events it has had.
    streams: HashMap<(bool, u32), (usize, u32)>,
    /// What is published in rounds, and when the next one is due.
    rounds: Vec<(Publish, Instant)>,
}

struct Connection {
    stream: TcpStream,
    generation: u32,
    /// For each channel, its log and the position in it.
    places: Vec<(usize, u64)>,
    /// The place whose slice the socket took only in part.
    blocked: Option<usize>,
    request: Vec<u8>,
}

pub fn run(settings: Settings) -> io::Result<()> {
    let (http, control) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    sys::send_at_once(&http)?;
    println!("{} {}", http.local_addr()?, control.local_addr()?);
    http.set_nonblocking(true)?;
    let mut server = Server {
        settings,
        epoll: Epoll::new()?,
        connections: Vec::new(),
        free: Vec::new(),
        generation: 0,
        logs: Vec::new(),
        by_name: HashMap::new(),
        dirty: Vec::new(),
        next_id: 1,
        streams: HashMap::new(),
        rounds: Vec::new(),
    };
    server.epoll.add(&http, HTTP)?;
    server.epoll.add(&control, CONTROL)?;
    server.serve(&http, &control)
}

impl Server {
    fn serve(&mut self, http: &TcpListener, control: &TcpListener) -> io::Result<()> {
        let mut commands: Option<TcpStream> = None;
        let (mut pending, mut buffer, mut ready) = (Vec::new(), vec![0; 1 << 14], Vec::new());
        let mut keep_alive = Instant::now() + self.settings.keep_alive;
        loop {
            let due = self.rounds.iter().map(|(_, due)| *due).chain([keep_alive]).min().unwrap_or(keep_alive);
            let wait = due.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
            self.epoll.wait(&mut ready, i32::try_from(wait).unwrap_or(i32::MAX))?;
            for Ready { token, readable, writable } in ready.iter().copied() {
                match token {
                    HTTP => self.accept(http)?,
                    CONTROL => {
                        let stream = control.accept()?.0;
                        stream.set_nodelay(true)?;
                        self.epoll.add(&stream, COMMANDS)?;
                        commands = Some(stream);
                    }
                    COMMANDS => {
                        let Some(stream) = &mut commands else { continue };
                        let read = stream.read(&mut buffer)?;
                        if read == 0 {
                            // The load generator is gone.
                            return Ok(());
                        }
                        pending.extend_from_slice(&buffer[..read]);
                        self.obey(&mut pending, stream)?;
                    }
                    token => self.look(usize::try_from(token).unwrap_or(usize::MAX), readable, writable, &mut buffer),
                }
            }
            self.publish_due();
            self.flush();
            if keep_alive <= Instant::now() {
                keep_alive += self.settings.keep_alive;
                self.keep_alive();
            }
        }
    }

    fn accept(&mut self, http: &TcpListener) -> io::Result<()> {
        while let Ok((stream, _)) = http.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            self.generation += 1;
            let key = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.epoll.add(&stream, key as u64)?;
            let (places, request) = (Vec::new(), Vec::new());
            let connection = Connection { stream, generation: self.generation, places, blocked: None, request };
            self.connections[key] = Some(connection);
        }
        Ok(())
    }

    /// Reads a request, continues writing, or notices the end.
    fn look(&mut self, key: usize, readable: bool, writable: bool, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key).and_then(Option::as_mut) else { return };
        if readable {
            match connection.stream.read(buffer) {
                Ok(0) => return self.close(key),
                Ok(read) => connection.request.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.close(key),
            }
            if connection.request.ends_with(b"\r\n\r\n") && connection.places.is_empty() {
                let request = std::mem::take(&mut connection.request);
                self.open(key, &String::from_utf8_lossy(&request));
            }
        }
        if writable {
            self.go_on(key);
        }
    }

    fn close(&mut self, key: usize) {
        if let Some(connection) = self.connections[key].take() {
            self.free.push(key);
            for (log, _) in connection.places {
                let log = &mut self.logs[log];
                log.gone += 1;
                if log.gone * 2 > log.readers.len() {
                    let connections = &self.connections;
                    log.readers.retain(|reader| is_there(connections, reader));
                    log.gone = 0;
                }
            }
        }
    }

    fn open(&mut self, key: usize, request: &str) {
        let target = request.split(' ').nth(1).unwrap_or_default();
        let names: Vec<&str> = match (target.split_once('?'), target.strip_prefix("/sse/")) {
            (_, Some(path)) => match path.split_once('/') {
                Some((channel, _)) => vec![channel, path],
                None => vec![path],
            },
            (Some((_, query)), _) => query.split('&').filter_map(|pair| pair.strip_prefix("channel=")).collect(),
            _ => return self.close(key),
        };
        let id = request.lines().find_map(|line| line.strip_prefix("last-event-id: ")?.parse().ok());
        let logs: Vec<usize> = names.into_iter().map(|name| self.log(name)).collect();
        let Some(connection) = &mut self.connections[key] else { return };
        for (place, log) in logs.into_iter().enumerate() {
            let reader = Reader { connection: key, generation: connection.generation, place };
            let at = id.map_or(self.logs[log].end(), |id| self.logs[log].after(id));
            self.logs[log].readers.push(reader);
            connection.places.push((log, at));
        }
        // It fits into the empty send buffer.
        let _ = connection.stream.write_all(HEAD.as_bytes());
        self.go_on(key);
    }

    fn log(&mut self, name: &str) -> usize {
        if let Some(log) = self.by_name.get(name) {
            return *log;
        }
        self.logs.push(Log::new());
        self.by_name.insert(name.to_owned(), self.logs.len() - 1);
        self.logs.len() - 1
    }

    /// Writes what is missing in each of a connection's places, beginning with the one where the socket was full.
    fn go_on(&mut self, key: usize) {
        let Some(connection) = &mut self.connections[key] else { return };
        let was_blocked = connection.blocked.take();
        let places = 0..connection.places.len();
        for place in was_blocked.into_iter().chain(places) {
            write(connection, place, &self.logs);
        }
        if was_blocked.is_some() != connection.blocked.is_some() {
            let wants = connection.blocked.is_some();
            let _ = self.epoll.wants_write(&connection.stream, key as u64, wants);
        }
    }

    /// Sends each reader what was published since.
    fn flush(&mut self) {
        for log in std::mem::take(&mut self.dirty) {
            self.logs[log].dirty = false;
            for index in 0..self.logs[log].readers.len() {
                let reader = self.logs[log].readers[index];
                if !is_there(&self.connections, &reader) {
                    continue;
                }
                let Some(connection) = &mut self.connections[reader.connection] else { continue };
                if connection.blocked.is_none() {
                    write(connection, reader.place, &self.logs);
                    if connection.blocked.is_some() {
                        let _ = self.epoll.wants_write(&connection.stream, reader.connection as u64, true);
                    }
                }
            }
        }
    }

    fn keep_alive(&mut self) {
        for connection in self.connections.iter_mut().flatten() {
            if connection.blocked.is_none() && !connection.places.is_empty() {
                let _ = connection.stream.write_all(KEEP_ALIVE);
            }
        }
    }

    fn obey(&mut self, pending: &mut Vec<u8>, stream: &mut TcpStream) -> io::Result<()> {
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            match Command::read(&String::from_utf8_lossy(&line)) {
                Some(Command::Publish(publish)) if publish.interval > Duration::ZERO => {
                    self.rounds.push((publish, Instant::now()));
                }
                Some(Command::Publish(publish)) => {
                    let id = self.next_id;
                    (0..publish.rounds).for_each(|_| self.round(&publish));
                    if publish.answered {
                        stream.write_all(format!("{id}\n").as_bytes())?;
                    }
                }
                Some(Command::Times) | None => stream.write_all(b"0\n")?,
            }
        }
        Ok(())
    }

    fn publish_due(&mut self) {
        let now = Instant::now();
        for index in 0..self.rounds.len() {
            let (mut publish, mut due) = self.rounds[index];
            while publish.rounds > 0 && due <= now {
                self.round(&publish);
                publish.rounds -= 1;
                due += publish.interval;
            }
            self.rounds[index] = (publish, due);
        }
        self.rounds.retain(|(publish, _)| publish.rounds > 0);
    }

    fn round(&mut self, publish: &Publish) {
        for _ in 0..publish.burst {
            for number in publish.first..publish.first + publish.streams {
                self.one(number, publish.targeted);
            }
        }
    }

    fn one(&mut self, number: u32, targeted: bool) {
        let (index, next) = match self.streams.get(&(targeted, number)) {
            Some(stream) => *stream,
            None => (self.log(&if targeted { format!("c0/u{number}") } else { format!("c{number}") }), 0),
        };
        self.streams.insert((targeted, number), (index, next + 1));
        let data = Mark { stream: number, number: next, at: sys::now() }.data(self.settings.event_size);
        let log = &mut self.logs[index];
        log.append(self.next_id, &data, self.settings.history);
        self.next_id += 1;
        if !log.dirty {
            log.dirty = true;
            self.dirty.push(index);
        }
    }
}

fn is_there(connections: &[Option<Connection>], reader: &Reader) -> bool {
    connections[reader.connection].as_ref().is_some_and(|connection| connection.generation == reader.generation)
}

/// Writes one place's slice, unless another one is half written.
fn write(connection: &mut Connection, place: usize, logs: &[Log]) {
    let (log, at) = connection.places[place];
    let slice = logs[log].from(at);
    if connection.blocked.is_some() || slice.is_empty() {
        return;
    }
    let from = logs[log].end() - slice.len() as u64;
    match connection.stream.write(slice) {
        Ok(written) => {
            connection.places[place].1 = from + written as u64;
            connection.blocked = (written < slice.len()).then_some(place);
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.blocked = Some(place),
        // The connection's end will be read next.
        Err(_) => {}
    }
}
